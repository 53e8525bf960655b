"""API tokens: made, listed, revoked and recognised."""

import time
from collections import OrderedDict
from datetime import timedelta
from typing import Protocol

import structlog

from app import credentials
from app.domain.access import Principal, Role, require_role
from app.domain.credentials import credential_problems, hash_of
from app.domain.problems import ValidationFailed
from app.domain.tokens import PREFIX, Token
from app.engine import Clock, new_id
from app.store.access import Tokens
from app.store.documents import StoreUnavailable

log = structlog.get_logger()

# A revoked token is let in no longer than this; with the sockets' own check it stays below the promised 5 s.
RECOGNISED_SECONDS = 2.0
_RECOGNISED = 10_000


class Ticks(Protocol):
    """A monotonic clock, seconds."""

    def __call__(self) -> float:
        """Seconds since some moment."""


class TokenRegister:
    """The tokens of this Slipway."""

    def __init__(self, tokens: Tokens, clock: Clock, ticks: Ticks = time.monotonic) -> None:
        self._tokens = tokens
        self._clock = clock
        self._ticks = ticks
        self._recognised: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()

    async def create(self, name: str, role: Role, lifetime: timedelta | None, by: Principal) -> tuple[Token, str]:
        """Make a token; its secret is given here and never again. Raises PermissionDenied or ValidationFailed."""
        require_role(by, Role.ADMIN, "make a token")
        if problems := list(credential_problems(name, lifetime)):
            raise ValidationFailed(problems)
        now = self._clock.now()
        secret = credentials.new_secret(PREFIX)
        expires_at = None if lifetime is None else now + lifetime
        token = Token(new_id("tok", now), name, role, hash_of(secret), by.actor, now, expires_at)
        await self._tokens.add(token)
        log.info("token made", token=token.id, role=role.value, by=by.actor.id)
        return token, secret

    async def revoke(self, id: str, by: Principal) -> Token:
        """Let a token's holder in no more; revoking twice is once. Raises PermissionDenied or NotFound."""
        require_role(by, Role.ADMIN, "revoke a token")
        token = await credentials.revoke(self._tokens, "token", id, self._clock, by)
        self._recognised.pop(token.secret_hash, None)
        return token

    async def recognise(self, secret: str) -> Token | None:
        """The valid token with that secret; None if there is none. Raises `StoreUnavailable`.

        Remembered for two seconds, a miss too, so that many requests cost few reads.
        """
        if not secret.startswith(PREFIX):
            return None
        secret_hash = hash_of(secret)
        seen_at, token = self._recognised.get(secret_hash, (float("-inf"), None))
        if self._ticks() - seen_at >= RECOGNISED_SECONDS:
            token = await self._tokens.by_secret_hash(secret_hash)
            self._remember(secret_hash, token)
            if token is not None:
                await self._note_use(token)
        return token if token is not None and token.is_valid(self._clock.now()) else None

    async def valid_among(self, ids: list[str]) -> set[str]:
        """Those of the ids whose tokens are valid, read anew. Raises `StoreUnavailable`."""
        now = self._clock.now()
        return {id for id, token in (await self._tokens.get_many(ids)).items() if token.is_valid(now)}

    def _remember(self, secret_hash: str, token: Token | None) -> None:
        self._recognised[secret_hash] = (self._ticks(), token)
        self._recognised.move_to_end(secret_hash)
        if len(self._recognised) > _RECOGNISED:
            self._recognised.popitem(last=False)

    async def _note_use(self, token: Token) -> None:
        """Write down that it was used; an absent store costs only the note."""
        try:
            used = await credentials.note_use(self._tokens, token, self._clock.now())
        except StoreUnavailable:
            log.warning("token use not noted", token=token.id)
            return
        if used is not None:
            self._remember(token.secret_hash, used)
