"""How many connections a process may hold, as the system has it."""

import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from app.open_files import warn_of_few_open_files
from app.settings import Settings

resource = pytest.importorskip("resource")

SCRIPT = """
import resource
from app.open_files import allow_open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, min({hard}, hard)))
print(allow_open_files(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard"), [(64, 512), (512, 512)])
def test_a_process_takes_what_it_is_allowed(soft: int, hard: int) -> None:
    """The soft limit becomes the hard one, which stays; one that is as high already stays too."""
    script = SCRIPT.format(soft=soft, hard=hard)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(hard)] * 3


@pytest.mark.parametrize(("limit", "warnings"), [(1_024, 1), (30_999, 1), (31_000, 0), (None, 0)])
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_too_few_are_told_of(settings: Settings, limit: int | None, warnings: int) -> None:
    """A warning with both figures, where sockets and streams at their most would not leave room for anything else."""
    with capture_logs() as entries:
        warn_of_few_open_files(limit, settings)
    assert [entry["log_level"] for entry in entries] == ["warning"] * warnings
    assert [(entry["limit"], entry["needed"]) for entry in entries] == [(limit, 31_000)] * warnings
