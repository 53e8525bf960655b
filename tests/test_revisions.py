"""Changes that name the revision that they were made from, on each store: one of those made from one is carried out."""

import asyncio
from contextlib import suppress

import pytest
from msgspec import structs

from app.catalog import PipelineEdit
from app.domain.features import Feature, FeatureSpec
from app.domain.problems import FieldProblem, ReleaseInProgress, ValidationFailed
from app.domain.releases import Release, ReleaseAction, ReleaseStatus, feature_revision
from app.services import Services
from app.store.repositories import ReleaseFilter
from tests.conftest import Clock
from tests.domain.builders import HOUR, OFF, ON, OPERATOR, SUBMITTER, phase, review, rule, spec
from tests.scene import act, make_environments, make_feature, make_pipeline, start_release, stored

SPECS = [spec(False, rule(True, name=f"rule {number}")) for number in range(40)]


async def change(services: Services, to: FeatureSpec, revision: int | None, key: str | None = None) -> Release:
    """The release that a change made from a revision starts."""
    _, release = await services.catalog.update_feature("checkout", to, None, key, OPERATOR, expected_revision=revision)
    return release


async def revision_of(services: Services) -> int:
    """The revision that the feature is at."""
    feature = await services.features.by_key("checkout")
    assert feature is not None
    return feature_revision(feature, await services.releases.latest_of("checkout"))


async def refusal(services: Services, to: FeatureSpec, revision: int) -> str:
    """What a change made from a revision is refused with, at the field that names it."""
    with pytest.raises(ValidationFailed) as refused:
        await change(services, to, revision)
    (problem,) = refused.value.fields
    assert problem.path == ("expectedRevision",)
    return problem.message


async def count_releases(services: Services) -> int:
    """How many releases there are."""
    return len((await services.releases.page(ReleaseFilter(), 100, None)).values)


def stale(what: str, since: int, now: int) -> list[FieldProblem]:
    """The one problem of a change made from an earlier revision."""
    return [
        FieldProblem(("expectedRevision",), f"The {what} has changed since revision {since}: it is at revision {now}.")
    ]


@pytest.mark.parametrize("attached", [True, False])
async def test_of_forty_changes_made_from_one_revision_one_starts(
    services: Services, neighbour: Services, attached: bool
) -> None:
    """In two processes, through a pipeline or at once: each of the others hears that the feature has changed."""
    await make_environments(services)
    await make_feature(services, await make_pipeline(services, phase("a")) if attached else None)

    found = await asyncio.gather(
        *(change((services, neighbour)[n % 2], each, 1) for n, each in enumerate(SPECS)), return_exceptions=True
    )

    (won,) = (each for each in found if isinstance(each, Release))
    assert await stored(services, won) == won
    assert await count_releases(services) == 1
    refused = [each.fields for each in found if isinstance(each, ValidationFailed)]
    assert refused == [stale("feature", 1, 2 if attached else 3)] * 39


async def test_of_forty_edits_made_from_one_revision_one_is_kept(services: Services, neighbour: Services) -> None:
    """In two processes: each of the others hears that the pipeline has changed."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"))
    edits = [PipelineEdit(name=f"Edit {number}") for number in range(40)]

    found = await asyncio.gather(
        *(
            (services, neighbour)[n % 2].catalog.update_pipeline(pipeline.id, edit, OPERATOR, expected_revision=1)
            for n, edit in enumerate(edits)
        ),
        return_exceptions=True,
    )

    won = [n for n, each in enumerate(found) if not isinstance(each, BaseException)]
    assert len(won) == 1
    kept = structs.replace(pipeline, name=f"Edit {won[0]}", revision=2)
    assert await services.pipelines.get(pipeline.id) == kept == found[won[0]]
    refused = [each.fields for each in found if isinstance(each, ValidationFailed)]
    assert refused == [stale("pipeline", 1, 2)] * 39


async def test_twenty_who_look_again_are_all_heard(services: Services, neighbour: Services) -> None:
    """Each adds a rule to the spec that they see, again when it has changed meanwhile: no rule is lost."""
    await make_environments(services)
    await make_feature(services)

    async def add(process: Services, name: str) -> None:
        for _ in names:  # whoever is too late makes way for one more
            feature = await process.features.by_key("checkout")
            assert feature is not None
            latest = await process.releases.latest_of("checkout")
            before = latest.change.after if latest else feature.created_spec
            after = structs.replace(before, rules=(*before.rules, rule(True, name=name)))
            with suppress(ValidationFailed):
                await change(process, after, feature_revision(feature, latest))
                return

    names = [f"rule {number}" for number in range(20)]
    await asyncio.gather(*(add((services, neighbour)[n % 2], name) for n, name in enumerate(names)))

    latest = await services.releases.latest_of("checkout")
    assert latest is not None
    assert {each.name for each in latest.change.after.rules} == set(names)
    assert await revision_of(services) == 1 + 2 * 20


async def test_what_counts_is_what_an_editor_has_not_seen(services: Services, clock: Clock) -> None:
    """A pipeline attached, a release's start and its end; no phase that bakes to its end, pauses or is approved."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"), review("b"), phase("c"))
    await make_feature(services)
    assert await revision_of(services) == 1
    await services.catalog.attach_pipeline("checkout", pipeline.id, OPERATOR)
    assert await revision_of(services) == 2
    assert await refusal(services, ON, 1) == "The feature has changed since revision 1: it is at revision 2."
    assert await refusal(services, ON, 9) == "The feature has no revision 9 yet: it is at revision 2."
    release = await change(services, ON, 2)
    assert await revision_of(services) == 3

    release = (await act(services, release, ReleaseAction.PAUSE)).release
    release = (await act(services, release, ReleaseAction.UNPAUSE)).release
    clock.advance(HOUR)
    release = await services.engine.settle(release)
    assert release.status is ReleaseStatus.WAITING_FOR_REVIEW
    assert await revision_of(services) == 3

    with pytest.raises(ReleaseInProgress):
        await change(services, OFF, 3)
    release = (await act(services, release, ReleaseAction.ABORT)).release
    assert await revision_of(services) == 4
    assert await refusal(services, OFF, 3) == "The feature has changed since revision 3: it is at revision 4."
    assert (await change(services, ON, 4)).number == 2


async def test_an_end_that_is_due_has_come_before_a_change(services: Services, clock: Clock) -> None:
    """Who saw the spec before the release does not overwrite what it has brought, worker or not."""
    first = await start_release(services, phase("a"))
    seen = await revision_of(services)
    clock.advance(HOUR)

    assert await refusal(services, SPECS[0], seen) == (
        f"The feature has changed since revision {seen}: it is at revision {seen + 1}."
    )
    assert (await stored(services, first)).status is ReleaseStatus.COMPLETED
    assert await count_releases(services) == 1


async def test_sent_twice_it_answers_as_the_first_time(services: Services) -> None:
    """The same idempotency key and the revision that is past by now: the release that it started, not a refusal."""
    await make_environments(services)
    await make_feature(services)

    first = await change(services, ON, 1, "key")
    assert await change(services, ON, 1, "key") == first
    assert await count_releases(services) == 1


async def test_a_change_refused_writes_nothing(services: Services) -> None:
    """Feature, release and pipeline are as they were, in use or not."""
    release = await start_release(services, phase("a"))
    feature = await services.features.by_key("checkout")
    assert isinstance(feature, Feature)
    assert release.pipeline_id is not None

    await refusal(services, OFF, 1)
    with pytest.raises(ValidationFailed) as refused:
        await services.catalog.update_pipeline(
            release.pipeline_id, PipelineEdit("Other"), SUBMITTER, expected_revision=7
        )

    assert refused.value.fields == [
        FieldProblem(("expectedRevision",), "The pipeline has no revision 7 yet: it is at revision 1.")
    ]
    assert await services.features.by_key("checkout") == feature
    assert await stored(services, release) == release
    assert await count_releases(services) == 1
