"""What a webhook's body says: the event as the GraphQL API gives it, and the id by which a receiver knows it again."""

from datetime import datetime

import msgspec

from app.domain.access import Actor
from app.domain.comparing import Json
from app.domain.iso8601 import duration_text, time_text
from app.domain.messages import Message
from app.domain.notifications import Notice, phase_of
from app.domain.releases import Approval, Release, ReleaseEvent, ReleasePhase


def notice_body(id: str, release: Release, notice: Notice, message: Message) -> bytes:
    """The body for a notice. `data` has the fields of the schema's ReleaseEvent; the rest is what a webhook adds."""
    return msgspec.json.encode(
        {
            "id": id,
            "type": notice.type.value,
            "timestamp": time_text(notice.at),
            "reminder": notice.reminder,
            "title": message.title,
            "link": message.link,
            "data": event_fields(release, release.history[notice.sequence - 1]),
        }
    )


def test_body(id: str, message: Message, now: datetime) -> bytes:
    """The body that `testChannel` sends."""
    return msgspec.json.encode(
        {
            "id": id,
            "type": "TEST",
            "timestamp": time_text(now),
            "title": message.title,
            "text": message.text,
            "link": message.link,
            "data": None,
        }
    )


def event_fields(release: Release, event: ReleaseEvent) -> Json:
    """A ReleaseEvent of the schema, its release as it stands now."""
    phase = phase_of(release, event)
    bypassed = [each for each in release.phases if each.id in event.bypassed_phase_ids]
    return {
        "sequence": event.sequence,
        "type": event.type.value,
        "at": time_text(event.at),
        "actor": _actor(event.actor),
        "reason": event.reason,
        "phase": _phase(phase) if phase else None,
        "fromStatus": event.from_status.value if event.from_status else None,
        "toStatus": event.to_status.value,
        "bypassedReviewOf": [_phase(each) for each in bypassed],
        "release": _release(release),
    }


def _release(release: Release) -> Json:
    return {
        "id": release.id,
        "number": release.number,
        "feature": {"key": release.feature_key, "kind": release.feature_kind.value},
        "pipelineId": release.pipeline_id,
        "pipelineName": release.pipeline_name,
        "description": release.description,
        "status": release.status.value,
        "currentPhase": _phase(release.current_phase) if release.current_phase else None,
        "startedBy": _actor(release.started_by),
        "startedAt": time_text(release.started_at),
        "endedAt": _optional_time(release.ended_at),
        "revision": release.revision,
    }


def _phase(phase: ReleasePhase) -> Json:
    return {
        "id": phase.id,
        "index": phase.index,
        "name": phase.name,
        "status": phase.status.value,
        "bakeTime": duration_text(phase.bake_time),
        "requiredApprovals": phase.required_approvals,
        "approvals": [_approval(each) for each in phase.approvals],
        "reviewBypassed": phase.review_bypassed,
        "releasedAt": _optional_time(phase.released_at),
        "bakeEndsAt": _optional_time(phase.bake_ends_at),
        "endedAt": _optional_time(phase.ended_at),
    }


def _approval(approval: Approval) -> Json:
    return {"actor": _actor(approval.actor), "at": time_text(approval.at), "reason": approval.reason}


def _actor(actor: Actor) -> Json:
    return {"id": actor.id, "name": actor.name, "kind": actor.kind.value}


def _optional_time(at: datetime | None) -> str | None:
    return None if at is None else time_text(at)
