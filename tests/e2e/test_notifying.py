"""Notifications while worker and Valkey are killed: a small game; `tests.e2e.notifying` plays it in full."""

import tempfile
from pathlib import Path

from tests.e2e.notifying import play


async def test_what_is_killed_loses_no_notification_and_changes_no_order() -> None:
    """Every event reaches every channel that asked for it, in order of its release, under one id, signed."""
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        counts = await play(Path(folder), releases=12, kills=2, seed=3, within=60)
    assert counts.wrong == []
    assert counts.arrived == counts.expected == 12 * 5
    assert counts.worker_kills + counts.valkey_kills >= 1
