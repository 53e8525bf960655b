"""The audit log: written before a mutation is carried out, and once more when it is known what came of it."""

import hashlib

import msgspec
import structlog
from msgspec import structs

from app.domain.access import Principal
from app.domain.audit import AuditEntry, Outcome
from app.domain.comparing import Json
from app.engine import Clock, new_id
from app.store.access import AuditLog
from app.store.documents import StoreUnavailable

log = structlog.get_logger()

KEPT_SECRET = "(kept secret)"  # noqa: S105
"""What stands on the log in the place of a secret that was given."""
MAX_INPUT_BYTES = 8 * 1024
_SHORT = 300


class Auditor:
    """Keeps the audit log."""

    def __init__(self, entries: AuditLog, clock: Clock) -> None:
        self._entries = entries
        self._clock = clock

    async def attempt(
        self, mutation: str, input: Json, by: Principal, credential: str, address: str | None
    ) -> AuditEntry:
        """Write down that a mutation begins. Raises `StoreUnavailable`; the mutation must not be carried out then."""
        now = self._clock.now()
        entry = AuditEntry(new_id("aud", now), now, mutation, by.actor, by.role, credential, address, _bounded(input))
        await self._entries.add(entry)
        return entry

    async def conclude(
        self,
        entry: AuditEntry,
        outcome: Outcome,
        *,
        problem: str | None = None,
        message: str | None = None,
        feature_key: str | None = None,
        release_id: str | None = None,
    ) -> None:
        """Write down what came of it. If that fails the entry stays ATTEMPTED: who is known, what came of it is not."""
        concluded = structs.replace(
            entry,
            outcome=outcome,
            problem=problem,
            message=message,
            feature_key=feature_key,
            release_id=release_id,
            revision=entry.revision + 1,
        )
        try:
            await self._entries.save(concluded)
        except StoreUnavailable as error:
            log.warning("audit entry not concluded", entry=entry.id, outcome=outcome.value, error=str(error))


def _bounded(input: Json) -> Json:
    """An input as it is kept: of one that is large, the short texts at its top and a digest of the whole.

    Whoever may do nothing may still send much, again and again.
    """
    written = msgspec.json.encode(input, order="deterministic")
    if len(written) <= MAX_INPUT_BYTES or not isinstance(input, dict):
        return input if len(written) <= MAX_INPUT_BYTES else {"omitted": _digest(written)}
    short = {name: value for name, value in input.items() if not isinstance(value, str) or len(value) <= _SHORT}
    kept = {name: value for name, value in short.items() if not isinstance(value, dict | list)}
    return kept | {"omitted": _digest(written)}


def _digest(written: bytes) -> Json:
    return {"bytes": len(written), "sha256": hashlib.sha256(written).hexdigest()}
