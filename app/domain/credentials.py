"""What API tokens and SDK keys have in common: a secret that is kept as a hash, and an end."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from app.domain.features import name_problems
from app.domain.problems import FieldProblem

MAX_LIFETIME = timedelta(days=3_650)


def hash_of(secret: str) -> str:
    """What is stored of a secret. Secrets are 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_in_force(now: datetime, expires_at: datetime | None, revoked_at: datetime | None) -> bool:
    """Whether what ends then, and was revoked then, still lets its holder in."""
    return revoked_at is None and (expires_at is None or now < expires_at)


def credential_problems(name: str, lifetime: timedelta | None) -> Iterator[FieldProblem]:
    """What is wrong with the name and the lifetime of one to be made."""
    yield from name_problems(name, ("name",))
    if lifetime is not None and not timedelta(0) < lifetime <= MAX_LIFETIME:
        yield FieldProblem(("expiresIn",), f"Use a lifetime of more than nothing and at most {MAX_LIFETIME.days} days.")
