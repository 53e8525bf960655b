"""Environments, pipelines, features on each store: who may, what is refused, what starts a release, what users get."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from msgspec import structs

from app.catalog import PhaseDraft, PipelineEdit
from app.domain.access import Principal, Role
from app.domain.evaluation import evaluate_feature
from app.domain.features import FeatureKind, FeatureSpec
from app.domain.pipelines import Pipeline, ReleaseRule
from app.domain.problems import (
    AlreadyExists,
    NotFound,
    PermissionDenied,
    PipelineInUse,
    Problem,
    ReleaseInProgress,
    ValidationFailed,
)
from app.domain.releases import Release, ReleaseAction, ReleaseStatus
from app.domain.targeting import Json
from app.services import Services
from app.store.repositories import ReleaseFilter
from tests.conftest import WHERE_REAL, Clock
from tests.domain.builders import (
    ADMIN,
    APPROVER,
    EVERY_ROLE,
    HOUR,
    MINUTE,
    OFF,
    ON,
    OPERATOR,
    SECOND,
    SUBMITTER,
    event_names,
    member_of,
    phase,
    review,
    rule,
    spec,
    statuses,
)
from tests.scene import (
    OPTED_OUT,
    act,
    drafts,
    make_environments,
    make_feature,
    make_pipeline,
    start_release,
    stored,
)

pytestmark = WHERE_REAL

GATE = FeatureKind.FEATURE_GATE


async def change(
    services: Services,
    to: FeatureSpec = ON,
    *,
    key: str = "checkout",
    description: str | None = None,
    idempotency_key: str | None = None,
    by: Principal = OPERATOR,
) -> Release:
    """The release that a change of the feature starts."""
    _, release = await services.catalog.update_feature(key, to, description, idempotency_key, by)
    return release


def in_development(value: bool) -> FeatureSpec:
    """A spec that gives a value of its own in development alone."""
    return spec(False, rule(value, environments=(OPTED_OUT,)))


def paths(refusal: pytest.ExceptionInfo[ValidationFailed]) -> list[str]:
    """Where the input is wrong."""
    return [".".join(field.path) for field in refusal.value.fields]


async def releases_of(services: Services, key: str = "checkout") -> list[Release]:
    """The feature's releases in the order of their numbers."""
    page = await services.releases.page(ReleaseFilter(feature_key=key), 1_000, None)
    assert not page.has_next
    return sorted(page.values, key=lambda release: release.number)


# --- who may ----------------------------------------------------------------------------------------------------------

CALLS: list[tuple[Role, Callable[[Services, Pipeline, Principal], Awaitable[object]]]] = [
    (Role.ADMIN, lambda s, p, by: s.catalog.save_environment("qa", True, by)),
    (Role.OPERATOR, lambda s, p, by: s.catalog.create_pipeline("New", None, drafts(phase("a")), by)),
    (Role.OPERATOR, lambda s, p, by: s.catalog.update_pipeline(p.id, PipelineEdit("Edited"), by)),
    (Role.OPERATOR, lambda s, p, by: s.catalog.duplicate_pipeline(p.id, "Copy", by)),
    (Role.OPERATOR, lambda s, p, by: s.catalog.create_feature("new", GATE, None, OFF, None, by)),
    (Role.OPERATOR, lambda s, p, by: s.catalog.update_feature("checkout", ON, None, None, by)),
    (Role.OPERATOR, lambda s, p, by: s.catalog.attach_pipeline("checkout", p.id, by)),
    (Role.OPERATOR, lambda s, p, by: s.catalog.delete_pipeline(p.id, by)),
]


async def test_each_call_asks_for_its_role(services: Services) -> None:
    """A role that does not include the one needed is refused, told which, and changes nothing; the role itself may."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"))
    feature = await make_feature(services)

    for needed, call in CALLS:
        for role, caller in EVERY_ROLE.items():
            if not role.includes(needed):
                with pytest.raises(PermissionDenied) as refusal:
                    await call(services, pipeline, caller)
                assert refusal.value.required_role is needed
    assert (await services.pipelines.page(10, None)).values == [pipeline]
    assert (await services.features.page(10, None)).values == [feature]
    assert await releases_of(services) == []
    assert len(await services.environments.all()) == 3

    for needed, call in CALLS:
        await call(services, pipeline, EVERY_ROLE[needed])


# --- environments -----------------------------------------------------------------------------------------------------


async def test_an_environment_is_created_once_and_can_change_its_mind(services: Services, clock: Clock) -> None:
    """Saving the same again writes nothing, the answer can change, and the order stays that of creation."""
    first = await services.catalog.save_environment("staging", True, ADMIN)
    clock.advance(SECOND)
    second = await services.catalog.save_environment("development", False, ADMIN)
    clock.advance(SECOND)

    again = await services.catalog.save_environment("staging", True, ADMIN)
    changed = await services.catalog.save_environment("staging", False, ADMIN)

    assert again == first
    assert changed == structs.replace(first, pipeline_required=False, revision=2)
    assert await services.environments.all() == [changed, second]


async def test_a_wrong_environment_name_is_refused(services: Services) -> None:
    """The refusal names the field."""
    for name in ("", "Production", "a b", "-a", "a" * 64, "ünter"):
        with pytest.raises(ValidationFailed) as refusal:
            await services.catalog.save_environment(name, True, ADMIN)
        assert paths(refusal) == ["name"]
    assert await services.environments.all() == []


async def test_environments_saved_by_many_at_once_are_each_there_once(services: Services, neighbour: Services) -> None:
    """Thirty who save three environments, with either answer, in two processes: nobody fails."""
    await asyncio.gather(
        *(
            process.catalog.save_environment(name, n % 2 == 0, ADMIN)
            for n in range(5)
            for name in ("one", "two", "three")
            for process in (services, neighbour)
        )
    )

    assert sorted(each.name for each in await services.environments.all()) == ["one", "three", "two"]


# --- pipelines --------------------------------------------------------------------------------------------------------


async def test_a_pipeline_is_created_with_its_phases(services: Services) -> None:
    """What comes back is what is on record, each phase with an id of its own."""
    await make_environments(services)

    pipeline = await services.catalog.create_pipeline("Careful", "why", drafts(phase("a"), review("b", 2)), OPERATOR)

    assert await services.pipelines.get(pipeline.id) == pipeline
    assert [each.name for each in pipeline.phases] == ["a", "b"]
    assert [each.required_approvals for each in pipeline.phases] == [0, 2]
    assert len({each.id for each in pipeline.phases}) == 2
    assert (pipeline.description, pipeline.revision) == ("why", 1)


WRONG_PIPELINE = (
    PhaseDraft("", ()),
    PhaseDraft("b", (ReleaseRule(()), ReleaseRule(("mars",))), -SECOND, 21),
    PhaseDraft("B", (ReleaseRule(("staging",)),), timedelta(days=91)),
)
WRONG_PIPELINE_PATHS = [
    "name",
    "phases.0.name",
    "phases.0.rules",
    "phases.1.rules.0.environments",
    "phases.1.rules.1.environments.0",
    "phases.1.bakeTime",
    "phases.1.requiredApprovals",
    "phases.2.bakeTime",
    "phases.2.name",
]


async def test_a_wrong_pipeline_is_refused_with_every_wrong_field(services: Services) -> None:
    """Created, or edited into that shape, the answer lists each field with its path, and nothing is written."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"))

    with pytest.raises(ValidationFailed) as created:
        await services.catalog.create_pipeline(" ", None, WRONG_PIPELINE, OPERATOR)
    with pytest.raises(ValidationFailed) as edited:
        await services.catalog.update_pipeline(pipeline.id, PipelineEdit(" ", phases=WRONG_PIPELINE), OPERATOR)
    with pytest.raises(ValidationFailed) as emptied:
        await services.catalog.update_pipeline(pipeline.id, PipelineEdit(phases=()), OPERATOR)
    with pytest.raises(ValidationFailed) as copied:
        await services.catalog.duplicate_pipeline(pipeline.id, "", OPERATOR)

    assert paths(created) == WRONG_PIPELINE_PATHS
    assert paths(edited) == WRONG_PIPELINE_PATHS
    assert paths(emptied) == ["phases"]
    assert paths(copied) == ["name"]
    assert (await services.pipelines.page(10, None)).values == [pipeline]


async def test_pipeline_names_differ_letter_case_aside(services: Services) -> None:
    """Created, renamed or duplicated: a name that another pipeline has, in whatever case, is taken."""
    await make_environments(services)
    careful = await make_pipeline(services, phase("a"), name="Careful")
    other = await make_pipeline(services, phase("a"), name="Other")

    for ask in (
        services.catalog.create_pipeline("CAREFUL", None, drafts(phase("a")), OPERATOR),
        services.catalog.update_pipeline(other.id, PipelineEdit("careful"), OPERATOR),
        services.catalog.duplicate_pipeline(careful.id, "careFul", OPERATOR),
    ):
        with pytest.raises(AlreadyExists):
            await ask
    assert (await services.pipelines.page(10, None)).values == [careful, other]

    renamed = await services.catalog.update_pipeline(careful.id, PipelineEdit("CAREFUL"), OPERATOR)
    assert renamed.name == "CAREFUL"


async def test_of_twenty_pipelines_of_one_name_one_is_created(services: Services, neighbour: Services) -> None:
    """At the same moment in two processes; the others hear that it exists."""
    await make_environments(services)

    found = await asyncio.gather(
        *(
            process.catalog.create_pipeline("Careful", None, drafts(phase("a")), OPERATOR)
            for _ in range(10)
            for process in (services, neighbour)
        ),
        return_exceptions=True,
    )

    assert [type(each) for each in found].count(AlreadyExists) == 19
    assert [type(each) for each in found].count(Pipeline) == 1


async def test_an_edit_changes_what_it_names(services: Services) -> None:
    """None leaves a part as it is, a phase keeps its id while it keeps its name, a description can be taken away."""
    await make_environments(services)
    before = await services.catalog.create_pipeline("Careful", "why", drafts(phase("a"), phase("b")), OPERATOR)

    renamed = await services.catalog.update_pipeline(before.id, PipelineEdit("Bold"), OPERATOR)
    cleared = await services.catalog.update_pipeline(before.id, PipelineEdit(clear_description=True), OPERATOR)
    turned = await services.catalog.update_pipeline(
        before.id, PipelineEdit(phases=drafts(phase("b", MINUTE), phase("c"))), OPERATOR
    )

    assert renamed == structs.replace(before, name="Bold", revision=2)
    assert cleared == structs.replace(renamed, description=None, revision=3)
    assert [each.name for each in turned.phases] == ["b", "c"]
    assert turned.phases[0].id == before.phases[1].id
    assert turned.phases[0].bake_time == MINUTE
    assert turned.phases[1].id not in {each.id for each in before.phases}
    assert await services.pipelines.get(before.id) == turned


async def test_edits_at_once_are_all_kept(services: Services, neighbour: Services) -> None:
    """One changes the name, one the description, one the phases: none undoes another."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"))
    edits = PipelineEdit("Bold"), PipelineEdit(description="why"), PipelineEdit(phases=drafts(phase("z")))

    await asyncio.gather(
        *(
            process.catalog.update_pipeline(pipeline.id, edit, OPERATOR)
            for edit in edits
            for process in (services, neighbour)
        )
    )

    found = await services.pipelines.get(pipeline.id)
    assert found is not None
    assert (found.name, found.description, [each.name for each in found.phases]) == ("Bold", "why", ["z"])
    assert found.revision == 7


async def test_a_copy_is_a_pipeline_of_its_own(services: Services) -> None:
    """It has the same phases under ids of their own, and editing it leaves the first alone."""
    await make_environments(services)
    first = await make_pipeline(services, phase("a"), review("b"))

    copy = await services.catalog.duplicate_pipeline(first.id, "Copy", OPERATOR)
    await services.catalog.update_pipeline(copy.id, PipelineEdit(phases=drafts(phase("z"))), OPERATOR)

    assert [structs.replace(each, id="") for each in copy.phases] == [
        structs.replace(each, id="") for each in first.phases
    ]
    assert not {each.id for each in copy.phases} & {each.id for each in first.phases}
    assert await services.pipelines.get(first.id) == first


@pytest.mark.parametrize("paused", [False, True])
async def test_a_pipeline_in_use_is_neither_edited_nor_deleted(services: Services, paused: bool) -> None:
    """The refusal names the releases; a duplicate may be made; once the release is over, edits are welcome again."""
    release = await start_release(services, phase("a"))
    assert release.pipeline_id is not None
    if paused:
        release = (await act(services, release, ReleaseAction.PAUSE)).release

    for ask in (
        services.catalog.update_pipeline(release.pipeline_id, PipelineEdit("Bold"), ADMIN),
        services.catalog.delete_pipeline(release.pipeline_id, ADMIN),
    ):
        with pytest.raises(PipelineInUse) as refusal:
            await ask
        assert refusal.value.releases == [release]
        assert release.title in refusal.value.message
    await services.catalog.duplicate_pipeline(release.pipeline_id, "The way on", OPERATOR)

    await act(services, release, ReleaseAction.ABORT)
    await services.catalog.update_pipeline(release.pipeline_id, PipelineEdit("Bold"), OPERATOR)
    await services.catalog.delete_pipeline(release.pipeline_id, OPERATOR)
    assert await services.pipelines.get(release.pipeline_id) is None


async def test_a_release_keeps_its_copy_of_the_pipeline(services: Services) -> None:
    """An edit after the end changes no record of what was."""
    release = await start_release(services, phase("a"))
    ended = (await act(services, release, ReleaseAction.ABORT)).release
    assert ended.pipeline_id is not None

    await services.catalog.update_pipeline(ended.pipeline_id, PipelineEdit("Bold", phases=drafts(phase("z"))), OPERATOR)

    assert await stored(services, release) == ended
    assert [each.name for each in ended.phases] == ["a"]
    assert ended.pipeline_name == "Pipeline of checkout"


async def test_a_deleted_pipeline_blocks_the_next_change(services: Services) -> None:
    """Its features do not silently lose their care: attach another, or detach on purpose."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"))
    await make_feature(services, pipeline)
    await services.catalog.delete_pipeline(pipeline.id, OPERATOR)

    with pytest.raises(ValidationFailed) as refusal:
        await change(services)
    assert "has been deleted" in refusal.value.message
    assert await releases_of(services) == []

    await services.catalog.attach_pipeline("checkout", None, OPERATOR)
    assert (await change(services)).status is ReleaseStatus.COMPLETED


async def test_an_unknown_pipeline_is_not_found(services: Services) -> None:
    """Whatever is asked of it; the answer names the id, and nothing is written."""
    await make_environments(services)
    feature = await make_feature(services)

    for asked in (
        services.catalog.update_pipeline("pip_x", PipelineEdit("New"), OPERATOR),
        services.catalog.duplicate_pipeline("pip_x", "New", OPERATOR),
        services.catalog.delete_pipeline("pip_x", OPERATOR),
        services.catalog.create_feature("new", GATE, None, OFF, "pip_x", OPERATOR),
        services.catalog.attach_pipeline("checkout", "pip_x", OPERATOR),
    ):
        with pytest.raises(NotFound) as refusal:
            await asked
        assert refusal.value.id == "pip_x"

    assert (await services.features.page(10, None)).values == [feature]
    assert (await services.pipelines.page(10, None)).values == []


async def test_an_unknown_feature_is_not_found(services: Services) -> None:
    """The answer names the key."""
    for asked in (
        services.catalog.attach_pipeline("unknown", None, OPERATOR),
        services.catalog.update_feature("unknown", ON, None, None, OPERATOR),
    ):
        with pytest.raises(NotFound) as refusal:
            await asked
        assert refusal.value.id == "unknown"


# --- features ---------------------------------------------------------------------------------------------------------


async def test_a_new_feature_gives_its_spec_at_once(services: Services) -> None:
    """There is no release yet: what it was created with is in force everywhere."""
    await make_environments(services)
    await make_feature(services, spec=ON)

    assert await services.releases.latest_of("checkout") is None
    assert await given(services) == {"production": True, "development": True}


async def test_a_key_is_taken_once(services: Services, neighbour: Services) -> None:
    """Of twenty who create it at the same moment in two processes one does; kinds share the keys."""
    await make_environments(services)

    found = await asyncio.gather(
        *(
            process.catalog.create_feature("checkout", kind, None, spec(default), None, OPERATOR)
            for kind, default in ((GATE, False), (FeatureKind.DYNAMIC_CONFIG, {})) * 5
            for process in (services, neighbour)
        ),
        return_exceptions=True,
    )

    assert [type(each) for each in found].count(AlreadyExists) == 19
    assert [each for each in found if not isinstance(each, Problem)] == [await services.features.by_key("checkout")]


async def test_the_value_of_a_gate_is_true_or_false(services: Services) -> None:
    """Nothing else fits, neither created nor changed."""
    await make_environments(services)
    await make_feature(services)

    for value in (1, None, "true", {}, []):
        with pytest.raises(ValidationFailed) as created:
            await services.catalog.create_feature("new", GATE, None, spec(value), None, OPERATOR)
        with pytest.raises(ValidationFailed) as changed:
            await change(services, spec(value))
        assert paths(created) == ["spec.defaultValue"]
        assert paths(changed) == ["spec.defaultValue"]


async def test_a_wrong_feature_is_refused_with_every_wrong_field(services: Services) -> None:
    """Key, description and each part of the spec, with its path."""
    await make_environments(services)
    wrong = spec(0, rule(1, percentage=101, environments=("mars",), name=" "), rule(True, name="r"), rule(name="R"))

    with pytest.raises(ValidationFailed) as refusal:
        await services.catalog.create_feature("no key", GATE, "x" * 2_001, wrong, None, OPERATOR)

    assert paths(refusal) == [
        "key",
        "description",
        "spec.rules.0.name",
        "spec.rules.0.environments.0",
        "spec.rules.0.passPercentage",
        "spec.rules.0.value",
        "spec.rules.2.name",
        "spec.defaultValue",
    ]
    assert (await services.features.page(10, None)).values == []


async def test_a_wrong_change_is_refused_with_every_wrong_field(services: Services) -> None:
    """Idempotency key, description and spec; there is no release then."""
    await make_environments(services)
    await make_feature(services)

    for key in ("", "x" * 201):
        with pytest.raises(ValidationFailed) as refusal:
            await change(services, spec(0), description="x" * 2_001, idempotency_key=key)
        assert paths(refusal) == ["idempotencyKey", "description", "spec.defaultValue"]
    assert await releases_of(services) == []


async def test_a_spec_too_large_is_refused(services: Services) -> None:
    """A quarter of a megabyte is the most, since a release keeps two of them."""
    await make_environments(services)

    with pytest.raises(ValidationFailed) as refusal:
        await services.catalog.create_feature(
            "big", FeatureKind.DYNAMIC_CONFIG, None, spec({"a": "x" * 300_000}), None, OPERATOR
        )

    assert paths(refusal) == ["spec"]


async def test_a_pipeline_is_attached_and_detached(services: Services) -> None:
    """The next change goes the way that is attached then."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"))
    await make_feature(services)

    attached = await services.catalog.attach_pipeline("checkout", pipeline.id, OPERATOR)
    through = await change(services)
    await act(services, through, ReleaseAction.ABORT)
    detached = await services.catalog.attach_pipeline("checkout", None, OPERATOR)
    direct = await change(services)

    assert (attached.pipeline_id, detached.pipeline_id) == (pipeline.id, None)
    assert (through.pipeline_id, direct.pipeline_id) == (pipeline.id, None)
    assert await services.features.by_key("checkout") == detached


async def test_nothing_is_attached_while_a_release_is_under_way(services: Services, clock: Clock) -> None:
    """Neither another pipeline nor none; when the last bake is due, it ends first and the way is free."""
    release = await start_release(services, phase("a"))

    for pipeline_id in (release.pipeline_id, None):
        with pytest.raises(ReleaseInProgress) as refusal:
            await services.catalog.attach_pipeline("checkout", pipeline_id, OPERATOR)
        assert refusal.value.release == release

    clock.advance(HOUR)
    assert (await services.catalog.attach_pipeline("checkout", None, OPERATOR)).pipeline_id is None
    assert (await stored(services, release)).status is ReleaseStatus.COMPLETED


# --- changes that need no pipeline ------------------------------------------------------------------------------------


async def test_a_change_without_a_pipeline_is_completed_by_its_first_write(services: Services) -> None:
    """It is a release with no phases, on record like any other, and in force everywhere at once."""
    await make_environments(services)
    await make_feature(services)

    feature, release = await services.catalog.update_feature("checkout", ON, "why", "k", SUBMITTER)

    assert release == await stored(services, release)
    assert (release.status, release.phases, release.number, release.revision) == (ReleaseStatus.COMPLETED, (), 1, 1)
    assert (release.change.before, release.change.after) == (OFF, ON)
    assert (release.started_by, release.description) == (SUBMITTER.actor, "why")
    assert event_names(release.history) == ["RELEASE_STARTED", "RELEASE_COMPLETED"]
    assert feature == await services.features.by_key("checkout")
    assert await given(services) == {"production": True, "development": True}


async def test_only_opted_out_environments_need_no_pipeline(services: Services) -> None:
    """What production gets decides: a change that reaches development alone is direct, pipeline or not."""
    await make_environments(services)
    await make_feature(services, await make_pipeline(services, phase("a")))

    direct = await change(services, in_development(True))
    assert (direct.status, direct.pipeline_id) == (ReleaseStatus.COMPLETED, None)
    assert await given(services) == {"production": False, "development": True}

    through = await change(services, ON)
    assert through.status is ReleaseStatus.IN_PROGRESS
    assert through.number == 2
    assert through.change.before == in_development(True)


async def test_an_environment_that_changes_its_mind_changes_the_way(services: Services) -> None:
    """Once development requires a pipeline, the same change goes through it."""
    await make_environments(services)
    await make_feature(services, await make_pipeline(services, phase("a")))
    await services.catalog.save_environment(OPTED_OUT, True, ADMIN)

    assert (await change(services, in_development(True))).status is ReleaseStatus.IN_PROGRESS


async def test_the_same_spec_is_no_change(services: Services) -> None:
    """There is nothing to release; after an abort the spec before is in force, and the other may be tried again."""
    await make_environments(services)
    await make_feature(services)
    with pytest.raises(ValidationFailed) as refusal:
        await change(services, OFF)
    assert paths(refusal) == ["spec"]

    await change(services, ON)
    with pytest.raises(ValidationFailed):
        await change(services, ON)
    await change(services, OFF)
    assert [each.number for each in await releases_of(services)] == [1, 2]


async def test_direct_changes_at_once_are_told_apart_and_in_line(services: Services, neighbour: Services) -> None:
    """Forty in two processes: numbers 1 to 40 without a gap, and each begins with what the one before ended with."""
    await make_environments(services)
    await make_feature(services)
    specs = [spec(False, rule(True, name=f"rule {n}")) for n in range(40)]

    found = await asyncio.gather(*(change((services, neighbour)[n % 2], each) for n, each in enumerate(specs)))

    releases = await releases_of(services)
    assert sorted(found, key=lambda release: release.number) == releases
    assert [each.number for each in releases] == list(range(1, 41))
    assert releases[0].change.before == OFF
    assert all(next.change.before == one.change.after for one, next in pairwise(releases))
    assert {each.change.after.rules[0].name for each in releases} == {each.rules[0].name for each in specs}


# --- one at a time ----------------------------------------------------------------------------------------------------


async def test_of_a_hundred_changes_at_once_one_starts(services: Services, neighbour: Services) -> None:
    """In two processes; each of the other ninety-nine hears which release is under way."""
    await make_environments(services)
    await make_feature(services, await make_pipeline(services, phase("a")))
    specs = [spec(False, rule(True, name=f"rule {n}")) for n in range(100)]

    found = await asyncio.gather(
        *(change((services, neighbour)[n % 2], each) for n, each in enumerate(specs)), return_exceptions=True
    )

    (release,) = await releases_of(services)
    assert [each for each in found if isinstance(each, Release)] == [release]
    refused = [each for each in found if not isinstance(each, Release)]
    assert [type(each) for each in refused] == [ReleaseInProgress] * 99
    assert all(each.release == release for each in refused if isinstance(each, ReleaseInProgress))


@pytest.mark.parametrize("attached", [True, False])
async def test_fifty_sendings_with_one_key_start_one_release(
    services: Services, neighbour: Services, attached: bool
) -> None:
    """Through a pipeline or at once, in two processes: every sender gets the one release that there is."""
    await make_environments(services)
    await make_feature(services, await make_pipeline(services, phase("a")) if attached else None)

    found = await asyncio.gather(
        *(change(process, idempotency_key="k") for _ in range(25) for process in (services, neighbour))
    )

    assert found == await releases_of(services) * 50


async def test_a_key_still_answers_when_the_release_has_moved_on(services: Services) -> None:
    """Sent again later, a change is the release that it started, as that now stands, and starts nothing."""
    await make_environments(services)
    await make_feature(services, await make_pipeline(services, phase("a")))
    first = await change(services, idempotency_key="k")
    aborted = (await act(services, first, ReleaseAction.ABORT)).release
    second = await change(services, idempotency_key="another")

    assert await change(services, idempotency_key="k") == aborted
    assert await releases_of(services) == [aborted, second]


async def test_a_key_cannot_be_used_for_another_change(services: Services) -> None:
    """Neither for another spec nor by somebody else; for another feature it is another key."""
    await make_environments(services)
    await make_feature(services)
    await make_feature(services, key="other")
    await change(services, idempotency_key="k")

    for to, by in ((in_development(True), OPERATOR), (ON, ADMIN)):
        with pytest.raises(ValidationFailed) as refusal:
            await change(services, to, idempotency_key="k", by=by)
        assert paths(refusal) == ["idempotencyKey"]

    assert (await change(services, key="other", idempotency_key="k")).feature_key == "other"
    assert len(await releases_of(services)) == 1


@pytest.mark.parametrize("action", [ReleaseAction.PAUSE, None])
async def test_a_release_under_way_takes_no_second_change(services: Services, action: ReleaseAction | None) -> None:
    """Not even one that needs no pipeline, and not while it is paused; other features are free."""
    release = await start_release(services, phase("a"))
    if action is not None:
        release = (await act(services, release, action)).release

    for to in (OFF, ON, in_development(True)):
        with pytest.raises(ReleaseInProgress) as refusal:
            await change(services, to)
        assert refusal.value.release == release

    await make_feature(services, key="other")
    await change(services, key="other")


async def test_a_release_that_waits_for_review_takes_no_second_change(services: Services, clock: Clock) -> None:
    """However long it waits."""
    release = await start_release(services, review("a"))
    clock.advance(1000 * HOUR)

    with pytest.raises(ReleaseInProgress):
        await change(services, in_development(True))
    assert await stored(services, release) == release


async def test_a_due_last_bake_makes_way_for_the_next_change(services: Services, clock: Clock) -> None:
    """Without any worker, the release that is over by the clock is ended first, then the next one starts."""
    first = await start_release(services, phase("a"))
    clock.advance(HOUR)

    second = await change(services, OFF)

    assert (await stored(services, first)).status is ReleaseStatus.COMPLETED
    assert second.number == 2
    assert second.change.before == ON
    assert second.status is ReleaseStatus.IN_PROGRESS


async def test_a_due_bake_that_is_not_the_last_makes_no_way(services: Services, clock: Clock) -> None:
    """The refusal carries the release on its next phase."""
    first = await start_release(services, phase("a"), phase("b"))
    clock.advance(HOUR)

    with pytest.raises(ReleaseInProgress) as refusal:
        await change(services, OFF)

    assert statuses(refusal.value.release) == ["COMPLETED", "IN_PROGRESS"]
    assert refusal.value.release == await stored(services, first)


# --- what users get ---------------------------------------------------------------------------------------------------


async def given(services: Services, group: str = "nobody", key: str = "checkout") -> dict[str, Json]:
    """What a member of a group gets, by environment."""
    feature = await services.features.by_key(key)
    assert feature is not None
    latest = await services.releases.latest_of(key)
    return {
        name: evaluate_feature(feature, latest, name, member_of(group)).value for name in ("production", "development")
    }


async def exposed(services: Services) -> list[str]:
    """The groups that get the spec after in production."""
    return [group for group in ("a", "b", "nobody") if (await given(services, group))["production"]]


async def test_exposure_follows_the_release(services: Services, clock: Clock) -> None:
    """It grows by phases, neither pause nor waiting for review changes it, and completing it reaches everyone."""
    release = await start_release(services, phase("a"), review("b"))
    assert await exposed(services) == ["a"]

    await act(services, release, ReleaseAction.PAUSE)
    assert await exposed(services) == ["a"]

    waiting = (await act(services, release, ReleaseAction.SKIP)).release
    assert waiting.status is ReleaseStatus.WAITING_FOR_REVIEW
    assert await exposed(services) == ["a"]

    await act(services, waiting, ReleaseAction.APPROVE, APPROVER)
    assert await exposed(services) == ["a", "b"]

    clock.advance(HOUR)
    assert await exposed(services) == ["a", "b"]
    await services.engine.settle_due()
    assert await exposed(services) == ["a", "b", "nobody"]


async def test_abort_gives_everyone_the_spec_before(services: Services) -> None:
    """At once and exactly as it was: that of the release before, not that of creation."""
    await make_environments(services)
    await make_feature(services)
    before = in_development(True)
    await change(services, before)
    pipeline = await make_pipeline(services, phase("a"), phase("b"))
    await services.catalog.attach_pipeline("checkout", pipeline.id, OPERATOR)
    release = await change(services, ON)
    assert await given(services, "a") == {"production": True, "development": True}
    assert await given(services, "nobody") == {"production": False, "development": True}

    await act(services, release, ReleaseAction.ABORT)

    assert await given(services, "a") == {"production": False, "development": True}
    again = await change(services, ON)
    assert again.change.before == before


async def test_a_full_roll_out_reaches_everyone_at_once(services: Services) -> None:
    """From the first phase to all."""
    release = await start_release(services, phase("a"), phase("b"))

    await act(services, release, ReleaseAction.FULL_ROLL_OUT)

    assert await exposed(services) == ["a", "b", "nobody"]
