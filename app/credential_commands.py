"""`slipway token ...` and `slipway sdk-key ...`: on the store itself, without the API, but on the audit log too."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from app.audit import Auditor
from app.credentials import Credential
from app.domain.access import ADMINISTRATOR, Role
from app.domain.audit import Outcome
from app.domain.problems import Problem
from app.domain.releases import Release
from app.engine import SystemClock
from app.sdk_keys import SdkKeyRegister
from app.store import open_store
from app.store.access import AuditLog, SdkKeys, Tokens
from app.store.documents import Store
from app.store.repositories import Environments
from app.tokens import TokenRegister

_CREDENTIAL = "command line"


@asynccontextmanager
async def opened(store_url: str) -> AsyncIterator[Store]:
    """The store of that URL, prepared, to the end of the block."""
    store = open_store(store_url)
    try:
        await store.prepare()
        yield store
    finally:
        await store.close()


def _tokens(store: Store) -> TokenRegister:
    return TokenRegister(Tokens(store), SystemClock())


def _sdk_keys(store: Store) -> SdkKeyRegister:
    return SdkKeyRegister(SdkKeys(store), Environments(store), _Unheard(), SystemClock())


class _Unheard:
    """Announces to nobody: a command knows the store alone, and the servers' poll finds what it has changed."""

    async def announce(self, *releases: Release) -> None:
        """Do nothing."""

    async def announce_other(self, id: str, revision: int) -> None:
        """Do nothing."""


async def create_token(store_url: str, name: str, role: Role, lifetime: timedelta | None) -> None:
    """Make a token and print its secret, the only time. Raises `Problem` or `StoreUnavailable`."""
    given = {"name": name, "role": role.value, "expiresIn": _written(lifetime)}
    async with opened(store_url) as store, audited(store, "createToken", given):
        token, secret = await _tokens(store).create(name, role, lifetime, ADMINISTRATOR)
    _show_made(token, token.role.value, secret)


async def create_sdk_key(store_url: str, name: str, environment: str, lifetime: timedelta | None) -> None:
    """Make an SDK key and print its secret, the only time. Raises `Problem` or `StoreUnavailable`."""
    given = {"name": name, "environment": environment, "expiresIn": _written(lifetime)}
    async with opened(store_url) as store, audited(store, "createSdkKey", given):
        key, secret = await _sdk_keys(store).create(name, environment, lifetime, ADMINISTRATOR)
    _show_made(key, key.environment, secret)


async def revoke_token(store_url: str, id: str) -> None:
    """Revoke a token. Raises `NotFound` or `StoreUnavailable`."""
    async with opened(store_url) as store, audited(store, "revokeToken", {"id": id}):
        token = await _tokens(store).revoke(id, ADMINISTRATOR)
    _show_revoked(token)


async def revoke_sdk_key(store_url: str, id: str) -> None:
    """Revoke an SDK key. Raises `NotFound` or `StoreUnavailable`."""
    async with opened(store_url) as store, audited(store, "revokeSdkKey", {"id": id}):
        key = await _sdk_keys(store).revoke(id, ADMINISTRATOR)
    _show_revoked(key)


async def list_tokens(store_url: str) -> None:
    """Print all tokens, the newest first. Raises `StoreUnavailable`."""
    async with opened(store_url) as store:
        await _show(Tokens(store).all(), "Role", lambda token: token.role.value)


async def list_sdk_keys(store_url: str) -> None:
    """Print all SDK keys, the newest first. Raises `StoreUnavailable`."""
    async with opened(store_url) as store:
        await _show(SdkKeys(store).all(), "Environment", lambda key: key.environment)


@asynccontextmanager
async def audited(store: Store, mutation: str, given: dict[str, str | None]) -> AsyncIterator[None]:
    """Have what is done in the block on the audit log, before and after it is done."""
    auditor = Auditor(AuditLog(store), SystemClock())
    entry = await auditor.attempt(mutation, given, ADMINISTRATOR, _CREDENTIAL, None)
    try:
        yield
    except Problem as problem:
        await auditor.conclude(entry, Outcome.REFUSED, problem=type(problem).__name__, message=problem.message)
        raise
    await auditor.conclude(entry, Outcome.DONE)


def _written(lifetime: timedelta | None) -> str | None:
    return None if lifetime is None else str(lifetime)


def _show_made(credential: Credential, for_what: str, secret: str) -> None:
    print(f"{credential.id}  {for_what}  {credential.name}")
    print(f"Its secret, shown only now: {secret}")


def _show_revoked(credential: Credential) -> None:
    print(f"{credential.id}  {credential.name} is revoked.")


async def _show(held: AsyncIterator[Credential], column: str, for_what: Callable[[Credential], str]) -> None:
    # Plain columns, whatever the terminal's width: ids are there to be copied.
    row = f"{{:<30}}  {{:<{max(8, len(column))}}}  {{:<10}}  {{:<16}}  {{:<10}}  {{}}"
    print(row.format("Id", column, "Made", "Last used", "Expires", "Name"))
    now = SystemClock().now()
    async for credential in held:
        used = f"{credential.last_used_at:%Y-%m-%d %H:%M}" if credential.last_used_at else "never"
        made = f"{credential.created_at:%Y-%m-%d}"
        end = _expiry(credential, now)
        print(row.format(credential.id, for_what(credential), made, used, end, credential.name))


def _expiry(credential: Credential, now: datetime) -> str:
    if credential.revoked_at is not None:
        return "revoked"
    if not credential.is_valid(now):
        return "expired"
    return f"{credential.expires_at:%Y-%m-%d}" if credential.expires_at else "never"
