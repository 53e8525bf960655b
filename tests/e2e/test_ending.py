"""However `slipway dev` ends, it leaves no process behind."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.client import Slipway, until
from tests.e2e.processes import SLIPWAY, Running, descendants, dev, is_running, soon, started
from tests.store.servers import free_port


def ctrl_c(slipway: Running) -> None:
    """What a terminal does: SIGINT to the whole group."""
    os.killpg(slipway.pid, signal.SIGINT)


def sigterm(slipway: Running) -> None:
    """What a service manager does."""
    slipway.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("end", [ctrl_c, sigterm])
async def test_asked_to_stop_it_closes_sockets_and_ends_with_all_its_processes(
    tmp_path: Path, end: Callable[[Running], None]
) -> None:
    """Ctrl-C and SIGTERM, with a subscription and an idle socket open: both are closed, and nothing is left running."""
    data = tmp_path / "100% of what?"  # which a URL needs quoted
    async with dev(data) as slipway, Slipway(slipway.url, slipway.token) as client:
        await client.make_features(["checkout"], "PT1H")
        release = await client.start("checkout")
        family = descendants(slipway.pid)
        assert any(name.startswith("valkey-server") for name in family.values())
        socket = connect(f"ws{slipway.url.removeprefix('http')}/graphql", subprotocols=["graphql-transport-ws"])
        async with client.watching(release["id"]) as events, socket as idle:
            await until(events, lambda received: len(received) == 2, within=10)
            end(slipway)
            with pytest.raises(ConnectionClosed):
                await idle.recv()
            status = await slipway.ended()

    assert (data / "slipway.db").exists()
    assert status == 0, slipway.output
    assert not [name for pid, name in family.items() if is_running(pid)]
    assert "Traceback" not in slipway.output


async def test_killed_it_takes_its_processes_along(tmp_path: Path) -> None:
    """After kill -9, which nobody can hear of, Valkey and what watches it end by themselves."""
    async with dev(tmp_path / "data") as slipway:
        family = descendants(slipway.pid)
        assert len(family) >= 2
        assert await slipway.end(signal.SIGKILL) == -signal.SIGKILL
        await soon(lambda: not [pid for pid in family if is_running(pid)], within=10)


async def test_it_ends_with_a_killed_uv(tmp_path: Path) -> None:
    """`uv run slipway dev` whose uv is killed with -9 ends, with its Valkey, although nobody passed a signal on."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on the PATH: nothing shows here that its end is noticed")
    port = free_port()
    command = ("run", "--no-project", "--offline", SLIPWAY, "dev", "--port", str(port), "--data", tmp_path / "data")
    async with started(tmp_path, uv, *command, url=f"http://127.0.0.1:{port}") as parent:
        await parent.ready()
        family = descendants(parent.pid)
        assert len(family) >= 3
        await parent.end(signal.SIGKILL)
        await soon(lambda: not [pid for pid in family if is_running(pid)], within=15, otherwise=lambda: parent.output)
