"""What an action would make of a release, without doing it."""

from datetime import datetime

from msgspec import Struct

from app.domain.access import Actor, Principal, Role
from app.domain.available import AvailableAction, available_action, command_for
from app.domain.problems import Problem
from app.domain.releases import Release, ReleaseAction
from app.domain.transitions import act

# Shows what an action does to whoever may not do it, or has done their part of it.
_SOMEBODY_ELSE = Principal(Actor(id="", name="somebody else"), Role.ADMIN)


class ActionPreview(Struct, frozen=True):
    """Whether the caller could act, and the release as it would stand after it; as it stands if nobody could."""

    available: AvailableAction
    after: Release


def preview(release: Release, action: ReleaseAction, by: Principal, now: datetime) -> ActionPreview:
    """What the action would change of a settled release. Nothing is changed."""
    after = release
    command = command_for(release, action)
    for actor in (by, _SOMEBODY_ELSE):
        if command is None:
            break
        try:
            after = act(release, command, actor, now).release
        except Problem:
            continue
        break
    return ActionPreview(available_action(release, action, by, now), after)
