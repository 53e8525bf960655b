"""Credentials of both kinds, API tokens and SDK keys: how a secret is drawn, one revoked, and its use written down."""

import secrets
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from msgspec import structs

from app.domain.access import Principal
from app.domain.problems import NotFound
from app.domain.sdk_keys import SdkKey
from app.domain.tokens import Token
from app.engine import Clock, Contention
from app.store.repositories import Repository

log = structlog.get_logger()

_ATTEMPTS = 10
_USED_EVERY = timedelta(minutes=1)

Credential = TypeVar("Credential", Token, SdkKey)


def new_secret(prefix: str) -> str:
    """A secret that nobody guesses."""
    return prefix + secrets.token_urlsafe(32)


async def revoke(held: Repository[Credential], kind: str, id: str, clock: Clock, by: Principal) -> Credential:
    """Let the holder in no more; revoking twice is once. Raises NotFound."""
    for _ in range(_ATTEMPTS):
        credential = await held.get(id)
        if credential is None:
            raise NotFound(f"There is no {kind} {id!r}.", id)
        if credential.revoked_at is not None:
            return credential
        revoked = credential.revoked(clock.now())  # anew each time: who looks for changes looks back a moment only
        if await held.save(revoked):
            log.info(f"{kind} revoked", id=id, by=by.actor.id)
            return revoked
    raise Contention(f"The {kind} {id} is being changed by many others at once. Nothing was done; try again.")


async def note_use(held: Repository[Credential], credential: Credential, now: datetime) -> Credential | None:
    """Write down that it was used, once a minute at most; a lost race costs only the note.

    The credential as noted, None if it was not. Raises `StoreUnavailable`.
    """
    if credential.last_used_at is not None and now - credential.last_used_at < _USED_EVERY:
        return None
    used = structs.replace(credential, last_used_at=now, revision=credential.revision + 1)
    return used if await held.save(used) else None
