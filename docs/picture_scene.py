"""What the pictures of the status page show: a shop's releases under way, made by its people over the last days."""

from datetime import UTC, datetime, timedelta

from app.catalog import PhaseDraft
from app.domain.access import Actor, Principal, Role
from app.domain.commands import Command
from app.domain.comparing import Json
from app.domain.features import FeatureKind, FeatureSpec, TargetingRule
from app.domain.pipelines import Pipeline, ReleaseRule
from app.domain.releases import Release, ReleaseAction
from app.domain.targeting import Condition, ConditionOperator
from app.services import Services

ADA = Principal(Actor("tok_ada", "Ada Winter"), Role.ADMIN)
MEI = Principal(Actor("tok_mei", "Mei Tanaka"), Role.OPERATOR)
JONAS = Principal(Actor("tok_jonas", "Jonas Berg"), Role.OPERATOR)
GRACE = Principal(Actor("tok_grace", "Grace Obi"), Role.APPROVER)

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)


class Clock:
    """A clock that a scene moves: what it tells took days. It ends at the present."""

    def __init__(self) -> None:
        self.present = datetime.now(UTC)
        self.moment = self.present - timedelta(days=30)

    def now(self) -> datetime:
        """The moment that the scene has come to."""
        return self.moment


def _any_of(attribute: str, *values: str) -> Condition:
    return Condition(attribute, ConditionOperator.ANY_OF, values)


def _in(environment: str, *conditions: Condition) -> tuple[ReleaseRule, ...]:
    return (ReleaseRule((environment,), conditions),)


_PIPELINES = {
    "Progressive production": (
        PhaseDraft("Staging", _in("staging"), 30 * _MINUTE),
        PhaseDraft("Beta customers", _in("production", _any_of("plan", "beta", "internal")), _HOUR, 1),
        PhaseDraft("Production us-west", _in("production", _any_of("region", "us-west")), 2 * _HOUR),
        PhaseDraft("Production us-east", _in("production", _any_of("region", "us-east")), 2 * _HOUR),
        PhaseDraft("Production Europe", _in("production", _any_of("region", "eu-central", "eu-north")), 4 * _HOUR),
    ),
    "Mobile apps": (
        PhaseDraft("Staging", _in("staging"), 30 * _MINUTE),
        PhaseDraft("Android", _in("production", _any_of("platform", "android")), 24 * _HOUR),
        PhaseDraft("iOS", _in("production", _any_of("platform", "ios")), 24 * _HOUR, 2, prevent_self_approval=True),
    ),
    "Search and ranking": (
        PhaseDraft("Staging", _in("staging"), _HOUR),
        PhaseDraft("Employees", _in("production", _any_of("plan", "internal")), 8 * _HOUR),
        PhaseDraft("Half of the shops", _in("production", _any_of("shop", "nl", "de", "se")), 24 * _HOUR, 1),
        PhaseDraft("Everyone", _in("production"), 12 * _HOUR),
    ),
}

_GATE = FeatureKind.FEATURE_GATE
_CONFIG = FeatureKind.DYNAMIC_CONFIG
_FEATURES = {
    "new-checkout": (_GATE, "Progressive production"),
    "gift-cards": (_GATE, "Progressive production"),
    "image-cdn": (_CONFIG, "Progressive production"),
    "dark-mode": (_GATE, "Mobile apps"),
    "push-digest": (_GATE, "Mobile apps"),
    "search-ranking": (_CONFIG, "Search and ranking"),
    "recommendations": (_GATE, "Search and ranking"),
}
_BEFORE: dict[FeatureKind, Json] = {_GATE: False, _CONFIG: {"engine": "v1", "timeoutMs": 800}}

_QUARTER = FeatureSpec((TargetingRule("A quarter of everyone", (), (), 25, True),), False)
_BETA = TargetingRule("Beta testers", (), (_any_of("plan", "beta", "internal"),), 100, True)
_BETA_AND_HALF = FeatureSpec((_BETA, TargetingRule("Half of everyone", (), (), 50, True)), False)
_ON = FeatureSpec((), True)


class Scene:
    """The shop, and what its people do in it."""

    def __init__(self, services: Services, clock: Clock) -> None:
        self._services = services
        self._clock = clock
        self._now = clock.present

    async def _open(self, key: str, spec: FeatureSpec, why: str, by: Principal, hours: float) -> Release:
        self._clock.moment = self._now - timedelta(hours=hours)
        return (await self._services.catalog.update_feature(key, spec, why, None, by))[1]

    async def _do(
        self, release: Release, action: ReleaseAction, by: Principal, hours: float, reason: str | None = None
    ) -> None:
        """An action on it as it stands so many hours ago."""
        await self._until(hours)
        phase = (await self._services.releases.get_many([release.id]))[release.id].current_phase
        named = phase.id if phase and action not in (ReleaseAction.ABORT, ReleaseAction.FULL_ROLL_OUT) else None
        await self._services.engine.act(release.id, Command(action, named, reason), by)

    async def _until(self, hours: float) -> None:
        """Let time pass until so many hours ago: bakes end when they are due."""
        while self._clock.moment < (then := self._now - timedelta(hours=hours)):
            self._clock.moment = min(then, self._clock.moment + 6 * _MINUTE)
            await self._services.engine.settle_due()

    async def play(self) -> Release:
        """All of it. Returns the release that shows most, and leaves the clock at the present."""
        await self._found()
        await self._what_is_over()
        shown = await self._checkout()
        await self._others()
        await self._until(0)
        return shown

    async def _found(self) -> None:
        catalog, pipelines = self._services.catalog, dict[str, Pipeline]()
        for name in ("development", "staging", "production"):
            await catalog.save_environment(name, name != "development", ADA)
        for name, phases in _PIPELINES.items():
            pipelines[name] = await catalog.create_pipeline(name, None, phases, ADA)
        for key, (kind, pipeline) in _FEATURES.items():
            spec = FeatureSpec((), _BEFORE[kind])
            await catalog.create_feature(key, kind, None, spec, pipelines[pipeline].id, ADA)

    async def _what_is_over(self) -> None:
        skip, approve, roll_out = ReleaseAction.SKIP, ReleaseAction.APPROVE, ReleaseAction.FULL_ROLL_OUT
        first = await self._open("new-checkout", FeatureSpec((_BETA,), False), "Try it with beta testers", MEI, 150)
        await self._do(first, skip, MEI, 149.6, "only staging's seed data changed")
        await self._do(first, approve, GRACE, 149)
        await self._until(120)
        second = await self._open("recommendations", _ON, "Recommendations below the basket", JONAS, 54)
        await self._do(second, ReleaseAction.ABORT, GRACE, 47, "p95 of the basket page doubled")
        third = await self._open("gift-cards", _QUARTER, "Gift cards for a quarter of everyone", JONAS, 30)
        await self._do(third, approve, ADA, 29)
        await self._do(third, roll_out, ADA, 27, "the campaign starts today")

    async def _checkout(self) -> Release:
        why = "Open the one-page checkout to half of everyone, and to all beta testers"
        release = await self._open("new-checkout", _BETA_AND_HALF, why, MEI, 4.1)
        await self._do(release, ReleaseAction.APPROVE, GRACE, 3.4, "error rate is flat, conversion up 2 %")
        await self._do(release, ReleaseAction.PAUSE, JONAS, 2.9, "latency is up, looking")
        await self._do(release, ReleaseAction.UNPAUSE, JONAS, 2.6, "a noisy neighbour, not us")
        return release

    async def _others(self) -> None:
        dark = await self._open("dark-mode", _ON, "Dark mode in the apps", JONAS, 21)
        await self._do(dark, ReleaseAction.PAUSE, JONAS, 1.2, "two reports of unreadable receipts")
        digest = await self._open("push-digest", _ON, "One push a day instead of ten", MEI, 26)
        await self._do(digest, ReleaseAction.APPROVE, ADA, 0.4, "opt-outs are down by a third")
        v2: Json = {"engine": "v2", "timeoutMs": 400}
        await self._open("search-ranking", FeatureSpec((), v2), "Move ranking to the v2 engine", ADA, 10)
        await self._until(0.5)
        cards = await self._open("gift-cards", _ON, "Gift cards for everyone", JONAS, 8.5)
        await self._do(cards, ReleaseAction.APPROVE, GRACE, 7.8)
        await self._open(
            "image-cdn", FeatureSpec((), {"engine": "v2", "timeoutMs": 250}), "Images from the CDN", MEI, 0.2
        )
