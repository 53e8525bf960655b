"""Who gets the new spec now, and what an action would make of it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.domain.available import available_actions
from app.domain.evaluation import evaluate_feature
from app.domain.exposure import Share, exposure
from app.domain.pipelines import ReleaseRule
from app.domain.preview import preview
from app.domain.releases import PhaseStatus, Release, ReleaseAction, ReleaseStatus, expected_end
from app.domain.transitions import settle
from tests.domain.builders import (
    ADMIN,
    APPROVER,
    ENVIRONMENTS,
    EVERY_ROLE,
    HOUR,
    MINUTE,
    NOW,
    OFF,
    ON,
    OPERATOR,
    SUBMITTER,
    VIEWER,
    ZERO,
    condition,
    do,
    feature,
    member_of,
    phase,
    review,
    rule,
    spec,
    started,
)

OPEN = structs.replace(phase("open"), rules=(ReleaseRule(("production",)),))


def shares(release: Release) -> dict[str, str]:
    return {each.environment: each.share.value for each in exposure(release, ENVIRONMENTS).environments}


def test_exposure_grows_phase_by_phase() -> None:
    """Nobody, some, everyone of an environment; and all of them everywhere once it is completed."""
    release = started(phase("a", environment="staging"), phase("b"), OPEN)
    nobody = dict.fromkeys(ENVIRONMENTS, "NOBODY")
    assert shares(release) == nobody | {"staging": "SOME"}
    release = do(release, ReleaseAction.SKIP)
    assert shares(release) == nobody | {"staging": "SOME", "production": "SOME"}
    release = do(release, ReleaseAction.SKIP)
    assert shares(release) == nobody | {"staging": "SOME", "production": "EVERYONE"}
    assert set(shares(do(release, ReleaseAction.SKIP)).values()) == {"EVERYONE"}
    assert set(shares(do(release, ReleaseAction.ABORT)).values()) == {"NOBODY"}


def test_exposure_in_words() -> None:
    """What a status page says of it."""
    release = started(phase("a", environment="staging"), OPEN)
    assert exposure(release, ENVIRONMENTS).text == (
        "The new spec goes to staging: contexts where group is “a”. Everyone else gets the spec from before."
    )
    both = do(release, ReleaseAction.SKIP)
    assert exposure(both, ENVIRONMENTS).text == (
        "The new spec goes to staging: contexts where group is “a”; production: everyone. "
        "Everyone else gets the spec from before."
    )
    assert exposure(started(review("a")), ENVIRONMENTS).text == "Nobody gets the new spec yet."
    assert exposure(do(release, ReleaseAction.ABORT), ENVIRONMENTS).text == "Everyone gets the spec from before."
    assert exposure(do(both, ReleaseAction.SKIP), ENVIRONMENTS).text == "Everyone gets the new spec."


def test_a_release_that_another_followed_says_so() -> None:
    """What its end left is not what is so now, and nobody must take it for that."""
    done = do(started(phase("a")), ReleaseAction.SKIP)
    assert exposure(done, ENVIRONMENTS, next_number=2).text == (
        "Everyone gets the new spec. That was so until release #2, which has decided since."
    )


def test_an_environment_that_the_change_does_not_touch_is_told() -> None:
    """A phase may reach an environment in which both specs give the same."""
    after = spec(False, rule(True, environments=("production",)))
    found = exposure(started(phase("a", environment="staging"), after=after), ENVIRONMENTS).environments
    assert [each.changes for each in found] == [False, False, True]
    assert found[1].text == "staging: contexts where group is “a” (where it makes no difference)"


def test_an_environment_that_only_the_release_names_is_there() -> None:
    """Whatever environments are known, none that a phase reaches is left out."""
    found = exposure(started(phase("a", environment="production")), ["staging"]).environments
    assert [(each.environment, each.share) for each in found] == [("staging", Share.NOBODY), ("production", Share.SOME)]


@given(st.lists(st.sampled_from(["a", "b", "open"]), min_size=1, max_size=3), st.integers(0, 3))
def test_exposure_is_what_contexts_get(names: list[str], skips: int) -> None:
    """EVERYONE, SOME and NOBODY are true of the contexts that evaluation gives the new spec to."""
    chosen = [
        structs.replace(OPEN if n == "open" else phase(n), id=f"pha_{i}", name=f"{i}") for i, n in enumerate(names)
    ]
    release = started(*chosen)
    for _ in range(skips):
        release = release if release.is_over else do(release, ReleaseAction.SKIP)
    got = [evaluate_feature(feature(), release, "production", member_of(g)).value for g in ("a", "b", "nobody")]
    share = exposure(release, ENVIRONMENTS).environments[2].share
    assert share is (Share.EVERYONE if all(got) else Share.SOME if any(got) else Share.NOBODY)


# --- the end that is expected -----------------------------------------------------------------------------------------


def test_expected_end_adds_what_remains() -> None:
    """The running timer and the bake times after it; none past a review, in a pause, or when it is over."""
    release = started(phase("a", HOUR), phase("b", ZERO), phase("c", 2 * HOUR))
    assert expected_end(release, NOW) == NOW + 3 * HOUR
    assert expected_end(release, NOW + 4 * HOUR) == NOW + 6 * HOUR  # a due bake ends now, the next in full
    assert expected_end(do(release, ReleaseAction.PAUSE), NOW) is None
    assert expected_end(do(release, ReleaseAction.ABORT), NOW) is None
    assert expected_end(started(phase("a"), review("b")), NOW) is None
    assert expected_end(started(review("a")), NOW) is None
    assert (
        expected_end(do(started(phase("a"), review("b")), ReleaseAction.FULL_ROLL_OUT, reason="x", bypass=True), NOW)
        is None
    )


def test_the_expected_end_comes_true() -> None:
    """Nobody acts and every timer is settled in time: the release is completed at the moment that was expected."""
    release = started(phase("a", HOUR), phase("b", ZERO), phase("c", 30 * MINUTE))
    expected = expected_end(release, NOW)
    while release.timer is not None:
        release = settle(release, release.timer.deadline)
    assert release.ended_at == expected


# --- previews ---------------------------------------------------------------------------------------------------------


def three() -> Release:
    return started(phase("a", environment="staging"), review("b"), OPEN)


def test_a_preview_is_what_the_action_then_does() -> None:
    """For every action in a few statuses, and whoever may: the previewed release is the one that acting makes."""
    for release in (three(), do(three(), ReleaseAction.SKIP), do(three(), ReleaseAction.PAUSE)):
        for entry in available_actions(release, ADMIN, NOW):
            found = preview(release, entry.action, ADMIN, NOW)
            assert found.available == entry
            if entry.allowed:
                done = do(
                    release,
                    entry.action,
                    reason="to be asked for" if entry.bypasses_review_of else None,
                    bypass=bool(entry.bypasses_review_of),
                    by=ADMIN,
                )
                assert found.after.status is done.status
                assert shares(found.after) == shares(done)
                assert expected_end(found.after, NOW) == expected_end(done, NOW)
            else:
                assert found.after == release


@pytest.mark.parametrize("action", ReleaseAction)
def test_who_may_not_act_sees_what_it_would_do(action: ReleaseAction) -> None:
    """A viewer sees the same future as an administrator, and is told that they may not bring it about."""
    release = do(three(), ReleaseAction.SKIP)
    theirs, admins = preview(release, action, VIEWER, NOW), preview(release, action, ADMIN, NOW)
    assert not theirs.available.allowed
    assert theirs.after.status is admins.after.status
    assert shares(theirs.after) == shares(admins.after)


def test_who_may_not_approve_their_own_sees_what_an_approval_does() -> None:
    """Self-approval is refused to the submitter, who still sees that the phase would be released."""
    release = started(review("b", prevent_self_approval=True))
    found = preview(release, ReleaseAction.APPROVE, SUBMITTER, NOW)
    assert not found.available.allowed
    assert found.after.phases[0].status is PhaseStatus.IN_PROGRESS
    assert preview(release, ReleaseAction.APPROVE, APPROVER, NOW).available.allowed


def test_what_nobody_may_changes_nothing() -> None:
    """Unpausing what is not paused, and anything once it is over, leaves the release as it is."""
    assert preview(three(), ReleaseAction.UNPAUSE, ADMIN, NOW).after == three()
    over = do(three(), ReleaseAction.ABORT)
    for action in ReleaseAction:
        for by in EVERY_ROLE.values():
            assert preview(over, action, by, NOW).after == over


def test_a_preview_names_the_reviews_that_it_would_bypass() -> None:
    """Full roll out passes the review that is to come, skip none: and the release would be completed."""
    found = preview(three(), ReleaseAction.FULL_ROLL_OUT, OPERATOR, NOW)
    assert [each.name for each in found.available.bypasses_review_of] == ["b"]
    assert found.after.status is ReleaseStatus.COMPLETED
    assert preview(three(), ReleaseAction.SKIP, OPERATOR, NOW).available.bypasses_review_of == ()


def test_nothing_is_exposed_without_a_condition_by_mistake() -> None:
    """A rule with a condition reaches some, never everyone."""
    given_rule = ReleaseRule(("production",), (condition("plan", "EXISTS"),))
    release = started(structs.replace(OPEN, rules=(given_rule,)), before=OFF, after=ON)
    (found,) = (each for each in exposure(release, ENVIRONMENTS).environments if each.environment == "production")
    assert (found.share, found.rules, found.text) == (
        Share.SOME,
        (given_rule,),
        "production: contexts where plan is there",
    )
    assert [each.bake_time for each in found.phases] == [timedelta(hours=1)]
