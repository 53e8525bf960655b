"""The demo: what `slipway dev --demo` loads, through the same calls as a user's input."""

from contextlib import suppress
from datetime import timedelta

from app.catalog import PhaseDraft
from app.domain.access import Principal
from app.domain.features import FeatureKind, FeatureSpec, TargetingRule
from app.domain.pipelines import ReleaseRule
from app.domain.problems import Problem
from app.domain.releases import Release
from app.domain.targeting import Condition, ConditionOperator
from app.services import Services

_BAKE = timedelta(seconds=30)

_ENVIRONMENTS = {"development": False, "staging": True, "production": True}


def _region(name: str) -> tuple[ReleaseRule, ...]:
    return (ReleaseRule(("production",), (Condition("region", ConditionOperator.ANY_OF, (name,)),)),)


_PHASES = (
    PhaseDraft("Staging", (ReleaseRule(("staging",)),), _BAKE),
    PhaseDraft("Production us-west", _region("us-west"), _BAKE, required_approvals=1),
    PhaseDraft("Production us-east", _region("us-east"), _BAKE),
    PhaseDraft("Production eu-central", _region("eu-central"), _BAKE),
)

_PIPELINE = "Progressive production"
_PIPELINE_IS = "Staging first, then production region by region; the first region asks for review."

_BETA = Condition("plan", ConditionOperator.ANY_OF_IGNORE_CASE, ("beta", "internal"))

_GATE = FeatureSpec((), default_value=False)
_GATE_AFTER = FeatureSpec(
    (
        TargetingRule("Beta testers", (), (_BETA,), 100, True),
        TargetingRule("A quarter of everyone", (), (), 25, True),
    ),
    default_value=False,
)
_CONFIG = FeatureSpec((), default_value={"engine": "v1", "timeoutMs": 800, "retries": 1})
_CONFIG_AFTER = FeatureSpec(
    (TargetingRule("Development", ("development",), (), 100, {"engine": "v2", "timeoutMs": 5000, "retries": 0}),),
    default_value={"engine": "v2", "timeoutMs": 400, "retries": 2},
)
_FEATURES = (
    (
        "new-checkout",
        FeatureKind.FEATURE_GATE,
        "The one-page checkout",
        _GATE,
        _GATE_AFTER,
        "Open the one-page checkout to beta testers and a quarter of everyone",
    ),
    (
        "search-tuning",
        FeatureKind.DYNAMIC_CONFIG,
        "How product search behaves",
        _CONFIG,
        _CONFIG_AFTER,
        "Move search to the v2 engine",
    ),
)


async def load_demo(services: Services, by: Principal) -> list[Release]:
    """Environments, a pipeline, a gate and a config, and a release of each.

    What is there already stays as it is, also where an earlier load was cut off. Returns the releases that it started.
    """
    catalog = services.catalog
    for name, pipeline_required in _ENVIRONMENTS.items():
        if await services.environments.get(name) is None:
            await catalog.save_environment(name, pipeline_required, by)
    pipeline = await services.pipelines.by_name(_PIPELINE)
    if pipeline is None:
        pipeline = await catalog.create_pipeline(_PIPELINE, _PIPELINE_IS, _PHASES, by)
    started = []
    for key, kind, description, before, after, why in _FEATURES:
        if await services.features.by_key(key) is None:
            await catalog.create_feature(key, kind, description, before, pipeline.id, by)
        if await services.releases.latest_of(key) is None:
            with suppress(Problem):  # somebody's own feature of that key takes no such change
                started.append((await catalog.update_feature(key, after, why, None, by))[1])
    return started
