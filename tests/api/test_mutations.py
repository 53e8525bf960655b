"""What can be changed: every mutation, every member of its union, and every field that can be wrong."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from graphql import get_named_type

from app.domain.access import Principal, Role
from app.domain.channels import Channel, ChannelKind
from app.domain.deliveries import new_delivery
from app.domain.notifications import Notice, NotificationType
from app.domain.targeting import ConditionOperator
from app.notify.channels import ChannelEdit
from tests.api.serving import SCHEMA, Api
from tests.conftest import Clock
from tests.domain.builders import ADMIN, APPROVER, SECOND_APPROVER, VIEWER, phase, review
from tests.scene import make_environments, make_feature, make_pipeline, start_release, stored

ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

GATE_OFF: dict[str, Any] = {"defaultValue": False}
GATE_ON: dict[str, Any] = {"defaultValue": True}
PRODUCTION = [{"environments": ["production"]}]


# --- every member of every union --------------------------------------------------------------------------------------


class World:
    """Something for every mutation to act on, and to be refused by."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.idle = self.used = self.release = self.phase = self.later = self.waiting = self.waiting_phase = ""
        self.token = self.sdk_key = self.channel = self.mail = self.delivery = self.notification = ""

    async def make(self) -> None:
        """An idle pipeline; one with a release under way; and a release that waits for review."""
        services = self.api.services
        release = await start_release(services, phase("a"), review("b"))
        waiting = await start_release(services, review("a"), key="waiting")
        self.idle = (await make_pipeline(services, phase("a"), name="Idle")).id
        await make_feature(services, None, "plain")
        self.used, self.release = release.pipeline_id or "", release.id
        self.phase, self.later = (each.id for each in release.phases)
        self.waiting, self.waiting_phase = waiting.id, waiting.phases[0].id
        self.token = (await services.tokens.create("Somebody", Role.VIEWER, None, ADMIN))[0].id
        self.sdk_key = (await services.sdk_keys.create("Shop", "production", None, ADMIN))[0].id
        await self.make_channels()

    async def make_channels(self) -> None:
        """A webhook that nobody listens at, a channel of Apprise, a delivery, and a notification for reviewers."""
        services, now = self.api.services, self.api.services.clock.now()
        target = "http://127.0.0.1:9/hook"
        made, _ = await services.channels.create(ChannelKind.WEBHOOK, "Hook", target, ChannelEdit(), ADMIN)
        # Put down as it would be: to have Apprise look at its target would take this test most of its time.
        mail = Channel("cha_mail", "Mail", ChannelKind.APPRISE, "E-Mail (mailto://…)", ADMIN.actor, now)
        await services.channel_list.add(mail)
        await services.teller.tell()
        await services.deliveries.add(
            new_delivery("dlv_1", made.id, self.waiting, "waiting", Notice(NotificationType.BAKE_ENDED, 1, now), now)
        )
        (notification, *_) = (await services.notifications.page(("reviewers",), 5, None)).values
        self.channel, self.mail, self.delivery, self.notification = made.id, mail.id, "dlv_1", notification.id


def _pipeline(name: str, **more: object) -> dict[str, object]:
    return {"input": {"name": name, "phases": [{"name": "a", "rules": PRODUCTION}]} | more}


def _feature(key: str, **more: object) -> dict[str, object]:
    return {"input": {"key": key, "kind": "FEATURE_GATE", "spec": GATE_OFF} | more}


def _update(key: str, **more: object) -> dict[str, object]:
    return {"input": {"key": key, "spec": GATE_ON} | more}


def _attach(key: str, pipeline: str | None) -> dict[str, object]:
    return {"input": {"featureKey": key, "pipelineId": pipeline}}


def _key(name: str, environment: str = "production") -> dict[str, object]:
    return {"input": {"name": name, "environment": environment}}


def _channel(name: str, target: str = "https://hooks.example/x") -> dict[str, object]:
    return {"input": {"name": name, "kind": "WEBHOOK", "target": target}}


def _on_phase(release: str, phase: str, **more: object) -> dict[str, object]:
    return {"input": {"releaseId": release, "phaseId": phase} | more}


def _on_release(release: str, **more: object) -> dict[str, object]:
    return {"input": {"releaseId": release} | more}


TOO_LONG = {"reason": "x" * 2001}
BYPASS = {"bypassReview": True, "reason": "urgent"}

# In the order that they are sent: mutation, who asks, arguments, the member of the union that answers.
Arguments = Callable[[World], dict[str, object]]
STEPS: list[tuple[str, Principal, Arguments, str]] = [
    ("saveEnvironment", ADMIN, lambda w: {"input": {"name": "canary"}}, "EnvironmentPayload"),
    ("saveEnvironment", VIEWER, lambda w: {"input": {"name": "canary"}}, "PermissionDenied"),
    ("saveEnvironment", ADMIN, lambda w: {"input": {"name": "No Spaces"}}, "ValidationFailed"),
    ("createPipeline", ADMIN, lambda w: _pipeline("New"), "PipelinePayload"),
    ("createPipeline", VIEWER, lambda w: _pipeline("New"), "PermissionDenied"),
    ("createPipeline", ADMIN, lambda w: _pipeline(""), "ValidationFailed"),
    ("createPipeline", ADMIN, lambda w: _pipeline("idle"), "AlreadyExists"),
    ("updatePipeline", ADMIN, lambda w: {"input": {"id": w.idle, "description": "x"}}, "PipelinePayload"),
    ("updatePipeline", VIEWER, lambda w: {"input": {"id": w.idle}}, "PermissionDenied"),
    ("updatePipeline", ADMIN, lambda w: {"input": {"id": w.idle, "phases": []}}, "ValidationFailed"),
    ("updatePipeline", ADMIN, lambda w: {"input": {"id": w.idle, "name": "New"}}, "AlreadyExists"),
    ("updatePipeline", ADMIN, lambda w: {"input": {"id": "pip_0", "name": "New"}}, "NotFound"),
    ("updatePipeline", ADMIN, lambda w: {"input": {"id": w.used, "name": "Other"}}, "PipelineInUse"),
    ("duplicatePipeline", ADMIN, lambda w: {"id": w.used, "name": "Copy"}, "PipelinePayload"),
    ("duplicatePipeline", VIEWER, lambda w: {"id": w.used, "name": "Copy 2"}, "PermissionDenied"),
    ("duplicatePipeline", ADMIN, lambda w: {"id": w.used, "name": " "}, "ValidationFailed"),
    ("duplicatePipeline", ADMIN, lambda w: {"id": w.used, "name": "COPY"}, "AlreadyExists"),
    ("duplicatePipeline", ADMIN, lambda w: {"id": "pip_0", "name": "Copy 2"}, "NotFound"),
    ("createFeature", ADMIN, lambda w: _feature("new", pipelineId=w.idle), "FeaturePayload"),
    ("createFeature", VIEWER, lambda w: _feature("newer"), "PermissionDenied"),
    ("createFeature", ADMIN, lambda w: _feature("not valid"), "ValidationFailed"),
    ("createFeature", ADMIN, lambda w: _feature("new"), "AlreadyExists"),
    ("createFeature", ADMIN, lambda w: _feature("newer", pipelineId="pip_0"), "NotFound"),
    ("attachPipeline", ADMIN, lambda w: _attach("new", None), "FeaturePayload"),
    ("attachPipeline", VIEWER, lambda w: _attach("new", w.idle), "PermissionDenied"),
    ("attachPipeline", ADMIN, lambda w: _attach("nope", w.idle), "NotFound"),
    ("attachPipeline", ADMIN, lambda w: _attach("checkout", w.idle), "ReleaseInProgress"),
    ("deletePipeline", ADMIN, lambda w: {"id": w.used}, "PipelineInUse"),
    ("deletePipeline", VIEWER, lambda w: {"id": w.idle}, "PermissionDenied"),
    ("deletePipeline", ADMIN, lambda w: {"id": w.idle}, "DeletePipelinePayload"),
    ("deletePipeline", ADMIN, lambda w: {"id": w.idle}, "NotFound"),
    ("updateFeature", ADMIN, lambda w: _update("plain"), "UpdateFeaturePayload"),
    ("updateFeature", VIEWER, lambda w: _update("plain"), "PermissionDenied"),
    ("updateFeature", ADMIN, lambda w: _update("plain", spec={"defaultValue": 1}), "ValidationFailed"),
    ("updateFeature", ADMIN, lambda w: _update("nope"), "NotFound"),
    ("updateFeature", ADMIN, lambda w: _update("checkout"), "ReleaseInProgress"),
    # The release runs through phase a, and phase b asks for review.
    ("pauseRelease", ADMIN, lambda w: _on_phase(w.release, w.phase), "ReleaseActionPayload"),
    ("pauseRelease", VIEWER, lambda w: _on_phase(w.release, w.phase), "PermissionDenied"),
    ("pauseRelease", ADMIN, lambda w: _on_phase(w.release, w.phase, **TOO_LONG), "ValidationFailed"),
    ("pauseRelease", ADMIN, lambda w: _on_phase("rel_0", w.phase), "NotFound"),
    ("pauseRelease", ADMIN, lambda w: _on_phase(w.release, w.later), "StalePhase"),
    ("pauseRelease", ADMIN, lambda w: _on_phase(w.release, w.phase), "InvalidTransition"),
    ("unpauseRelease", VIEWER, lambda w: _on_phase(w.release, w.phase), "PermissionDenied"),
    ("unpauseRelease", ADMIN, lambda w: _on_phase(w.release, w.phase, **TOO_LONG), "ValidationFailed"),
    ("unpauseRelease", ADMIN, lambda w: _on_phase(w.release, "pha_0"), "NotFound"),
    ("unpauseRelease", ADMIN, lambda w: _on_phase(w.release, w.later), "StalePhase"),
    ("unpauseRelease", ADMIN, lambda w: _on_phase(w.release, w.phase), "ReleaseActionPayload"),
    ("unpauseRelease", ADMIN, lambda w: _on_phase(w.release, w.phase), "InvalidTransition"),
    ("approvePhase", ADMIN, lambda w: _on_phase(w.release, w.phase), "InvalidTransition"),
    ("approvePhase", VIEWER, lambda w: _on_phase(w.release, w.phase), "PermissionDenied"),
    ("approvePhase", ADMIN, lambda w: _on_phase(w.release, w.phase, **TOO_LONG), "ValidationFailed"),
    ("approvePhase", ADMIN, lambda w: _on_phase("rel_0", w.phase), "NotFound"),
    ("approvePhase", ADMIN, lambda w: _on_phase(w.release, w.later), "StalePhase"),
    ("approvePhase", APPROVER, lambda w: _on_phase(w.waiting, w.waiting_phase), "ReleaseActionPayload"),
    ("skipPhase", VIEWER, lambda w: _on_phase(w.release, w.phase), "PermissionDenied"),
    ("skipPhase", ADMIN, lambda w: _on_phase(w.release, w.phase, idempotencyKey=""), "ValidationFailed"),
    ("skipPhase", ADMIN, lambda w: _on_phase("rel_0", w.phase), "NotFound"),
    ("skipPhase", ADMIN, lambda w: _on_phase(w.release, w.phase), "ReleaseActionPayload"),
    ("skipPhase", ADMIN, lambda w: _on_phase(w.release, w.phase), "StalePhase"),
    ("skipPhase", ADMIN, lambda w: _on_phase(w.release, w.later), "ReviewRequired"),
    ("fullRollOut", ADMIN, lambda w: _on_release(w.release), "ReviewRequired"),
    ("fullRollOut", APPROVER, lambda w: _on_release(w.release, **BYPASS), "PermissionDenied"),
    ("fullRollOut", ADMIN, lambda w: _on_release(w.release, bypassReview=True), "ValidationFailed"),
    ("fullRollOut", ADMIN, lambda w: _on_release("rel_0"), "NotFound"),
    ("fullRollOut", ADMIN, lambda w: _on_release(w.release, **BYPASS), "ReleaseActionPayload"),
    ("fullRollOut", ADMIN, lambda w: _on_release(w.release, **BYPASS), "InvalidTransition"),
    ("abortRelease", VIEWER, lambda w: _on_release(w.waiting), "PermissionDenied"),
    ("abortRelease", ADMIN, lambda w: _on_release("rel_0"), "NotFound"),
    ("abortRelease", ADMIN, lambda w: _on_release(w.waiting), "ReleaseActionPayload"),
    ("abortRelease", ADMIN, lambda w: _on_release(w.release), "InvalidTransition"),
    ("createToken", ADMIN, lambda w: {"input": {"name": "New", "role": "VIEWER"}}, "CreateTokenPayload"),
    ("createToken", APPROVER, lambda w: {"input": {"name": "New", "role": "VIEWER"}}, "PermissionDenied"),
    ("createToken", ADMIN, lambda w: {"input": {"name": "", "role": "VIEWER"}}, "ValidationFailed"),
    ("revokeToken", APPROVER, lambda w: {"id": w.token}, "PermissionDenied"),
    ("revokeToken", ADMIN, lambda w: {"id": w.token}, "RevokeTokenPayload"),
    ("revokeToken", ADMIN, lambda w: {"id": "tok_0"}, "NotFound"),
    ("createSdkKey", ADMIN, lambda w: _key("New"), "CreateSdkKeyPayload"),
    ("createSdkKey", APPROVER, lambda w: _key("New"), "PermissionDenied"),
    ("createSdkKey", ADMIN, lambda w: _key("New", "mars"), "ValidationFailed"),
    ("revokeSdkKey", APPROVER, lambda w: {"id": w.sdk_key}, "PermissionDenied"),
    ("revokeSdkKey", ADMIN, lambda w: {"id": w.sdk_key}, "RevokeSdkKeyPayload"),
    ("revokeSdkKey", ADMIN, lambda w: {"id": "sdk_0"}, "NotFound"),
    ("createChannel", ADMIN, lambda w: _channel("Ops"), "CreateChannelPayload"),
    ("createChannel", ADMIN, lambda w: _channel("OPS"), "AlreadyExists"),
    ("createChannel", ADMIN, lambda w: _channel("Bad", "ftp://x"), "ValidationFailed"),
    ("createChannel", APPROVER, lambda w: _channel("Mine"), "PermissionDenied"),
    ("updateChannel", ADMIN, lambda w: {"input": {"id": w.channel, "features": ["x-*"]}}, "ChannelPayload"),
    ("updateChannel", ADMIN, lambda w: {"input": {"id": w.channel, "name": "ops"}}, "AlreadyExists"),
    ("updateChannel", ADMIN, lambda w: {"input": {"id": w.channel, "name": ""}}, "ValidationFailed"),
    ("updateChannel", ADMIN, lambda w: {"input": {"id": "cha_0"}}, "NotFound"),
    ("updateChannel", APPROVER, lambda w: {"input": {"id": w.channel}}, "PermissionDenied"),
    ("rotateChannelSecret", ADMIN, lambda w: {"id": w.channel}, "RotateChannelSecretPayload"),
    ("rotateChannelSecret", ADMIN, lambda w: {"id": w.mail}, "ValidationFailed"),
    ("rotateChannelSecret", ADMIN, lambda w: {"id": "cha_0"}, "NotFound"),
    ("rotateChannelSecret", APPROVER, lambda w: {"id": w.channel}, "PermissionDenied"),
    ("testChannel", ADMIN, lambda w: {"id": w.channel}, "TestChannelPayload"),
    ("testChannel", ADMIN, lambda w: {"id": "cha_0"}, "NotFound"),
    ("testChannel", APPROVER, lambda w: {"id": w.channel}, "PermissionDenied"),
    ("resendDelivery", ADMIN, lambda w: {"id": w.delivery}, "ResendDeliveryPayload"),
    ("resendDelivery", ADMIN, lambda w: {"id": "dlv_0"}, "NotFound"),
    ("resendDelivery", APPROVER, lambda w: {"id": w.delivery}, "PermissionDenied"),
    ("deleteChannel", APPROVER, lambda w: {"id": w.channel}, "PermissionDenied"),
    ("deleteChannel", ADMIN, lambda w: {"id": w.channel}, "DeleteChannelPayload"),
    ("deleteChannel", ADMIN, lambda w: {"id": w.channel}, "NotFound"),
    ("markNotificationRead", APPROVER, lambda w: {"id": w.notification}, "MarkNotificationReadPayload"),
    ("markNotificationRead", VIEWER, lambda w: {"id": w.notification}, "NotFound"),
]

# One union answers all actions, so it has members that some of them never give.
NEVER = {
    *((action, "ReviewRequired") for action in ("approvePhase", "pauseRelease", "unpauseRelease", "abortRelease")),
    *((action, "StalePhase") for action in ("abortRelease", "fullRollOut")),
    ("abortRelease", "ValidationFailed"),  # nothing ever blocks it
    ("skipPhase", "InvalidTransition"),
}


@ON_SQLITE
async def test_every_member_of_every_union_answers(api: Api, become: Callable[[Principal], None]) -> None:
    """Each mutation gives its payload and each problem that it can meet; a problem says what is wrong in a sentence."""
    world = World(api)
    await world.make()

    for mutation, by, arguments, member in STEPS:
        become(by)
        answer = await api.mutate(mutation, **arguments(world))
        assert answer["__typename"] == member, (mutation, answer)
        assert answer.get("message", "A sentence.").endswith("."), answer


def test_no_member_of_a_union_is_left_out() -> None:
    """The steps above reach every pair of mutation and member that the schema has."""
    assert SCHEMA.mutation_type is not None
    declared = {
        (mutation, member.name)
        for mutation, field in SCHEMA.mutation_type.fields.items()
        for member in get_named_type(field.type).types
    }

    assert declared - {(mutation, member) for mutation, _, _, member in STEPS} == NEVER


# --- what is wrong, field by field ------------------------------------------------------------------------------------


async def wrong_fields(api: Api, mutation: str, **arguments: object) -> set[str]:
    """The paths of the fields that a mutation refuses, dotted; each says what to do."""
    answer = await api.mutate(mutation, **arguments)
    assert answer["__typename"] == "ValidationFailed", answer
    assert all(field["message"].endswith(".") for field in answer["fields"])
    return {".".join(field["path"]) for field in answer["fields"]}


@ON_SQLITE
async def test_every_wrong_field_of_a_pipeline_is_listed_at_once(api: Api) -> None:
    """Names, times, approvals, environments, conditions: all that is wrong, each with the path that leads to it."""
    await make_environments(api.services)
    good = {"name": "good", "rules": PRODUCTION}
    wrong = {
        "name": "",
        "description": "x" * 2001,
        "phases": [
            {"name": " ", "rules": [], "bakeTime": "-PT1S", "requiredApprovals": -1},
            {"name": "x" * 2000, "rules": [{"environments": []}], "bakeTime": "P91D", "requiredApprovals": 21},
            {"name": "tab\t", "rules": PRODUCTION * 51},
            good,
            good | {"name": "GOOD"},
            {
                "name": "rules",
                "rules": [
                    {"environments": ["production", "mars", "production"]},
                    {
                        "environments": ["production"],
                        "conditions": [
                            {"attribute": "", "operator": "EQUALS", "values": [1, 2]},
                            {"attribute": "x", "operator": "LESS_THAN", "values": ["1"]},
                        ],
                    },
                ],
            },
        ],
    }

    assert await wrong_fields(api, "createPipeline", input=wrong) == {
        *("name", "description"),
        *("phases.0.name", "phases.0.rules", "phases.0.bakeTime", "phases.0.requiredApprovals"),
        *("phases.1.name", "phases.1.rules.0.environments", "phases.1.bakeTime", "phases.1.requiredApprovals"),
        *("phases.2.name", "phases.2.rules", "phases.4.name"),
        *("phases.5.rules.0.environments.1", "phases.5.rules.0.environments.2"),
        *("phases.5.rules.1.conditions.0.attribute", "phases.5.rules.1.conditions.0.values"),
        "phases.5.rules.1.conditions.1.values.0",
    }
    assert await wrong_fields(api, "createPipeline", input={"name": "x", "phases": []}) == {"phases"}
    assert await wrong_fields(api, "createPipeline", input={"name": "x", "phases": [good] * 51}) == {"phases"}
    assert (await api.ask("{ pipelines { edges { cursor } } }"))["pipelines"]["edges"] == []

    made = await api.mutate("createPipeline", input={"name": "x", "phases": [good]})
    edit = {"id": made["pipeline"]["id"], "name": "", "phases": [good, good], "description": "x" * 2001}
    assert await wrong_fields(api, "updatePipeline", input=edit) == {"name", "phases.1.name", "description"}
    assert await wrong_fields(api, "duplicatePipeline", id=edit["id"], name="x" * 101) == {"name"}


@ON_SQLITE
async def test_every_wrong_field_of_a_spec_is_listed_at_once(api: Api) -> None:
    """Keys, percentages, environments, values that do not fit the kind, names given twice: each with its path."""
    await make_environments(api.services)
    await make_feature(api.services)
    rules = [
        {"name": "", "value": True, "passPercentage": -0.01},
        {"name": "a", "value": 1, "passPercentage": 100.01},
        {"name": "A", "value": "true", "passPercentage": 33.333, "environments": ["mars"]},
        {"name": "b", "value": {}, "conditions": [{"attribute": "x", "operator": "EXISTS", "values": [True]}]},
    ]
    paths = {
        *("spec.rules.0.name", "spec.rules.0.passPercentage", "spec.rules.1.value", "spec.rules.1.passPercentage"),
        *("spec.rules.2.name", "spec.rules.2.value", "spec.rules.2.passPercentage", "spec.rules.2.environments.0"),
        *("spec.rules.3.value", "spec.rules.3.conditions.0.values", "spec.defaultValue"),
    }
    spec = {"rules": rules, "defaultValue": "no"}

    feature = {"key": "-", "kind": "FEATURE_GATE", "description": "x" * 2001, "spec": spec, "pipelineId": "pip_0"}
    assert await wrong_fields(api, "createFeature", input=feature) == {"key", "description", *paths}
    change = {"key": "checkout", "spec": spec, "description": "x" * 2001, "idempotencyKey": "x" * 201}
    assert await wrong_fields(api, "updateFeature", input=change) == {"description", "idempotencyKey", *paths}
    same = {"key": "checkout", "spec": GATE_OFF}
    assert await wrong_fields(api, "updateFeature", input=same) == {"spec"}
    many = {"key": "checkout", "spec": {"rules": [{"name": f"{n}", "value": True} for n in range(201)], **GATE_ON}}
    assert await wrong_fields(api, "updateFeature", input=many) == {"spec.rules"}

    assert (await api.services.releases.latest_of("checkout")) is None


@ON_SQLITE
async def test_a_configs_value_is_an_object_of_json_that_can_be_kept(api: Api) -> None:
    """No bare value, no number wider than 64 bits or beyond all bounds, no bottomless nesting, nothing huge."""
    deep: object = 1
    for _ in range(60):
        deep = [deep]

    async def refused(value: object, kind: str = "DYNAMIC_CONFIG") -> set[str]:
        feature = {"key": "limits", "kind": kind, "spec": {"defaultValue": value}}
        return await wrong_fields(api, "createFeature", input=feature)

    for value in (True, 1, "text", [], [{}]):
        assert await refused(value) == {"spec.defaultValue"}
    for value in ({}, 1, "true", [True]):
        assert await refused(value, "FEATURE_GATE") == {"spec.defaultValue"}
    assert await refused({"a": {"b.c": [1, 2**63]}}) == {"spec.defaultValue.a.b.c.1"}
    assert await refused({"a": -(2**63) - 1, "b": 10**400}) == {"spec.defaultValue.a", "spec.defaultValue.b"}
    assert {path[:20] for path in await refused({"a": deep})} == {"spec.defaultValue.a."}
    assert await refused({"a": "x" * 300_000}) == {"spec"}

    literal = """mutation { createFeature(input: {key: "limits", kind: DYNAMIC_CONFIG, spec: {defaultValue: %s}}) {
        ... on ValidationFailed { fields { path } }
    } }"""
    for number in ("1e999", "9" * 400, "9" * 5000):
        answer = await api.ask(literal % f"{{a: {number}}}")
        assert answer["createFeature"] == {"fields": [{"path": ["spec", "defaultValue", "a"]}]}, number[:10]


ONE, SOME = "values", "values.0"
UNFIT: dict[ConditionOperator, list[tuple[list[object], str]]] = {
    operator: [([], ONE), ([{}], SOME), ([["a"]], SOME), *more]
    for operators, more in (
        (("ANY_OF", "NONE_OF"), [(["x" * 1001], SOME), ([1] * 1001, ONE), (["a", 1, True, []], "values.3")]),
        (("ANY_OF_IGNORE_CASE", "NONE_OF_IGNORE_CASE"), [([1], SOME), ([""], SOME), (["a", True], "values.1")]),
        (("CONTAINS", "STARTS_WITH", "ENDS_WITH"), [([1], SOME), ([""], SOME), (["x" * 1001], SOME)]),
        (("EQUALS", "NOT_EQUALS"), [([1, 2], ONE), (["x" * 1001], SOME)]),
        (("LESS_THAN", "LESS_THAN_OR_EQUAL"), [(["1"], SOME), ([True], SOME), ([1, 2], ONE)]),
        (("GREATER_THAN", "GREATER_THAN_OR_EQUAL"), [(["1"], SOME), ([True], SOME), ([1, 2], ONE)]),
        (("VERSION_EQUALS", "VERSION_LESS_THAN", "VERSION_GREATER_THAN"), [(["one"], SOME), ([1.2], SOME)]),
        (("BEFORE", "AFTER"), [(["yesterday"], SOME), ([True], SOME), ([1e300], SOME)]),
    )
    for operator in map(ConditionOperator, operators)
}
UNFIT |= {operator: [([True], ONE)] for operator in (ConditionOperator.EXISTS, ConditionOperator.NOT_EXISTS)}


@ON_SQLITE
async def test_values_that_do_not_fit_the_operator_are_refused(api: Api) -> None:
    """For every operator: too few, too many, and those of a wrong type, each with its path."""
    assert set(UNFIT) == set(ConditionOperator)
    cases = [(operator, *case) for operator, found in UNFIT.items() for case in found]
    conditions = [{"attribute": "x", "operator": operator.value, "values": values} for operator, values, _ in cases]
    rules = [
        {"name": str(start), "value": True, "conditions": conditions[start : start + 50]}
        for start in range(0, len(conditions), 50)
    ]

    feature = {"key": "x", "kind": "FEATURE_GATE", "spec": {"rules": rules, "defaultValue": False}}
    assert await wrong_fields(api, "createFeature", input=feature) == {
        f"spec.rules.{index // 50}.conditions.{index % 50}.{path}" for index, (_, _, path) in enumerate(cases)
    }


@ON_SQLITE
async def test_names_may_be_in_any_script_but_not_invisible(api: Api) -> None:
    """Emoji and accents are names; NUL, line ends, bidi marks and spaces around are not."""
    await make_environments(api.services)
    for name in ("Zürich 🚀", "发布", "a" * 100):
        answer = await api.mutate("createPipeline", **_pipeline(name))
        assert answer["pipeline"]["name"] == name
    for name in ("a\0", "a\nb", "\u202eabc", " a", "a ", "a" * 101):
        assert await wrong_fields(api, "createPipeline", **_pipeline(name)) == {"name"}
    for key in ("", "é", "a b", "a/b", "$a", "a\0", "🚀", "a" * 101):
        assert await wrong_fields(api, "createFeature", **_feature(key)) == {"key"}
    for name in ("", "Production", "a b", "a\n", "-a", "a" * 64):
        assert await wrong_fields(api, "saveEnvironment", input={"name": name}) == {"name"}


@ON_SQLITE
async def test_a_bake_time_is_an_iso_8601_duration(api: Api) -> None:
    """Any exact one of at most 90 days, kept to the millisecond; absurd ones, and months, are refused."""
    await make_environments(api.services)

    def pipeline(duration: object) -> dict[str, Any]:
        return {"name": f"p {duration}"[:100], "phases": [{"name": "a", "rules": PRODUCTION, "bakeTime": duration}]}

    for given, kept in {
        "PT0.5S": "PT0.5S",
        "PT90M": "PT1H30M",
        "P1W": "P7D",
        "P90D": "P90D",
        "PT36H": "P1DT12H",
        "PT0.0004S": "PT0S",
        "P0D": "PT0S",
        "PT1,5S": "PT1.5S",
    }.items():
        answer = await api.mutate("createPipeline", input=pipeline(given))
        assert answer["pipeline"]["phases"][0]["bakeTime"] == kept, answer
    for absurd in ("-PT1S", "P90DT0.001S", "P999999999D", f"P{'9' * 30}D", f"PT{'9' * 5000}S"):
        assert await wrong_fields(api, "createPipeline", input=pipeline(absurd)) == {"phases.0.bakeTime"}, absurd[:20]
    for unclear in ("P1M", "P1Y", "P1Y2M3D", "PT", "P", "P1DT", "", "1h", "PT1H30", "3600", "x" * 2000, "PT1S\0"):
        error = await api.error(
            "mutation($input: CreatePipelineInput!) { createPipeline(input: $input) { __typename } }",
            input=pipeline(unclear),
        )
        assert "phases[0].bakeTime" in error["message"], error
        assert "such as PT1H30M" in error["message"]
        assert error["extensions"] == {"code": "BAD_REQUEST"}
    for other in (3600, None, True, ["PT1H"]):
        error = await api.error(
            "mutation($input: CreatePipelineInput!) { createPipeline(input: $input) { __typename } }",
            input=pipeline(other),
        )
        assert "bakeTime" in error["message"]


# --- environments, pipelines, features --------------------------------------------------------------------------------


@ON_SQLITE
async def test_saving_an_environment_again_changes_it(api: Api) -> None:
    """A new environment requires a pipeline unless it says otherwise; the same name again sets what it says."""
    assert (await api.mutate("saveEnvironment", input={"name": "qa"}))["environment"]["pipelineRequired"] is True
    opted_out = {"name": "qa", "pipelineRequired": False}
    assert (await api.mutate("saveEnvironment", input=opted_out))["environment"] == opted_out
    assert (await api.ask("{ environments { name pipelineRequired } }"))["environments"] == [opted_out]


async def test_a_pipeline_from_its_creation_to_its_deletion(api: Api) -> None:
    """What an edit leaves out stays, null takes the description away, a phase keeps its id while it keeps its name."""
    await make_environments(api.services)
    phases = [
        {"name": "a", "rules": PRODUCTION, "bakeTime": "PT1H"},
        {"name": "b", "rules": PRODUCTION, "requiredApprovals": 2, "preventSelfApproval": True},
    ]
    made = await api.mutate("createPipeline", input={"name": "First", "description": "Careful.", "phases": phases})
    pipeline = made["pipeline"]
    ids = {each["name"]: each["id"] for each in pipeline["phases"]}
    assert pipeline["phases"][1] == {
        "id": ids["b"],
        "name": "b",
        "bakeTime": "PT0S",
        "requiredApprovals": 2,
        "preventSelfApproval": True,
    }

    async def edited(**edit: object) -> dict[str, Any]:
        answer = await api.mutate("updatePipeline", input={"id": pipeline["id"]} | edit)
        return dict(answer["pipeline"])

    assert await edited() == pipeline
    assert await edited(name="Second") == pipeline | {"name": "Second"}
    assert await edited(name=None, phases=None) == pipeline | {"name": "Second"}
    assert await edited(description="New.") == pipeline | {"name": "Second", "description": "New."}
    assert await edited(description=None) == pipeline | {"name": "Second", "description": None}
    changed = await edited(phases=[phases[1], {"name": "c", "rules": PRODUCTION}])
    assert changed["phases"][0]["id"] == ids["b"]
    assert changed["phases"][1]["id"] not in ids.values()

    copy = (await api.mutate("duplicatePipeline", id=pipeline["id"], name="Third"))["pipeline"]
    assert copy["id"] != pipeline["id"]
    assert [each | {"id": ""} for each in copy["phases"]] == [each | {"id": ""} for each in changed["phases"]]
    assert not {each["id"] for each in copy["phases"]} & {each["id"] for each in changed["phases"]}

    assert (await api.mutate("deletePipeline", id=copy["id"]))["id"] == copy["id"]
    assert (await api.ask("query($id: ID!) { pipeline(id: $id) { id } }", id=copy["id"]))["pipeline"] is None


@ON_SQLITE
async def test_a_pipeline_in_use_names_what_uses_it(api: Api) -> None:
    """Neither edited nor deleted while a release goes through it; both are allowed when that is over."""
    release = await start_release(api.services, phase("a"))
    edit = {"id": release.pipeline_id, "name": "Other"}

    for answer in (
        await api.mutate("updatePipeline", input=edit),
        await api.mutate("deletePipeline", id=release.pipeline_id),
    ):
        assert answer["releases"] == [{"id": release.id}]
    await api.mutate("abortRelease", **_on_release(release.id))
    assert (await api.mutate("updatePipeline", input=edit))["pipeline"]["name"] == "Other"
    assert (await api.mutate("deletePipeline", id=release.pipeline_id))["id"] == release.pipeline_id


async def test_a_change_without_a_pipeline_or_of_an_opted_out_environment_is_done_at_once(api: Api) -> None:
    """Either is a release of no phases that is completed already; a change that touches production is not."""
    await make_environments(api.services)
    made = await api.mutate("createPipeline", **_pipeline("Careful"))
    await api.mutate("createFeature", **_feature("checkout"))

    answer = await api.mutate("updateFeature", **_update("checkout", description="Turn it on."))
    first = answer["release"]
    assert (first["number"], first["status"], first["phases"]) == (1, "COMPLETED", [])
    assert (first["pipelineId"], first["description"]) == (None, "Turn it on.")

    attached = await api.mutate("attachPipeline", **_attach("checkout", made["pipeline"]["id"]))
    assert attached["feature"]["pipeline"]["id"] == made["pipeline"]["id"]
    opted_out = {"rules": [{"name": "dev", "environments": ["development"], "value": False}], "defaultValue": True}
    answer = await api.mutate("updateFeature", **_update("checkout", spec=opted_out))
    assert (answer["release"]["number"], answer["release"]["status"]) == (2, "COMPLETED")

    slow = {"id": made["pipeline"]["id"], "phases": [{"name": "a", "rules": PRODUCTION, "bakeTime": "PT1H"}]}
    await api.mutate("updatePipeline", input=slow)
    answer = await api.mutate("updateFeature", **_update("checkout", spec=GATE_OFF))
    assert (answer["release"]["number"], answer["release"]["status"]) == (3, "IN_PROGRESS")
    assert answer["release"]["pipelineName"] == "Careful"

    refused = await api.mutate("updateFeature", **_update("checkout"))
    assert refused["release"]["id"] == answer["release"]["id"]
    await api.mutate("abortRelease", **_on_release(refused["release"]["id"]))
    assert (await api.mutate("attachPipeline", **_attach("checkout", None)))["feature"]["pipeline"] is None


# --- the six actions --------------------------------------------------------------------------------------------------


def shown(answer: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    """What an action answered: the release's status, those of its phases, and the events that it caused."""
    assert answer["__typename"] == "ReleaseActionPayload", answer
    release = answer["release"]
    phases = [each["status"] for each in release["phases"]]
    return release["status"], phases, [event["type"] for event in answer["events"]]


async def test_a_release_is_steered_through_all_six_actions(
    api: Api, clock: Clock, become: Callable[[Principal], None]
) -> None:
    """Approve (twice), pause, unpause, skip, full roll out, abort: each as semantics.md has it."""
    release = await start_release(api.services, review("a", approvals=2), phase("b"), phase("c"))
    a, b, _ = (each.id for each in release.phases)
    rest = ["NOT_RELEASED", "NOT_RELEASED"]

    become(APPROVER)
    answer = await api.mutate("approvePhase", **_on_phase(release.id, a, reason="fine"))
    assert shown(answer) == ("WAITING_FOR_REVIEW", ["WAITING_FOR_REVIEW", *rest], ["PHASE_APPROVED"])
    assert answer["events"][0]["reason"] == "fine"
    assert (await api.mutate("approvePhase", **_on_phase(release.id, a)))["__typename"] == "InvalidTransition"
    become(SECOND_APPROVER)
    answer = await api.mutate("approvePhase", **_on_phase(release.id, a))
    assert shown(answer) == ("IN_PROGRESS", ["IN_PROGRESS", *rest], ["PHASE_APPROVED", "PHASE_RELEASED"])

    become(ADMIN)
    clock.advance(timedelta(minutes=20))
    answer = await api.mutate("pauseRelease", **_on_phase(release.id, a))
    assert shown(answer) == ("PAUSED", ["PAUSED", *rest], ["BAKE_PAUSED"])
    assert answer["release"]["phases"][0]["bakeRemaining"] == "PT40M"
    clock.advance(timedelta(hours=9))
    answer = await api.mutate("unpauseRelease", **_on_phase(release.id, a))
    assert shown(answer) == ("IN_PROGRESS", ["IN_PROGRESS", *rest], ["BAKE_UNPAUSED"])

    answer = await api.mutate("skipPhase", **_on_phase(release.id, a))
    assert shown(answer) == ("IN_PROGRESS", ["SKIPPED", "IN_PROGRESS", rest[1]], ["PHASE_SKIPPED", "PHASE_RELEASED"])
    clock.advance(timedelta(hours=1))  # the bake of b is over: that is settled first
    answer = await api.mutate("skipPhase", **_on_phase(release.id, b))
    assert answer["__typename"] == "StalePhase"
    assert [each["status"] for each in answer["release"]["phases"]] == ["SKIPPED", "COMPLETED", "IN_PROGRESS"]

    answer = await api.mutate("fullRollOut", **_on_release(release.id))
    assert shown(answer)[:2] == ("COMPLETED", ["SKIPPED", "COMPLETED", "SKIPPED"])
    assert shown(answer)[2] == ["FULLY_ROLLED_OUT", "RELEASE_COMPLETED"]

    answer = await api.mutate("updateFeature", **_update("checkout", spec=GATE_OFF))
    second = answer["release"]["id"]
    answer = await api.mutate("abortRelease", **_on_release(second, reason="not now"))
    assert shown(answer) == ("ABORTED", ["ABORTED", *rest], ["RELEASE_ABORTED"])
    feature = (await api.ask('{ feature(key: "checkout") { spec { defaultValue } activeRelease { id } } }'))["feature"]
    assert feature == {"spec": {"defaultValue": True}, "activeRelease": None}


@ON_SQLITE
async def test_a_review_is_passed_by_only_on_purpose_and_on_record(api: Api) -> None:
    """Skip and full roll out list the reviews in their way; with bypassReview and a reason they pass, and it shows."""
    release = await start_release(api.services, review("a"), phase("b"), review("c"))
    a, _, c = (each.id for each in release.phases)

    answer = await api.mutate("skipPhase", **_on_phase(release.id, a))
    assert (answer["__typename"], [each["id"] for each in answer["phases"]]) == ("ReviewRequired", [a])
    answer = await api.mutate("fullRollOut", **_on_release(release.id))
    assert (answer["__typename"], [each["id"] for each in answer["phases"]]) == ("ReviewRequired", [a, c])
    assert answer["release"]["revision"] == 1
    for reason in (None, "", " "):
        bypass = {"bypassReview": True, "reason": reason}
        assert await wrong_fields(api, "skipPhase", **_on_phase(release.id, a, **bypass)) == {"reason"}

    answer = await api.mutate("skipPhase", **_on_phase(release.id, a, **BYPASS))
    assert shown(answer)[1] == ["SKIPPED", "IN_PROGRESS", "NOT_RELEASED"]
    await api.mutate("fullRollOut", **_on_release(release.id, **BYPASS))
    query = """query($id: ID!) { release(id: $id) {
        phases { reviewBypassed approvals { at } } history { bypassedReviewOf { id } reason }
    } }"""
    told = (await api.ask(query, id=release.id))["release"]
    assert [each["reviewBypassed"] for each in told["phases"]] == [True, False, True]
    assert [each["approvals"] for each in told["phases"]] == [[], [], []]
    bypassed = [event for event in told["history"] if event["bypassedReviewOf"]]
    assert bypassed == [{"bypassedReviewOf": [{"id": id}], "reason": "urgent"} for id in (a, c)]


@ON_SQLITE
async def test_who_started_a_release_may_be_kept_from_approving_it(
    api: Api, become: Callable[[Principal], None]
) -> None:
    """preventSelfApproval refuses the submitter, whatever the role, and nobody else."""
    await make_environments(api.services)
    phases = [{"name": "a", "rules": PRODUCTION, "requiredApprovals": 1, "preventSelfApproval": True}]
    made = await api.mutate("createPipeline", input={"name": "Four eyes", "phases": phases})
    await api.mutate("createFeature", **_feature("checkout", pipelineId=made["pipeline"]["id"]))
    release = (await api.mutate("updateFeature", **_update("checkout")))["release"]
    approval = _on_phase(release["id"], release["currentPhase"]["id"])

    assert (await api.mutate("approvePhase", **approval))["__typename"] == "InvalidTransition"
    become(APPROVER)
    assert shown(await api.mutate("approvePhase", **approval))[0] == "COMPLETED"


async def test_a_refused_action_changes_nothing(api: Api) -> None:
    """After every refusal the release is what it was, its history included."""
    release = await start_release(api.services, phase("a"), review("b"))
    a, b = (each.id for each in release.phases)

    for mutation, arguments in (
        ("approvePhase", _on_phase(release.id, a)),
        ("unpauseRelease", _on_phase(release.id, a)),
        ("skipPhase", _on_phase(release.id, b)),
        ("pauseRelease", _on_phase(release.id, a, **TOO_LONG)),
        ("fullRollOut", _on_release(release.id)),
        ("pauseRelease", _on_phase(release.id, "pha_0")),
    ):
        assert "message" in await api.mutate(mutation, **arguments)
        assert await stored(api.services, release) == release


async def test_sent_twice_with_one_key_it_is_done_once(api: Api) -> None:
    """An action answers again as it did, whatever came between; the key is refused for any other action."""
    release = await start_release(api.services, phase("a"), phase("b"), phase("c"))
    a, b, _ = (each.id for each in release.phases)
    keyed = _on_phase(release.id, a, idempotencyKey="key-1")

    first = await api.mutate("skipPhase", **keyed)
    await api.mutate("pauseRelease", **_on_phase(release.id, b))
    again = await api.mutate("skipPhase", **keyed)

    assert [event["type"] for event in first["events"]] == ["PHASE_SKIPPED", "PHASE_RELEASED"]
    assert again["events"] == first["events"]
    assert again["release"]["status"] == "PAUSED"
    assert again["release"]["revision"] == first["release"]["revision"] + 1
    for mutation, arguments in (
        ("skipPhase", _on_phase(release.id, b, idempotencyKey="key-1")),
        ("pauseRelease", _on_phase(release.id, a, idempotencyKey="key-1")),
    ):
        assert await wrong_fields(api, mutation, **arguments) == {"idempotencyKey"}
    # Nothing ever blocks an abort.
    aborted = await api.mutate("abortRelease", **_on_release(release.id, idempotencyKey="key-1"))
    assert [event["type"] for event in aborted["events"]] == ["RELEASE_ABORTED"]
    assert (await api.mutate("skipPhase", **keyed))["events"] == first["events"]


async def test_a_change_sent_twice_with_one_key_starts_one_release(api: Api) -> None:
    """The same change answers with the release that it started, even when that is over; another change is refused."""
    await make_environments(api.services)
    made = await api.mutate("createPipeline", **_pipeline("Quick"))  # its bake time is zero
    await api.mutate("createFeature", **_feature("checkout", pipelineId=made["pipeline"]["id"]))

    first = await api.mutate("updateFeature", **_update("checkout", idempotencyKey="key-1"))
    again = await api.mutate("updateFeature", **_update("checkout", idempotencyKey="key-1"))
    assert first["release"]["status"] == "COMPLETED"
    assert again == first

    other = _update("checkout", spec=GATE_OFF, idempotencyKey="key-1")
    assert await wrong_fields(api, "updateFeature", **other) == {"idempotencyKey"}
    assert await wrong_fields(api, "updateFeature", **_update("checkout", idempotencyKey="")) == {"idempotencyKey"}
    assert (await api.mutate("updateFeature", **other | {"input": other["input"] | {"idempotencyKey": "key-2"}}))[
        "release"
    ]["number"] == 2


@ON_SQLITE
async def test_aborting_twice_is_aborting_once(api: Api) -> None:
    """The second abort answers with the release as it is, and no event."""
    release = await start_release(api.services, review("a"))

    first = await api.mutate("abortRelease", **_on_release(release.id))
    again = await api.mutate("abortRelease", **_on_release(release.id))

    assert shown(first)[2] == ["RELEASE_ABORTED"]
    assert again == first | {"events": []}


async def test_a_percentage_left_out_is_the_percentage_of_100(api: Api) -> None:
    """A rule without passPercentage is the same when it is sent again: by idempotency key, and as an unchanged spec."""
    await make_environments(api.services)
    await make_feature(api.services)
    spec = {"defaultValue": False, "rules": [{"name": "All", "value": True}]}
    given = {"key": "checkout", "spec": spec, "idempotencyKey": "once"}
    first = await api.mutate("updateFeature", input=given)
    again = await api.mutate("updateFeature", input=given)
    assert first == again
    assert first["__typename"] == "UpdateFeaturePayload"
    unchanged = await api.mutate("updateFeature", input={"key": "checkout", "spec": spec})
    assert [field["path"] for field in unchanged["fields"]] == [["spec"]]
