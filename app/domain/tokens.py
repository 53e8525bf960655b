"""API tokens: who holds one may do what its role allows, until it expires or is revoked. Secrets are kept as hashes."""

from datetime import datetime

from msgspec import Struct, structs

from app.domain.access import Actor, Principal, Role
from app.domain.credentials import is_in_force

PREFIX = "slw_"


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
        return is_in_force(now, self.expires_at, self.revoked_at)

    def revoked(self, now: datetime) -> "Token":
        """Its next revision, which lets nobody in."""
        return structs.replace(self, revoked_at=now, revision=self.revision + 1)

    @property
    def principal(self) -> Principal:
        """The caller that holds it."""
        return Principal(Actor(self.id, self.name), self.role)
