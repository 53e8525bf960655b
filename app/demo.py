"""The demo: what `slipway dev --demo` loads, through the same calls as a user's input."""

from datetime import timedelta

from app.catalog import Catalog, PhaseDraft
from app.domain.access import Principal
from app.domain.features import FeatureKind, FeatureSpec, TargetingRule
from app.domain.pipelines import ReleaseRule
from app.domain.problems import AlreadyExists
from app.domain.releases import Release
from app.domain.targeting import Condition, ConditionOperator

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


async def load_demo(catalog: Catalog, by: Principal) -> list[Release]:
    """Environments, a pipeline, a gate and a config, and a release of each; nothing if they are there already."""
    for name, pipeline_required in _ENVIRONMENTS.items():
        await catalog.save_environment(name, pipeline_required, by)
    try:
        pipeline = await catalog.create_pipeline(
            "Progressive production",
            "Staging first, then production region by region; the first region asks for review.",
            _PHASES,
            by,
        )
        await catalog.create_feature(
            "new-checkout", FeatureKind.FEATURE_GATE, "The one-page checkout", _GATE, pipeline.id, by
        )
        await catalog.create_feature(
            "search-tuning", FeatureKind.DYNAMIC_CONFIG, "How product search behaves", _CONFIG, pipeline.id, by
        )
    except AlreadyExists:
        return []
    changes = (
        ("new-checkout", _GATE_AFTER, "Open the one-page checkout to beta testers and a quarter of everyone"),
        ("search-tuning", _CONFIG_AFTER, "Move search to the v2 engine"),
    )
    return [(await catalog.update_feature(key, spec, why, None, by))[1] for key, spec, why in changes]
