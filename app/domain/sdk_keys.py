"""SDK keys: who holds one may evaluate the features of one environment, and nothing else."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, structs

from app.domain.access import Actor
from app.domain.credentials import credential_problems, is_in_force
from app.domain.features import unknown_environment
from app.domain.problems import FieldProblem

PREFIX = "slk_"


class SdkKey(Struct, frozen=True):
    """One SDK key. It has no role; its secret was shown once, when it was made.

    `changed_at` is when it was last made another key to its holder: a use that is noted does not move it.
    """

    id: str
    name: str
    environment: str
    secret_hash: str
    created_by: Actor
    created_at: datetime
    changed_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    revision: int = 1

    def is_valid(self, now: datetime) -> bool:
        """Whether its holder may still evaluate."""
        return is_in_force(now, self.expires_at, self.revoked_at)

    def revoked(self, now: datetime) -> "SdkKey":
        """Its next revision, with which nobody may evaluate."""
        return structs.replace(self, revoked_at=now, changed_at=now, revision=self.revision + 1)


def sdk_key_problems(
    name: str, environment: str, lifetime: timedelta | None, environments: Sequence[str]
) -> Iterator[FieldProblem]:
    """What is wrong with an SDK key to be made where those environments exist."""
    yield from credential_problems(name, lifetime)
    if environment not in environments:
        yield unknown_environment(environment, environments, ("environment",))
