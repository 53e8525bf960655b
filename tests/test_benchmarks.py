"""The servers that the benchmarks start."""

import os
from pathlib import Path

import pytest

from benchmarks.children import child, python


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the benchmarks need Linux")
def test_a_command_that_fails_ends_the_server() -> None:
    """The benchmark hears of it with the traceback, and neither the server nor its Valkey is left."""
    core = min(os.sched_getaffinity(0))
    with child("Slipway", python("benchmarks.slipway_server", "status"), core) as server:
        pids = server.pids()
        server.say("fire often")
        with pytest.raises(RuntimeError, match=r"(?s)Slipway ended: .*ValueError"):
            server.hear(60)
    assert len(pids) > 1
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
