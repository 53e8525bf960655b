"""The one way a release changes, on each store: what is settled, refused, raced for and kept on record."""

import asyncio
import random
from collections.abc import Awaitable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from app.domain.access import SYSTEM
from app.domain.commands import Command
from app.domain.problems import (
    InvalidTransition,
    NotFound,
    PermissionDenied,
    Problem,
    ReviewRequired,
    StalePhase,
    ValidationFailed,
)
from app.domain.releases import Release, ReleaseAction, ReleaseEventType, ReleaseStatus
from app.domain.transitions import Decision
from app.services import Services, open_services
from app.settings import Settings
from tests.conftest import Clock
from tests.domain.builders import (
    ADMIN,
    APPROVER,
    HOUR,
    MINUTE,
    OPERATOR,
    SECOND,
    VIEWER,
    ZERO,
    current,
    event_names,
    on_current,
    person,
    phase,
    review,
    statuses,
)
from tests.scene import act, start_release, stored

APPROVE, PAUSE, UNPAUSE = ReleaseAction.APPROVE, ReleaseAction.PAUSE, ReleaseAction.UNPAUSE
SKIP, ABORT, FULL = ReleaseAction.SKIP, ReleaseAction.ABORT, ReleaseAction.FULL_ROLL_OUT


def assert_gapless(release: Release) -> None:
    """The history counts 1, 2, 3, ..., never goes back in time, and each event begins where the one before ended."""
    assert [event.sequence for event in release.history] == list(range(1, len(release.history) + 1))
    assert release.history[0].type is ReleaseEventType.RELEASE_STARTED
    for one, next in pairwise(release.history):
        assert next.from_status is one.to_status
        assert next.at >= one.at
    assert release.history[-1].to_status is release.status


def assert_deliberate(release: Release) -> None:
    """No review was passed without its approvals, and a release that is over has no timer and no current phase."""
    for each in release.phases:
        if each.required_approvals and each.released_at is not None:
            assert len({approval.actor.id for approval in each.approvals}) == each.required_approvals
    if release.is_over:
        assert release.timer is None
        assert release.current_phase is None


async def answers(*calls: Coroutine[Any, Any, Decision] | Awaitable[Decision]) -> list[Decision | Problem]:
    """What each of the calls, all sent at once, is answered with; anything but a decision or a refusal is a failure."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    wrong = [each for each in found if not isinstance(each, Decision | Problem)]
    assert not wrong
    return found  # type: ignore[return-value]


# --- settle, then judge -----------------------------------------------------------------------------------------------


async def test_a_due_bake_ends_before_the_action_is_judged(services: Services, clock: Clock) -> None:
    """Whoever skips a phase whose time was up already is told so, and the release has moved on by the clock alone."""
    release = await start_release(services, phase("one"), phase("two"))
    clock.advance(HOUR)

    with pytest.raises(StalePhase) as refusal:
        await act(services, release, SKIP)

    now = await stored(services, release)
    assert statuses(now) == ["COMPLETED", "IN_PROGRESS"]
    assert now.revision == release.revision + 1
    assert event_names(now.history[len(release.history) :]) == ["PHASE_COMPLETED", "PHASE_RELEASED"]
    assert {event.actor for event in now.history[len(release.history) :]} == {SYSTEM}
    assert refusal.value.release == now


async def test_what_settling_changed_is_kept_when_the_caller_may_not_act(services: Services, clock: Clock) -> None:
    """Even an action refused for the caller's role leaves the release as the clock demands."""
    release = await start_release(services, phase("one"), phase("two"))
    clock.advance(HOUR)

    with pytest.raises(PermissionDenied):
        await act(services, release, SKIP, VIEWER)

    assert current(await stored(services, release)) == "two"


async def test_an_allowed_action_works_on_the_settled_release(services: Services, clock: Clock) -> None:
    """Abort at the end of the first bake aborts the second phase: both changes are one write."""
    release = await start_release(services, phase("one"), phase("two"))
    clock.advance(HOUR)

    decision = await act(services, release, ABORT)

    assert decision.release == await stored(services, release)
    assert statuses(decision.release) == ["COMPLETED", "ABORTED"]
    assert event_names(decision.events) == ["RELEASE_ABORTED"]
    assert decision.release.revision == release.revision + 1


async def test_a_release_whose_last_bake_is_over_cannot_be_aborted(services: Services, clock: Clock) -> None:
    """Abort comes too late at the deadline itself, and the refusal carries the completed release."""
    release = await start_release(services, phase("one"))
    clock.advance(HOUR)

    with pytest.raises(InvalidTransition) as refusal:
        await act(services, release, ABORT)

    assert refusal.value.release == await stored(services, release)
    assert refusal.value.release.status is ReleaseStatus.COMPLETED


async def test_after_an_outage_a_release_catches_up_by_one_phase(services: Services, clock: Clock) -> None:
    """However long nobody looked, the next phase bakes in full from the moment that it is really released."""
    release = await start_release(services, phase("one"), phase("two"), phase("three"))
    clock.advance(5 * HOUR)

    settled = await services.engine.settle(release)

    assert statuses(settled) == ["COMPLETED", "IN_PROGRESS", "NOT_RELEASED"]
    assert settled.timer is not None
    assert settled.timer.deadline == clock.now() + HOUR
    assert await services.engine.settle(settled) is settled


async def test_an_outage_ends_before_a_review(services: Services, clock: Clock) -> None:
    """Time alone never passes a review."""
    release = await start_release(services, phase("one"), review("two"))

    for _ in range(3):
        clock.advance(10 * HOUR)
        release = await services.engine.settle(release)

    assert statuses(release) == ["COMPLETED", "WAITING_FOR_REVIEW"]


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_a_refused_action_writes_nothing(services: Services, clock: Clock) -> None:
    """Whatever the refusal: no event, no revision, and the release that it carries is the one on record."""
    release = await start_release(services, phase("one"), review("two"))
    clock.advance(MINUTE)

    for asked, by, kind in (
        (on_current(release, PAUSE), VIEWER, PermissionDenied),
        (on_current(release, APPROVE), OPERATOR, PermissionDenied),
        (on_current(release, APPROVE), ADMIN, InvalidTransition),
        (on_current(release, UNPAUSE), ADMIN, InvalidTransition),
        (Command(SKIP, release.phases[1].id), ADMIN, StalePhase),
        (Command(SKIP, "pha_unknown"), ADMIN, NotFound),
        (Command(FULL), ADMIN, ReviewRequired),
        (Command(FULL, reason="hurry", bypass_review=True), OPERATOR, PermissionDenied),
        (Command(FULL, bypass_review=True), ADMIN, ValidationFailed),
        (on_current(release, PAUSE, reason="x" * 2_001), ADMIN, ValidationFailed),
        (on_current(release, PAUSE, idempotency_key=""), ADMIN, ValidationFailed),
    ):
        with pytest.raises(Problem) as refusal:
            await services.engine.act(release.id, asked, by)
        assert type(refusal.value) is kind
        assert await stored(services, release) == release
        assert getattr(refusal.value, "release", release) == release


async def test_an_unknown_release_is_not_found(services: Services) -> None:
    """The answer names the id; a prompt for such a release ends silently."""
    with pytest.raises(NotFound) as refusal:
        await services.engine.act("rel_unknown", Command(ABORT), ADMIN)
    assert refusal.value.id == "rel_unknown"

    await services.engine.end_bake("rel_unknown", "1")


# --- races ------------------------------------------------------------------------------------------------------------


async def test_of_a_hundred_skips_of_one_phase_one_advances_it(services: Services, neighbour: Services) -> None:
    """From two processes, each naming the phase that its sender saw: one phase is left, ninety-nine are told so."""
    release = await start_release(services, phase("one"), phase("two"), phase("three"))

    found = await answers(
        *(act(process, release, SKIP, person(f"P{n}")) for n in range(50) for process in (services, neighbour))
    )

    now = await stored(services, release)
    assert statuses(now) == ["SKIPPED", "IN_PROGRESS", "NOT_RELEASED"]
    assert [type(each) for each in found].count(Decision) == 1
    assert [type(each) for each in found].count(StalePhase) == 99
    assert {each.release for each in found if isinstance(each, StalePhase)} == {now}
    assert event_names(now.history).count("PHASE_SKIPPED") == 1
    assert now.revision == release.revision + 1


async def test_twenty_people_who_approve_at_once_all_count(services: Services, neighbour: Services) -> None:
    """The most approvals that a phase can ask for, given at the same moment in two processes: none is lost."""
    release = await start_release(services, review("one", approvals=20))
    people = [person(f"P{n}", ADMIN.role) for n in range(20)]

    found = await answers(*(act((services, neighbour)[n % 2], release, APPROVE, each) for n, each in enumerate(people)))

    now = await stored(services, release)
    assert all(isinstance(each, Decision) for each in found)
    assert {approval.actor for approval in now.phases[0].approvals} == {each.actor for each in people}
    assert event_names(now.history).count("PHASE_APPROVED") == 20
    assert now.status is ReleaseStatus.IN_PROGRESS
    assert_gapless(now)


async def test_an_approval_sent_twice_at_once_counts_once(services: Services) -> None:
    """One person is one approval, however often they press the button; the others hear that they have approved."""
    release = await start_release(services, review("one", approvals=2))

    found = await answers(*(act(services, release, APPROVE, APPROVER) for _ in range(20)))

    assert [type(each) for each in found].count(Decision) == 1
    assert [type(each) for each in found].count(InvalidTransition) == 19
    assert len((await stored(services, release)).phases[0].approvals) == 1


async def test_an_action_sent_fifty_times_with_one_key_happens_once(services: Services, neighbour: Services) -> None:
    """Every sending, in two processes at once, is answered as the first one."""
    release = await start_release(services, phase("one"), phase("two"))

    found = await answers(
        *(act(process, release, SKIP, OPERATOR, key="k") for _ in range(25) for process in (services, neighbour))
    )

    now = await stored(services, release)
    assert found == [Decision(now, now.history[len(release.history) :])] * 50
    assert event_names(found[0].events) == ["PHASE_SKIPPED", "PHASE_RELEASED"]  # type: ignore[union-attr]
    assert now.revision == release.revision + 1


async def test_a_key_still_answers_when_the_release_has_moved_on(services: Services, clock: Clock) -> None:
    """The events are those of the first time, and the release is shown as it now stands."""
    release = await start_release(services, phase("one"), phase("two"))
    first = await act(services, release, SKIP, OPERATOR, key="k")
    clock.advance(HOUR)

    again = await act(services, release, SKIP, OPERATOR, key="k")

    assert again.events == first.events
    assert again.release == await stored(services, release)
    assert again.release.status is ReleaseStatus.COMPLETED


async def test_a_key_cannot_be_used_for_another_action(services: Services) -> None:
    """Neither by the same person for something else nor by somebody else; nothing changes."""
    release = await start_release(services, phase("one"), phase("two"))
    now = (await act(services, release, PAUSE, OPERATOR, key="k")).release

    for action, by in ((SKIP, OPERATOR), (PAUSE, ADMIN)):
        with pytest.raises(ValidationFailed) as refusal:
            await act(services, release, action, by, key="k")
        assert [field.path for field in refusal.value.fields] == [("idempotencyKey",)]

    assert await stored(services, release) == now


async def test_aborting_twice_at_once_aborts_once(services: Services, neighbour: Services) -> None:
    """Everyone who presses Abort gets the aborted release; there is one event."""
    release = await start_release(services, phase("one"))

    found = await answers(*(act(process, release, ABORT) for _ in range(20) for process in (services, neighbour)))

    now = await stored(services, release)
    assert {each.release for each in found if isinstance(each, Decision)} == {now}
    assert all(isinstance(each, Decision) for each in found)
    assert event_names(now.history).count("RELEASE_ABORTED") == 1


async def test_abort_races_with_the_end_of_the_last_bake(settings: Settings, services: Services, clock: Clock) -> None:
    """One process has come to the deadline, the other's clock is an hour behind: one of the two ends, never both."""
    ahead = Clock()
    ahead.moment = clock.now() + HOUR
    async with open_services(settings, ahead) as worker:
        for n in range(6):
            release = await start_release(services, phase("one"), key=f"race{n}")

            settled, found = await asyncio.gather(worker.engine.settle(release), answers(act(services, release, ABORT)))

            now = await stored(services, release)
            assert settled == now
            aborted = now.status is ReleaseStatus.ABORTED
            assert [type(each) for each in found] == [Decision if aborted else InvalidTransition]
            assert found[0].release == now
            assert event_names(now.history)[-1] == ("RELEASE_ABORTED" if aborted else "RELEASE_COMPLETED")
            assert now.revision == release.revision + 1
            assert_gapless(now)


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_of_actions_leaves_a_gapless_history(
    services: Services, neighbour: Services, clock: Clock, seed: int
) -> None:
    """Whatever two processes are asked at once, each gets a decision or a refusal, and nobody finds no turn."""
    dice = random.Random(seed)
    release = await start_release(
        services, phase("a"), phase("b"), review("c", 3), phase("d", ZERO), phase("e"), phase("f")
    )

    async def ask(process: Services, n: int) -> Decision | Problem | None:
        await asyncio.sleep(dice.random() / 10)
        seen = await stored(process, release)
        try:
            match dice.randrange(8):
                case 0:
                    clock.advance(30 * MINUTE)
                    await process.engine.settle_due()
                case 1:
                    await process.engine.end_bake(release.id, str(dice.randrange(20)))
                case _:
                    action = dice.choices([PAUSE, UNPAUSE, SKIP, APPROVE, FULL, ABORT], [8, 8, 6, 8, 1, 0.3])[0]
                    return await act(process, seen, action, person(f"P{n}", ADMIN.role))
        except Problem as refusal:
            return refusal
        return None

    found = await asyncio.gather(*(ask((services, neighbour)[n % 2], n) for n in range(150)))

    now = await stored(services, release)
    assert_gapless(now)
    told = [event for each in found if isinstance(each, Decision) for event in each.events]
    assert len(told) == len(set(told))
    by_people = {event for event in now.history[len(release.history) :] if event.action is not None}
    assert set(told) == by_people
    assert_deliberate(now)


# --- prompts ----------------------------------------------------------------------------------------------------------


async def test_a_prompt_for_an_earlier_timer_changes_nothing(services: Services, clock: Clock) -> None:
    """Paused and unpaused, a release has another timer: the old one's job ends silently, even if the new one is due."""
    release = await start_release(services, phase("one"), phase("two"))
    assert release.timer is not None
    old = release.timer.id
    clock.advance(MINUTE)
    paused = (await act(services, release, PAUSE)).release
    clock.advance(HOUR)
    await services.engine.end_bake(release.id, old)
    assert await stored(services, release) == paused
    unpaused = (await act(services, paused, UNPAUSE)).release
    assert unpaused.timer is not None
    assert unpaused.timer.id != old
    clock.advance(HOUR)

    await services.engine.end_bake(release.id, old)
    assert await stored(services, release) == unpaused

    await services.engine.end_bake(release.id, unpaused.timer.id)
    assert current(await stored(services, release)) == "two"


async def test_a_prompt_before_the_deadline_changes_nothing(services: Services, clock: Clock) -> None:
    """The deadline on record decides: a job that fires a second early is only a prompt."""
    release = await start_release(services, phase("one"))
    assert release.timer is not None
    clock.advance(HOUR - SECOND)

    await services.engine.end_bake(release.id, release.timer.id)
    assert await stored(services, release) == release

    clock.advance(SECOND)
    await services.engine.end_bake(release.id, release.timer.id)
    assert (await stored(services, release)).status is ReleaseStatus.COMPLETED


async def test_twenty_prompts_of_one_timer_end_one_bake(services: Services, neighbour: Services, clock: Clock) -> None:
    """Jobs doubled over two workers end the bake once, and never the next one with it."""
    release = await start_release(services, phase("one"), phase("two"))
    assert release.timer is not None
    clock.advance(HOUR)

    await asyncio.gather(
        *(process.engine.end_bake(release.id, release.timer.id) for _ in range(10) for process in (services, neighbour))
    )

    now = await stored(services, release)
    assert statuses(now) == ["COMPLETED", "IN_PROGRESS"]
    assert now.revision == release.revision + 1


async def test_actions_work_without_redis(settings: Settings, services: Services, clock: Clock) -> None:
    """Redis away: what is decided stays decided, on record, for the poll to tell and the sweep to time."""
    nowhere = settings.model_copy(update={"redis_url": "unix:///nonexistent/valkey.sock"})
    async with open_services(nowhere, clock) as alone:
        release = await start_release(alone, phase("one"), phase("two"))
        decision = await act(alone, release, SKIP)

        assert await stored(services, release) == decision.release
        clock.advance(HOUR)
        assert await alone.engine.settle_due() == 1
        assert (await stored(services, release)).status is ReleaseStatus.COMPLETED
