"""Who gets the new spec of a release now, environment by environment, as data and in words."""

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from app.domain.evaluation import released_rules
from app.domain.features import touched_environments
from app.domain.pipelines import ReleaseRule
from app.domain.releases import Release, ReleasePhase, ReleaseStatus
from app.domain.wording import rules_in_words


class Share(Enum):
    """How many of an environment's contexts get the new spec."""

    NOBODY = "NOBODY"
    SOME = "SOME"
    EVERYONE = "EVERYONE"


class EnvironmentExposure(Struct, frozen=True):
    """Who gets the new spec in one environment: those whom one of `rules` admits, by the released `phases`.

    `changes` says whether the new spec gives anybody there another value.
    """

    environment: str
    share: Share
    changes: bool
    phases: tuple[ReleasePhase, ...]
    rules: tuple[ReleaseRule, ...]
    text: str


class Exposure(Struct, frozen=True):
    """Who gets the new spec of a release."""

    text: str
    environments: tuple[EnvironmentExposure, ...]


def exposure(release: Release, environments: Sequence[str], next_number: int | None = None) -> Exposure:
    """Who gets the new spec, in those environments and in any other that the release names.

    Of a release that is over it is what its end left; `next_number` is that of the feature's next release, which has
    decided since.
    """
    named = {name for phase in release.phases for rule in phase.rules for name in rule.environments}
    known = [*environments, *sorted(named.difference(environments))]
    touched = set(touched_environments(release.change.before, release.change.after, known))
    exposed = tuple(_in_environment(release, name, name in touched) for name in known)
    text = _in_words(release, exposed)
    if next_number is not None:
        text = f"{text} That was so until release #{next_number}, which has decided since."
    return Exposure(text, exposed)


def _in_environment(release: Release, environment: str, changes: bool) -> EnvironmentExposure:
    if release.is_over:
        share = Share.EVERYONE if release.status is ReleaseStatus.COMPLETED else Share.NOBODY
        phases: tuple[ReleasePhase, ...] = ()
        rules: tuple[ReleaseRule, ...] = ()
    else:
        phases = tuple(phase for phase in release.phases if released_rules(phase, environment))
        rules = tuple(rule for phase in phases for rule in released_rules(phase, environment))
        is_open = any(not rule.conditions for rule in rules)
        share = Share.EVERYONE if is_open else Share.SOME if rules else Share.NOBODY
    return EnvironmentExposure(environment, share, changes, phases, rules, _who(environment, share, rules, changes))


def _who(environment: str, share: Share, rules: tuple[ReleaseRule, ...], changes: bool) -> str:
    who = {Share.NOBODY: "nobody", Share.EVERYONE: "everyone"}.get(share) or rules_in_words(rules)
    return f"{environment}: {who}" + ("" if changes else " (where it makes no difference)")


def _in_words(release: Release, exposed: tuple[EnvironmentExposure, ...]) -> str:
    if release.is_over:
        return (
            "Everyone gets the new spec."
            if release.status is ReleaseStatus.COMPLETED
            else "Everyone gets the spec from before."
        )
    reached = [each.text for each in exposed if each.share is not Share.NOBODY]
    if not reached:
        return "Nobody gets the new spec yet."
    return f"The new spec goes to {'; '.join(reached)}. Everyone else gets the spec from before."
