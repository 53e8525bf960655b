"""Secrets as they lie in the store: encrypted, with a key that only the environment knows."""

from datetime import datetime

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from msgspec import Struct


class Sealed(Struct, frozen=True):
    """A sealed text, under the id of what it belongs to."""

    id: str
    text: str
    sealed_at: datetime
    revision: int = 1


class NotOpened(Exception):
    """A sealed text cannot be opened: it was sealed with a key that is not among ours, or was changed."""


class NoKey(Exception):
    """There is no key to seal or open with."""


class Sealer:
    """Seals with the first of its keys, and opens with any, so that keys can be changed."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        """Raises ValueError for what is no key: 32 bytes in base64."""
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    @property
    def has_key(self) -> bool:
        """Whether anything can be sealed."""
        return self._fernet is not None

    def seal(self, text: str) -> str:
        """The text, sealed. Raises `NoKey`."""
        if self._fernet is None:
            raise NoKey("There is no key to keep secrets with: set SLIPWAY_SECRETS_KEY.")
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def open(self, sealed: str) -> str:
        """The text that was sealed. Raises `NotOpened` or `NoKey`."""
        if self._fernet is None:
            raise NoKey("There is no key to open secrets with: set SLIPWAY_SECRETS_KEY.")
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise NotOpened("The secret was sealed with a key that is not in SLIPWAY_SECRETS_KEY any more.") from None
