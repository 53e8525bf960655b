"""API tokens: who holds one may do what its role allows, until it expires or is revoked. Secrets are kept as hashes."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from app.domain.access import Actor, Principal, Role
from app.domain.features import name_problems
from app.domain.problems import FieldProblem

PREFIX = "slw_"
MAX_LIFETIME = timedelta(days=3_650)


class Token(Struct, frozen=True):
    """One API token. Its secret was shown once, when it was made; `secret_hash` is all that is left of it."""

    id: str
    name: str
    role: Role
    secret_hash: str
    created_by: Actor
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    revision: int = 1

    def is_valid(self, now: datetime) -> bool:
        """Whether it still lets its holder in."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def principal(self) -> Principal:
        """The caller that holds it."""
        return Principal(Actor(self.id, self.name), self.role)


def hash_of(secret: str) -> str:
    """What is stored of a secret. Secrets are 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_problems(name: str, lifetime: timedelta | None) -> Iterator[FieldProblem]:
    """What is wrong with a token to be made."""
    yield from name_problems(name, ("name",))
    if lifetime is not None and not timedelta(0) < lifetime <= MAX_LIFETIME:
        yield FieldProblem(("expiresIn",), f"Use a lifetime of more than nothing and at most {MAX_LIFETIME.days} days.")
