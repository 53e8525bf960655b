"""What `slipway dev` stands on, with real processes: the data folder's lock, the bundled Valkey, the parent watcher."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from arq.connections import RedisSettings, create_pool
from redis.asyncio import Redis, from_url
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from app import embedded
from app.data_folder import AlreadyRunning, DataFolder, FolderUnusable, database, store_url
from app.embedded import EmbeddedValkey, ValkeyFailed
from app.store import open_store

# Holds a data folder with its Valkey, as `slipway dev` does, on the event loop that uvicorn uses.
OWNER = """
import asyncio, sys, uvloop
from app.data_folder import DataFolder
from app.embedded import EmbeddedValkey

async def own():
    with DataFolder.open(sys.argv[1], url="http://127.0.0.1:8123") as folder:
        async with EmbeddedValkey(folder.path) as valkey:
            print(valkey.pid, valkey.url, file=sys.stderr, flush=True)
            await asyncio.Event().wait()

uvloop.run(own())
"""

WATCH_PARENT = """
import asyncio, os
from app.embedded import parent_gone

async def watch():
    watcher = asyncio.create_task(parent_gone())
    await asyncio.wait([watcher], timeout=0.5)  # it has looked at its parent by now
    print(os.getpid(), flush=True)
    await asyncio.wait([watcher], timeout=float(os.environ["PATIENCE"]))
    print("parent gone" if watcher.done() else "going on", flush=True)

asyncio.run(watch())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@contextmanager
def owner_of(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A process that holds the folder and runs its Valkey; with it the server's pid and URL."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as owner:
        try:
            assert owner.stderr is not None
            said = owner.stderr.readline()
            assert said.split()[0].isdigit(), said + owner.stderr.read()
            yield owner, int(said.split()[0]), said.split()[1]
        finally:
            owner.kill()


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Redis]:
    async with from_url(url, decode_responses=True) as client:
        yield client


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def parent_of(pid: int) -> int:
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, check=True).stdout)


async def soon(holds: Callable[[], bool], within: float = 8) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.02)


async def value_soon(client: Redis, key: str, within: float = 8) -> str | None:
    deadline = time.monotonic() + within
    while True:
        with suppress(RedisError, OSError):
            return await client.get(key)
        assert time.monotonic() < deadline, "Valkey did not come back"
        await asyncio.sleep(0.02)


async def test_the_store_of_a_folder_is_in_it_whatever_its_name(folder: Path) -> None:
    """What looks like an escape in a folder's name is none: server and commands have the same file."""
    odd = folder / "w%41 b"
    odd.mkdir(parents=True)
    store = open_store(store_url(odd))
    try:
        await store.prepare()
    finally:
        await store.close()
    assert database(odd).exists()


def test_a_new_folder_is_private_and_stays_out_of_git(folder: Path) -> None:
    """Nobody else may look into a folder that Slipway made, and git ignores it."""
    with DataFolder.open(folder, url="http://here") as opened:
        assert opened.path.stat().st_mode & 0o777 == 0o700
        assert database(opened.path) == folder / "slipway.db"
        assert (folder / ".gitignore").read_text() == "*\n"


def test_a_folder_that_was_there_keeps_its_mode(folder: Path) -> None:
    """`--data .` must not lock others out of a folder that is not ours alone."""
    folder.mkdir()
    folder.chmod(0o755)
    with DataFolder.open(folder, url="http://here"):
        assert folder.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_used_is_refused_with_a_remedy(tmp_path: Path) -> None:
    """A file in the folder's place gives an error that names it and the option, not a stack trace of the system's."""
    (tmp_path / "data").write_text("a file")
    with pytest.raises(FolderUnusable, match=r"data for data: Not a directory\. Choose a folder"):
        DataFolder.open(tmp_path / "data", url="http://here")


async def test_a_second_process_is_told_who_holds_the_folder(folder: Path) -> None:
    """The refusal names pid and URL of the holder; once that is killed, even with -9, the folder opens."""
    with owner_of(folder) as (owner, _, _):
        with pytest.raises(AlreadyRunning) as refusal:
            DataFolder.open(folder, url="http://second")
        assert (refusal.value.pid, refusal.value.url) == (owner.pid, "http://127.0.0.1:8123")
        assert f"process {owner.pid} at http://127.0.0.1:8123" in str(refusal.value)
        owner.kill()
        owner.wait()
    DataFolder.open(folder, url="http://second").close()


def test_a_holder_can_announce_a_url_that_it_learns_later(folder: Path) -> None:
    """Whoever comes second is told the URL announced last, also when it is shorter than the first."""
    with DataFolder.open(folder, url="http://not-known-yet:0") as opened:
        opened.announce("http://here:81")
        with pytest.raises(AlreadyRunning) as refusal:
            DataFolder.open(folder, url="http://second")
    assert refusal.value.url == "http://here:81"


def test_the_token_is_made_once_and_kept_private(folder: Path) -> None:
    """The administrator's token is the same at every start, and its file is for its owner only."""
    with DataFolder.open(folder, url="http://here") as opened:
        token = opened.admin_token()
    (folder / "admin-token").chmod(0o644)
    with DataFolder.open(folder, url="http://here") as opened:
        assert opened.admin_token() == token
    assert token.startswith("slw_")
    assert len(token) > 40
    assert (folder / "admin-token").stat().st_mode & 0o777 == 0o600


def test_an_empty_token_file_is_no_token(folder: Path) -> None:
    """A token file that a full disk left empty is filled again rather than letting everybody in."""
    with DataFolder.open(folder, url="http://here") as opened:
        (folder / "admin-token").touch()
        (folder / "admin-token.new").write_text("half a tok")
        assert opened.admin_token().startswith("slw_")


async def test_valkey_is_up_in_well_under_a_second(folder: Path) -> None:
    """The server answers when start returns, and the fastest of three starts (the machine is shared) is quick."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
            took.append(time.monotonic() - began)
            assert await client.ping()
    assert min(took) < 0.7


async def test_valkey_is_ours_alone_and_gone_after(folder: Path) -> None:
    """The server listens on its socket only, out of reach of the terminal's Ctrl-C, and leaves no process or socket."""
    async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
        pid = valkey.pid
        assert pid is not None
        assert (await client.config_get("port"))["port"] == "0"
        assert (await client.config_get("append*"))["appendonly"] == "yes"
        assert os.getsid(pid) != os.getsid(0)
    assert not is_running(pid)
    assert not list((folder / "valkey").glob("*.sock"))


async def test_data_survives_stop_and_start(folder: Path) -> None:
    """What was written before a stop is there after the next start."""
    for expected in (None, "kept"):
        async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
            assert await client.get("key") == expected
            await client.set("key", "kept")


async def test_valkey_comes_back_after_it_was_killed(folder: Path) -> None:
    """A killed server is started again under the same URL with what it had, each time, and a line says so."""
    with capture_logs() as lines:
        async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
            await client.set("key", "kept")
            for kills in (1, 2):
                killed = valkey.pid
                assert killed is not None
                os.kill(killed, signal.SIGKILL)
                await soon(lambda kills=kills: [line["event"] for line in lines].count("valkey is up") == kills + 1)
                assert await client.get("key") == "kept"
                assert valkey.pid != killed
    ends = [line for line in lines if line["event"] == "valkey ended by itself, starting it again"]
    assert [line["exit_code"] for line in ends] == [137, 137]
    assert [line["after_seconds"] for line in ends] == [0.1, 0.2]


async def test_valkey_comes_back_after_its_watcher_was_killed(folder: Path) -> None:
    """The process between us and the server is no weak point: killed, it is replaced together with the server."""
    async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
        first = valkey.pid
        assert first is not None
        await client.set("key", "kept")
        os.kill(parent_of(first), signal.SIGKILL)
        await soon(lambda: valkey.pid not in (first, None))
        assert await value_soon(client, "key") == "kept"
        assert not is_running(first)


async def test_no_valkey_is_left_when_its_owner_is_killed(folder: Path) -> None:
    """kill -9 of the owner ends the server too, and what it had is on disk."""
    with owner_of(folder) as (owner, valkey_pid, url):
        async with client_of(url) as client:
            await client.set("key", "kept")
        owner.kill()
        await soon(lambda: not is_running(valkey_pid))
    async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
        assert await client.get("key") == "kept"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
async def test_no_valkey_is_left_when_owner_and_watcher_are_killed(folder: Path) -> None:
    """Even `killall -9 python` leaves no server behind."""
    with owner_of(folder) as (owner, valkey_pid, _):
        watcher = parent_of(valkey_pid)
        assert watcher != owner.pid
        os.kill(watcher, signal.SIGKILL)
        owner.kill()
        await soon(lambda: not is_running(valkey_pid))


async def test_a_start_right_after_a_kill_waits_for_the_old_server(folder: Path) -> None:
    """Killed and started again at once, over and over: one server at a time, and nothing written is lost."""
    written = 0
    for _ in range(4):
        with owner_of(folder) as (owner, _, url):
            async with client_of(url) as client:
                assert int(await client.get("key") or 0) == written
                written = await client.incr("key")
            owner.kill()
            owner.wait()
    async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
        assert int(await client.get("key") or 0) == written


async def test_an_orphan_on_our_socket_is_replaced(folder: Path) -> None:
    """A server that still listens on our socket is asked to end, and ours goes on with its data."""
    home = folder / "valkey"
    home.mkdir(parents=True)
    binary, socket = str(embedded._valkey_binary()), home / "valkey.sock"
    settings = ["--port", "0", "--unixsocket", str(socket), "--dir", str(home), "--appendonly", "yes", "--save", ""]
    with subprocess.Popen([binary, *settings], stdout=subprocess.DEVNULL) as orphan:  # noqa: ASYNC220 (starts at once)
        await soon(socket.exists)
        async with client_of(f"unix://{socket}") as client:
            await client.set("key", "kept")
        async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
            assert await client.get("key") == "kept"
            assert valkey.pid != orphan.pid
            assert orphan.wait(5) == 0


async def test_an_orphan_that_hangs_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server left behind that answers nothing, not even SIGTERM, does not stop a start."""
    monkeypatch.setattr(embedded, "STOP_GRACE_S", 0.3)
    with owner_of(folder) as (owner, orphan, _):
        os.kill(orphan, signal.SIGSTOP)
        os.kill(parent_of(orphan), signal.SIGKILL)
        owner.kill()
        owner.wait()
        async with EmbeddedValkey(folder) as valkey:
            assert valkey.pid != orphan
            assert not is_running(orphan)


async def test_a_stale_socket_does_not_stop_a_start(folder: Path) -> None:
    """A socket file that nobody listens on is replaced."""
    (folder / "valkey").mkdir(parents=True)
    (folder / "valkey" / "valkey.sock").touch()
    async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
        assert await client.ping()


@pytest.mark.parametrize("name", ["long" * 30, "mit Leerzeichen und ü%20"])
async def test_a_path_that_no_socket_can_have_gets_a_socket_elsewhere(tmp_path: Path, name: str) -> None:
    """redis-py and arq reach the server under the same URL, and the socket's private folder is gone afterwards."""
    async with EmbeddedValkey(tmp_path / name) as valkey:
        socket = Path(valkey.url.removeprefix("unix://"))
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        async with client_of(valkey.url) as client:
            await client.set("key", "kept")
        pool = await create_pool(RedisSettings.from_dsn(valkey.url))
        assert await pool.get("key") == b"kept"
        await pool.aclose()
    assert not socket.parent.exists()
    assert (tmp_path / name / "valkey" / "valkey.log").exists()


async def test_the_socket_folder_of_a_killed_run_is_removed_by_the_next(tmp_path: Path) -> None:
    """Crashes do not fill the temporary folder: the next start removes what the last one left there."""
    folder = tmp_path / ("long" * 30)
    with owner_of(folder) as (owner, _, url):
        left = Path(url.removeprefix("unix://")).parent
        owner.kill()
        owner.wait()
    assert left.exists()
    async with EmbeddedValkey(folder):
        assert not left.exists()


async def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    """The error carries the end of the server's log, and nothing is left running."""
    async with EmbeddedValkey(folder):
        pass
    (folder / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("not a manifest\n")
    valkey = EmbeddedValkey(folder)
    with pytest.raises(ValkeyFailed, match=r"(?s)ended at start.*manifest"):
        await valkey.start()
    await valkey.stop()


async def test_a_start_can_be_cancelled(folder: Path) -> None:
    """Ctrl-C in the middle of a start leaves no server behind, and the next start works."""
    for seconds in (0.0, 0.02, 0.06):
        valkey = EmbeddedValkey(folder)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(valkey.start(), seconds)
    async with EmbeddedValkey(folder) as valkey, client_of(valkey.url) as client:
        assert await client.ping()


def uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("uv is not installed: pip install uv")
    return found


def test_a_killed_uv_is_noticed(tmp_path: Path) -> None:
    """`kill -9` of the uv that started us returns from parent_gone."""
    command = [uv(), "run", "--no-sync", "python", "-c", WATCH_PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PATIENCE": "20"}) as started:
        assert started.stdout is not None
        watcher = int(started.stdout.readline())
        assert watcher != started.pid
        started.kill()
        assert started.stdout.readline() == "parent gone\n"


def test_a_shell_may_end(tmp_path: Path) -> None:
    """With nohup from a shell we go on when the shell ends, also where that shell was started by `uv run`."""
    (tmp_path / "watch.py").write_text(WATCH_PARENT)
    script = f"nohup {sys.executable} {tmp_path / 'watch.py'} & sleep 2"
    environment = os.environ | {"PATIENCE": "3", "UV_RUN_RECURSION_DEPTH": "1", "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, env=environment) as shell:
        assert shell.stdout is not None
        assert int(shell.stdout.readline()) != shell.pid
        assert shell.stdout.readline() == "going on\n"
        assert shell.wait() == 0
