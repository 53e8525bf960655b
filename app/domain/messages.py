"""What a notice says in a chat: which feature and phase, what is asked, by whom, for how long; read in one glance."""

import re
from datetime import datetime, timedelta
from enum import Enum
from typing import assert_never

from msgspec import Struct

from app.domain.notifications import Notice, NotificationType, is_asked, phase_of
from app.domain.releases import Release, ReleaseEvent, ReleasePhase
from app.domain.wording import cut, duration_in_words

_URGENT_FROM = 3
_LONGEST_REASON = 200


class Urgency(Enum):
    """How loud a message is where the channel can tell: Apprise's types."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


class Message(Struct, frozen=True):
    """A title of one line, a text of a few, and where to act."""

    title: str
    text: str
    link: str
    urgency: Urgency = Urgency.INFO


_MARKUP = re.compile(r"[\\*_`\[\]~]|^[#+>-]", re.MULTILINE)


def in_markdown(message: Message) -> str:
    """Text and link of a message for a channel that reads Markdown, in which a line break alone is none."""
    lines = _MARKUP.sub(r"\\\g<0>", message.text).split("\n")
    return "\n\n".join([*lines, f"[Open in Slipway]({message.link})"])


def release_link(base_url: str, release_id: str) -> str:
    """Where the status page shows a release."""
    return f"{base_url.rstrip('/')}/releases/{release_id}"


def message(release: Release, notice: Notice, base_url: str, now: datetime) -> Message:
    """What a notice says now: how long something has waited is counted up to `now`."""
    event = release.history[notice.sequence - 1]
    phase = phase_of(release, event)
    lines = [_first_line(release, notice, event, phase), _second_line(release, notice, event, phase, now)]
    if event.reason and event.reason != release.description:
        lines.append(f"Reason: {_plain(event.reason, _LONGEST_REASON)}")
    return Message(
        _title(release, notice, phase, now),
        "\n".join(line for line in lines if line),
        release_link(base_url, release.id),
        _urgency(notice),
    )


def test_message(channel_name: str, base_url: str, by: str) -> Message:
    """What `testChannel` sends."""
    text = f"{_plain(by)} has tried whether messages arrive here. There is nothing to do."
    return Message(f"Slipway reaches “{_plain(channel_name)}”", text, base_url.rstrip("/") + "/")


def _title(release: Release, notice: Notice, phase: ReleasePhase | None, now: datetime) -> str:
    feature, where = _plain(release.feature_key), _phase_name(phase)
    match notice.type:
        case NotificationType.RELEASE_STARTED:
            return f"Release started: {feature}"
        case NotificationType.REVIEW_REQUESTED:
            return f"Review needed: {feature}, {where}"
        case NotificationType.REVIEW_OVERDUE:
            loud = "Review OVERDUE" if notice.reminder >= _URGENT_FROM else "Review still needed"
            return f"{loud}: {feature}, {where} ({_since(release, notice, now)})"
        case NotificationType.RELEASE_PAUSED:
            return f"Release paused: {feature}, {where}"
        case NotificationType.BAKE_ENDED:
            return f"Bake ended: {feature}, {where}"
        case NotificationType.PHASE_SKIPPED:
            return f"Phase skipped: {feature}, {where}"
        case NotificationType.FULLY_ROLLED_OUT:
            return f"Fully rolled out: {feature}"
        case NotificationType.RELEASE_COMPLETED:
            return f"Release completed: {feature}"
        case NotificationType.RELEASE_ABORTED:
            return f"Release ABORTED: {feature}"
        case _:
            assert_never(notice.type)


def _first_line(release: Release, notice: Notice, event: ReleaseEvent, phase: ReleasePhase | None) -> str:
    """What has happened, and what is asked."""
    what = f"Release #{release.number}" + (f" “{_plain(release.description)}”" if release.description else "")
    who, place = _plain(event.actor.name), _place(release, phase)
    match notice.type:
        case NotificationType.RELEASE_STARTED:
            return f"{what} is on its way through “{_plain(release.pipeline_name or '')}”." if release.phases else what
        case NotificationType.REVIEW_REQUESTED | NotificationType.REVIEW_OVERDUE:
            if not is_asked(release, notice.sequence):
                return f"{what} asked for a review of {place}; it waits no longer."
            return f"{what} waits for your review of {place}: approve or abort it."
        case NotificationType.RELEASE_PAUSED:
            return f"{who} paused {what[0].lower()}{what[1:]} in {place}: it goes on when somebody unpauses it."
        case NotificationType.BAKE_ENDED:
            return f"{what} has baked to the end of {place}."
        case NotificationType.PHASE_SKIPPED:
            bypassed = " without its review" if event.bypassed_phase_ids else ""
            return f"{who} skipped {place} of {what[0].lower()}{what[1:]}{bypassed}."
        case NotificationType.FULLY_ROLLED_OUT:
            bypassed = " Reviews were bypassed." if event.bypassed_phase_ids else ""
            return f"{who} rolled {what[0].lower()}{what[1:]} out to everyone at once, from {place}.{bypassed}"
        case NotificationType.RELEASE_COMPLETED:
            return f"{what} has reached everyone."
        case NotificationType.RELEASE_ABORTED:
            return f"{who} aborted {what[0].lower()}{what[1:]} in {place}: everyone has the values from before."
        case _:
            assert_never(notice.type)


def _second_line(
    release: Release, notice: Notice, event: ReleaseEvent, phase: ReleasePhase | None, now: datetime
) -> str:
    """By whom it was started and how long ago; of a review how long it has waited and what is there of it."""
    started = f"Started by {_plain(release.started_by.name)}"
    if notice.type is NotificationType.RELEASE_STARTED:
        return f"{started}."
    started += f" {duration_in_words(max(now - release.started_at, timedelta(0)))} ago"
    if notice.type not in (NotificationType.REVIEW_REQUESTED, NotificationType.REVIEW_OVERDUE) or phase is None:
        return f"{started}."
    waited = _since(release, notice, now)
    needed = phase.required_approvals
    count = f", {len(phase.approvals)} of {needed} approvals" if needed > 1 else ""
    return f"{started}. Waiting for {waited}{count}."


def _since(release: Release, notice: Notice, now: datetime) -> str:
    return duration_in_words(max(now - release.history[notice.sequence - 1].at, timedelta(0)))


def _urgency(notice: Notice) -> Urgency:
    match notice.type:
        case NotificationType.REVIEW_OVERDUE:
            return Urgency.FAILURE if notice.reminder >= _URGENT_FROM else Urgency.WARNING
        case NotificationType.REVIEW_REQUESTED | NotificationType.RELEASE_PAUSED:
            return Urgency.WARNING
        case NotificationType.RELEASE_COMPLETED | NotificationType.FULLY_ROLLED_OUT:
            return Urgency.SUCCESS
        case NotificationType.RELEASE_ABORTED:
            return Urgency.FAILURE
        case _:
            return Urgency.INFO


def _place(release: Release, phase: ReleasePhase | None) -> str:
    if phase is None:
        return "no phase"
    return f"{_phase_name(phase)}, phase {phase.index + 1} of {len(release.phases)}"


def _phase_name(phase: ReleasePhase | None) -> str:
    return f"“{_plain(phase.name)}”" if phase else "no phase"


_SPACE = re.compile(r"\s+")


def _plain(text: str, longest: int = 60) -> str:
    """A text in one line that no chat takes for a mention, a link of its own or an end of a header."""
    line = _SPACE.sub(" ", "".join(char if char.isprintable() else " " for char in text)).strip()
    return cut(line, longest).replace("@", "@\u200b").replace("<", "‹").replace(">", "›")
