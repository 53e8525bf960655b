"""Commands that end by themselves, run by a process that has imported what they need and forks for each of them.

Most of what a command takes is its start. Whoever tests that too runs `slipway` itself.

    python -m tests.commands
"""

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec


class Call(msgspec.Struct):
    """A command line, its whole environment, and the files that take what it says."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    stdout: str
    stderr: str


class Commands:
    """Runs `slipway` with arguments, one command at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self._process = process
        self._folder = folder

    def run(self, arguments: tuple[str, ...], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """What comes of a command in that environment and no other."""
        assert self._process.stdin
        assert self._process.stdout
        out, err = self._folder / "out", self._folder / "err"
        call = Call(arguments, dict(environment), str(out), str(err))
        self._process.stdin.write(msgspec.json.encode(call) + b"\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(arguments, status, *(file.read_text("utf-8") for file in (out, err)))


@contextmanager
def commands(folder: Path) -> Iterator[Commands]:
    """The process that forks, to the end of the block."""
    command = [sys.executable, "-m", "tests.commands"]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Commands(process, folder)


def _serve() -> None:
    import app.credential_commands
    import app.logs
    import app.settings
    import app.store.sqlite
    import app.timers  # noqa: F401 (all of them for the forks)

    for line in sys.stdin.buffer:
        call = msgspec.json.decode(line, type=Call)
        child = os.fork()
        if child == 0:
            os._exit(_run(call))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(call: Call) -> int:
    """As the interpreter runs `slipway`: the exit status, 1 with a traceback for an exception."""
    from app.cli import main

    for descriptor, file in ((0, os.devnull), (1, call.stdout), (2, call.stderr)):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(file, flags, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(call.environment)
    sys.argv = ["slipway", *call.arguments]
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    _serve()
