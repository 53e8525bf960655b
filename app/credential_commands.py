"""`slipway token ...`: tokens without the API, on the store itself, and on the audit log like any other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from app.api.auth import ADMINISTRATOR
from app.audit import Auditor
from app.domain.access import Role
from app.domain.audit import Outcome
from app.domain.problems import Problem
from app.domain.tokens import Token
from app.engine import SystemClock
from app.store import open_store
from app.store.access import AuditLog, Tokens
from app.store.documents import Store
from app.tokens import TokenRegister

_CREDENTIAL = "command line"
_PAGE = 100


@asynccontextmanager
async def _opened(store_url: str) -> AsyncIterator[Store]:
    store = open_store(store_url)
    try:
        await store.prepare()
        yield store
    finally:
        await store.close()


def store_of(data: Path) -> str:
    """The URL of the store in a data folder of `slipway dev`."""
    return f"sqlite:///{(data / 'slipway.db').absolute()}"


async def create(store_url: str, name: str, role: Role, lifetime: timedelta | None) -> None:
    """Make a token and print its secret, the only time. Raises `Problem` or `StoreUnavailable`."""
    given = {"name": name, "role": role.value, "expiresIn": None if lifetime is None else str(lifetime)}
    async with _opened(store_url) as store, _audited(store, "createToken", given):
        token, secret = await TokenRegister(Tokens(store), SystemClock()).create(name, role, lifetime, ADMINISTRATOR)
    print(f"{token.id}  {token.role.value}  {token.name}")
    print(f"Its secret, shown only now: {secret}")


async def revoke(store_url: str, id: str) -> None:
    """Revoke a token. Raises `NotFound` or `StoreUnavailable`."""
    async with _opened(store_url) as store, _audited(store, "revokeToken", {"id": id}):
        token = await TokenRegister(Tokens(store), SystemClock()).revoke(id, ADMINISTRATOR)
    print(f"{token.id}  {token.name} is revoked.")


@asynccontextmanager
async def _audited(store: Store, mutation: str, given: dict[str, str | None]) -> AsyncIterator[None]:
    auditor = Auditor(AuditLog(store), SystemClock())
    entry = await auditor.attempt(mutation, given, ADMINISTRATOR, _CREDENTIAL, None)
    try:
        yield
    except Problem as problem:
        await auditor.conclude(entry, Outcome.REFUSED, problem=type(problem).__name__, message=problem.message)
        raise
    await auditor.conclude(entry, Outcome.DONE)


async def show(store_url: str) -> None:
    """Print all tokens, the newest first. Raises `StoreUnavailable`."""
    # Plain columns, whatever the terminal's width: ids are there to be copied.
    row = "{:<30}  {:<8}  {:<10}  {:<16}  {:<10}  {}"
    print(row.format("Id", "Role", "Made", "Last used", "Expires", "Name"))
    now = SystemClock().now()
    async with _opened(store_url) as store:
        tokens, after = Tokens(store), None
        while True:
            page = await tokens.page(_PAGE, after)
            for token in page.values:
                used = f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never"
                made = f"{token.created_at:%Y-%m-%d}"
                print(row.format(token.id, token.role.value, made, used, _expiry(token, now), token.name))
            if not page.has_next:
                break
            after = Tokens.cursor(page.values[-1])


def _expiry(token: Token, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if not token.is_valid(now):
        return "expired"
    return f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "never"
