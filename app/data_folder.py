"""The folder that `slipway dev` keeps everything in: its lock, the administrator's token, where the SQLite file lies.

EmbeddedError
├── AlreadyRunning   another process holds the data folder
├── FolderUnusable   the data folder cannot be made or written
└── ValkeyFailed     the Valkey server did not come up (embedded.py)
"""

import base64
import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

SECRETS_KEY: Final = "secrets-key"
TOKEN_PREFIX: Final = "slw_"  # noqa: S105 (no password: it lets people and scanners tell what a leaked token is)


def database(folder: Path) -> Path:
    """The SQLite file of a data folder."""
    return folder / "slipway.db"


def store_url(folder: Path) -> str:
    """The URL of the store in a data folder."""
    return f"sqlite:///{quote(str(database(folder).absolute()))}"


def kept_secrets_key(folder: Path) -> str | None:
    """The key that channels' secrets are sealed with in a data folder, if it has one."""
    kept = folder / SECRETS_KEY
    return kept.read_text(encoding="ascii").strip() if kept.exists() else None


class EmbeddedError(Exception):
    """Something that `slipway dev` runs on is not to be had; the message says what to do."""


class AlreadyRunning(EmbeddedError):
    """Another process works on this data folder."""

    def __init__(self, folder: Path, pid: int | None, url: str | None) -> None:
        self.folder, self.pid, self.url = folder, pid, url
        who = f"process {pid} at {url}" if pid is not None else "another process"
        super().__init__(f"Slipway already runs on {folder}: {who}. Use that one, stop it, or choose another --data.")


class FolderUnusable(EmbeddedError):
    """The data folder cannot be made, or is not ours to write."""


class DataFolder:
    """One machine's data and the lock on it; used as a context manager, it lets go of the lock at the end."""

    def __init__(self, path: Path, lock: int) -> None:
        """Take a folder that is locked already; `DataFolder.open` is the way to one."""
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def open(cls, path: Path | str = ".slipway", *, url: str) -> Self:
        """Make the folder if need be and lock it; whoever comes second is told of this process and `url`.

        Raises AlreadyRunning while another process holds it.
        """
        folder = Path(path).expanduser().absolute()
        try:
            if not folder.exists():
                folder.mkdir(mode=0o700, parents=True)
                # It holds a token: no `git add .` shall pick it up.
                (folder / ".gitignore").write_text("*\n", encoding="ascii")
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as refused:
            raise FolderUnusable(
                f"Cannot use {folder} for data: {refused.strerror}. Choose a folder with --data."
            ) from refused
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, holder_url = os.pread(lock, 4096, 0).decode(errors="replace").strip().partition(" ")
            os.close(lock)
            raise AlreadyRunning(folder, int(pid) if pid.isdigit() else None, holder_url or None) from None
        except OSError as refused:
            os.close(lock)
            raise FolderUnusable(
                f"Cannot lock {folder}: {refused.strerror}. Choose a folder on a local disk with --data."
            ) from refused
        opened = cls(folder, lock)
        opened.announce(url)
        return opened

    def announce(self, url: str) -> None:
        """Note our pid and `url` for whoever comes second; again once the port is known, where it was not."""
        assert self._lock is not None, "the folder is closed"
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()} {url}\n".encode(), 0)

    def close(self) -> None:
        """Let go of the lock."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.ftruncate(lock, 0)
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def admin_token(self) -> str:
        """Return the administrator's token: made the first time, the same from then on."""
        return self._kept("admin-token", lambda: TOKEN_PREFIX + secrets.token_urlsafe(32))

    def secrets_key(self) -> str:
        """Return the key that channels' secrets are sealed with: made the first time, the same from then on."""
        return self._kept(SECRETS_KEY, lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        kept = self.path / name
        with contextlib.suppress(FileNotFoundError):
            kept.chmod(0o600)
            if secret := kept.read_text(encoding="ascii").strip():
                return secret
        secret = make()
        draft = kept.with_suffix(".new")  # renamed when whole: a crash leaves no half secret
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
            out.write(secret + "\n")
        draft.rename(kept)
        return secret
