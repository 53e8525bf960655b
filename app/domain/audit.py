"""The audit log's entries: who asked for what, and what came of it."""

from datetime import datetime
from enum import Enum

from msgspec import Struct

from app.domain.access import Actor, Role
from app.domain.comparing import Json


class Outcome(Enum):
    """What came of a mutation."""

    ATTEMPTED = "ATTEMPTED"
    DONE = "DONE"
    REFUSED = "REFUSED"
    FAILED = "FAILED"


class AuditEntry(Struct, frozen=True):
    """One mutation that somebody sent. It is written before the change, so no change is kept without it."""

    id: str
    at: datetime
    mutation: str
    actor: Actor
    role: Role
    credential: str
    address: str | None
    input: Json
    outcome: Outcome = Outcome.ATTEMPTED
    problem: str | None = None
    message: str | None = None
    feature_key: str | None = None
    release_id: str | None = None
    revision: int = 1
