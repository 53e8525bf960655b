"""The other commands: what they ask for, and how they say that something is wrong with it."""

from pathlib import Path

import pytest

from tests.commands import Commands
from tests.e2e.processes import run

RIGHT = {
    "SLIPWAY_STORE_URL": "sqlite:////tmp/never-made.db",
    "SLIPWAY_REDIS_URL": "redis://127.0.0.1:1/0",
    "SLIPWAY_ADMIN_TOKEN": "right-" * 4,
}


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_missing_settings_are_told_all_at_once(command: str) -> None:
    """Without settings it ends with status 2, a line for each variable that must be set, and what belongs there."""
    refused = run(command)

    assert refused.returncode == 2
    lines = refused.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(RIGHT)
    for line, what in zip(lines, ("mongodb://host:27017/", "redis://host:6379/", "at least 16 char"), strict=True):
        assert "not set" in line
        assert what in line


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        pytest.param(
            {"SLIPWAY_ADMIN_TOKEN": "s3cret", "SLIPWAY_LOG_LEVEL": "loud", "SLIPWAY_SWEEP_SECONDS": "60"},
            ["SLIPWAY_ADMIN_TOKEN", "16", "SLIPWAY_LOG_LEVEL", "debug, info, warning", "SLIPWAY_SWEEP_SECONDS", "5"],
            id="several",
        ),
        pytest.param(
            {"SLIPWAY_STORE_URL": "postgres://me:s3cret@there/db"},
            ["SLIPWAY_STORE_URL", "mongodb://host:27017/database", "sqlite:///"],
            id="store",
        ),
        pytest.param(
            {"SLIPWAY_REDIS_URL": "http://me:s3cret@there"}, ["SLIPWAY_REDIS_URL", "redis://", "unix://"], id="redis"
        ),
        pytest.param(
            {"SLIPWAY_REDIS_URL": "redis://:s3cret#@there/0"}, ["SLIPWAY_REDIS_URL", "redis://"], id="not quoted"
        ),
        pytest.param({"SLIPWAY_REDIS_URL": "redis://there/0?s3cret=1"}, ["SLIPWAY_REDIS_URL", "redis://"], id="option"),
    ],
)
def test_wrong_settings_are_told_with_what_belongs_there(
    slipway: Commands, wrong: dict[str, str], told: list[str]
) -> None:
    """It ends with status 2 and names each wrong variable and what it should be, but no secret."""
    refused = slipway.run(("worker",), RIGHT | wrong)

    assert refused.returncode == 2, refused.stderr
    for text in told:
        assert text in refused.stderr
    assert "s3cret" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_check_without_redis_finds_no_worker() -> None:
    """`slipway worker --check` ends with status 1 where Redis is away, and says nothing of how."""
    checked = run("worker", "--check", **RIGHT)
    assert (checked.returncode, "Traceback" in checked.stderr) == (1, False)


def test_the_schema_is_printed() -> None:
    """`slipway schema` prints what schema.graphql holds to standard output, and needs no settings."""
    printed = run("schema")
    assert printed.returncode == 0
    assert printed.stdout.strip() == (Path(__file__).parents[2] / "schema.graphql").read_text(encoding="utf-8").strip()


def test_help_names_every_command() -> None:
    """`slipway --help` and `slipway` alone list the commands with a sentence each."""
    for arguments in (["--help"], []):
        shown = run(*arguments)
        assert "Traceback" not in shown.stderr
        for command in ("dev", "serve", "worker", "schema"):
            assert f" {command} " in shown.stdout + shown.stderr
