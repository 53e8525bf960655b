"""Who is calling, over HTTP and over websocket: the administrator, the holder of a token, or a person signed on."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from app.api.oidc import NotVerified, OidcVerifier, looks_like_jwt
from app.domain import sdk_keys
from app.domain.access import ADMINISTRATOR, Principal
from app.engine import Clock
from app.tokens import TokenRegister

ADMIN_TOKEN = "admin-token"  # noqa: S105 (what the audit log calls it, not the token)


class Session(Struct, frozen=True):
    """A caller that was let in, with what: a token's id, `admin-token`, or the subject of a sign-on."""

    principal: Principal
    credential: str
    expires_at: datetime | None = None


class Authenticator:
    """Lets callers in."""

    def __init__(self, admin_token: str, tokens: TokenRegister, verifier: OidcVerifier | None, clock: Clock) -> None:
        self._admin_token = admin_token.encode()
        self._tokens = tokens
        self._verifier = verifier
        self._clock = clock

    async def session(self, authorization: object) -> Session | None:
        """The session behind `Bearer <token>`; None for anything else.

        Raises `StoreUnavailable` when it cannot be told, and `IssuerUnavailable` likewise.
        """
        secret = secret_of(authorization)
        if secret is None:
            return None
        # Compared in constant time, so that answering tells nothing of how far a guess was right.
        if secrets.compare_digest(secret.encode("utf-8", "replace"), self._admin_token):
            return Session(ADMINISTRATOR, ADMIN_TOKEN)
        if self._verifier is not None and looks_like_jwt(secret):
            try:
                verified = await self._verifier.verify(secret, self._clock.now())
            except NotVerified:
                return None
            return Session(verified.principal, verified.principal.actor.id, verified.expires_at)
        token = await self._tokens.recognise(secret)
        return None if token is None else Session(token.principal, token.id, token.expires_at)

    async def lapsed(self, credentials: Iterable[str]) -> Callable[[Session], bool]:
        """Says of sessions with these credentials whether they would not be let in any more.

        Raises `StoreUnavailable`.
        """
        token_ids = sorted(each for each in credentials if each.startswith("tok_"))
        valid = await self._tokens.valid_among(token_ids) if token_ids else set()
        revoked = frozenset(token_ids) - valid
        now = self._clock.now()

        def is_lapsed(session: Session) -> bool:
            return session.credential in revoked or (session.expires_at is not None and session.expires_at <= now)

        return is_lapsed


def secret_of(authorization: object) -> str | None:
    """What follows `Bearer`; None for anything else."""
    if not isinstance(authorization, str):
        return None
    scheme, _, secret = authorization.strip().partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def is_sdk_key(authorization: object) -> bool:
    """Whether an SDK key was sent, by its looks alone: an answer that goes by them tells nothing of valid ones."""
    return (secret_of(authorization) or "").startswith(sdk_keys.PREFIX)


def authorization_of(connection_params: Mapping[str, object]) -> object:
    """The `authorization` of a connection_init payload, its key in any case."""
    return next((value for key, value in connection_params.items() if key.lower() == "authorization"), None)
