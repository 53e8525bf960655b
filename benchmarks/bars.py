"""A figure beside the bar that it is to reach, as all benchmarks print it."""


def print_bar(what: str, figure: float, *, least: float | None = None, most: float | None = None) -> None:
    """Print a figure, its bar if it has one (at least, or at most, so much), and MISSED if it does not reach it."""
    wanted, reached = "no bar", True
    if least is not None:
        wanted, reached = f"at least {least:g}", figure >= least
    elif most is not None:
        wanted, reached = f"at most {most:g}", figure <= most
    print(f"{what:<64}{figure:>8.2f}  {wanted:<16}{'' if reached else 'MISSED'}".rstrip(), flush=True)
