"""From a change to the receiver: in order, again after failures, never under two ids, no channel in another's way."""

import asyncio
from datetime import datetime, timedelta

import pytest

from app import worker
from app.domain.access import Principal
from app.domain.channels import Channel, ChannelKind
from app.domain.deliveries import Delivery, DeliveryStatus
from app.domain.notifications import NotificationType
from app.domain.problems import AlreadyExists, PermissionDenied, Problem
from app.domain.releases import ReleaseAction
from app.notify.channels import ChannelEdit
from app.services import Services
from app.timers import NOTIFY_QUEUE
from tests.conftest import Clock
from tests.domain.builders import ADMIN, APPROVER, HOUR, MINUTE, ON, OPERATOR, SECOND, SUBMITTER, ZERO, phase, review
from tests.notify.receiving import DRIP, HANG, RESET, Hooks, Mailbox, response
from tests.scene import act, eventually, make_feature, make_pipeline, skip, start_release, stored

ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
Type = NotificationType


async def webhook(services: Services, hooks: Hooks, path: str = "/a", **asked: object) -> Channel:
    """A webhook channel to a path of the receiver, which knows its secret."""
    edit = ChannelEdit(**asked)  # type: ignore[arg-type]
    channel, secret = await services.channels.create(ChannelKind.WEBHOOK, f"Hook {path}", hooks.url(path), edit, ADMIN)
    assert secret is not None
    hooks.secrets[path] = [secret]
    return channel


async def notify(services: Services) -> None:
    """Tell and deliver all that is due now, as a worker's jobs do."""
    await services.teller.tell()
    for id in await services.courier.due_channels():
        await services.courier.deliver(id)


async def deliveries(services: Services, channel: Channel) -> list[Delivery]:
    """All of a channel, the first first."""
    found = (await services.deliveries.page(channel.id, 100, None)).values
    return sorted(found, key=lambda each: (each.release_id, each.notice.place))


async def statuses(services: Services, channel: Channel) -> list[str]:
    return [each.status.value for each in await deliveries(services, channel)]


async def test_a_change_reaches_a_webhook_by_jobs_alone(services: Services, clock: Clock, receiver: Hooks) -> None:
    """The change prompts a job that tells, which prompts one that delivers; each notice arrives once, in order, signed
    and with the id that is on record.
    """
    channel = await webhook(services, receiver)
    release = await start_release(services, phase("a", ZERO), review("b"))
    await act(services, release, ReleaseAction.ABORT, reason="no")
    for _ in range(2):
        due = await services.redis.zrange(NOTIFY_QUEUE, 0, -1)
        assert due
        await services.redis.zadd(NOTIFY_QUEUE, dict.fromkeys(due, 1))
        burst = worker.make_notifier(services, burst=True)
        try:
            await burst.run_check(max_burst_jobs=len(due))
        finally:
            await worker.close(burst)

    assert receiver.types("/a") == ["RELEASE_STARTED", "REVIEW_REQUESTED", "RELEASE_ABORTED"]
    assert receiver.failures == []
    on_record = await deliveries(services, channel)
    assert [id for id, _ in receiver.received["/a"]] == [each.id for each in on_record]
    assert {each.status for each in on_record} == {DeliveryStatus.SENT}
    assert {each.attempts for each in on_record} == {1}
    assert {each.sent_at for each in on_record} == {clock.now()}


async def test_told_again_it_arrives_once(services: Services, neighbour: Services, receiver: Hooks) -> None:
    """However often and by however many processes a change is told and delivered, each notice arrives once."""
    await webhook(services, receiver)
    await start_release(services, phase("a"), phase("b"))
    for _ in range(2):
        await asyncio.gather(*(notify(each) for each in (services, neighbour) * 3))
    assert receiver.types("/a") == ["RELEASE_STARTED"]
    assert receiver.attempts["/a"] == [receiver.received["/a"][0][0]]


@ON_SQLITE
async def test_what_fails_comes_again_and_what_follows_waits(services: Services, clock: Clock, receiver: Hooks) -> None:
    """Whatever the receiver does wrong, the notice comes again under the same id, later each time, and those behind it
    in its release come after it.
    """
    channel = await webhook(services, receiver)
    receiver.answers["/a"].extend([500, RESET, HANG, DRIP, response(302, f"location: {receiver.url('/b')}")])
    release = await start_release(services, phase("a"), phase("b"))
    await act(services, release, ReleaseAction.PAUSE, reason="look")
    errors, waits = [], []
    for _ in range(5):
        await notify(services)
        first, second = await deliveries(services, channel)
        assert (first.status, second.attempts) == (DeliveryStatus.RETRYING, 0)
        assert first.due_at is not None
        errors.append(first.last_error or "")
        waits.append(first.due_at - clock.now())
        await notify(services)  # nothing is attempted before it is due
        clock.moment = first.due_at

    assert receiver.received["/a"] == []
    await notify(services)

    assert receiver.types("/a") == ["RELEASE_STARTED", "RELEASE_PAUSED"]
    first, second = await deliveries(services, channel)
    assert receiver.attempts["/a"] == [first.id] * 6 + [second.id]
    assert receiver.attempts["/b"] == []
    assert [error.split(":")[0] for error in errors] == [
        "It answered with HTTP 500.",
        "The connection failed",
        "It did not answer within 1 s.",
        "It did not answer within 1 s.",
        "It answered with a redirect (HTTP 302), which is not followed.",
    ]
    for number, wait in enumerate(waits):
        assert 2.5 * SECOND * 2**number <= wait <= 5 * SECOND * 2**number
    assert (first.attempts, second.attempts, first.last_error) == (6, 1, None)


@ON_SQLITE
async def test_a_receiver_that_asks_for_silence_gets_it(services: Services, clock: Clock, receiver: Hooks) -> None:
    """After a 429 nothing at all is sent to the channel until Retry-After is over, in seconds or as a date."""
    await webhook(services, receiver)
    until = (clock.now() + 3 * MINUTE).strftime("%a, %d %b %Y %H:%M:%S GMT")
    receiver.answers["/a"].extend([response(429, "retry-after: 90"), response(503, f"retry-after: {until}")])
    await start_release(services, phase("a"))
    await notify(services)
    assert len(receiver.attempts["/a"]) == 1
    pipeline = await make_pipeline(services, phase("a"), name="Other")
    await make_feature(services, pipeline, "other")
    await services.catalog.update_feature("other", ON, None, None, SUBMITTER)

    clock.advance(89 * SECOND)
    await notify(services)
    assert len(receiver.attempts["/a"]) == 1
    clock.advance(SECOND)
    await notify(services)
    assert len(receiver.attempts["/a"]) >= 2
    clock.advance(85 * SECOND)
    count = len(receiver.attempts["/a"])
    await notify(services)
    assert len(receiver.attempts["/a"]) == count
    clock.advance(10 * MINUTE)
    await notify(services)
    assert receiver.types("/a") == ["RELEASE_STARTED"] * 2


@ON_SQLITE
async def test_a_dead_letter_is_seen_and_sent_again(services: Services, clock: Clock, receiver: Hooks) -> None:
    """After a day it is dead and lets the next pass; sent again it arrives under its old id."""
    channel = await webhook(services, receiver)
    receiver.answers["/a"].extend([500] * 60)
    release = await start_release(services, phase("a", 100 * HOUR))
    while (first := (await _told(services, channel))[0]).is_open:
        assert first.due_at is not None
        clock.moment = max(clock.moment, first.due_at)
    assert first.status is DeliveryStatus.DEAD
    assert 10 <= first.attempts <= 30
    assert clock.now() - first.created_at <= timedelta(days=1)
    receiver.answers["/a"].clear()
    await act(services, release, ReleaseAction.PAUSE)
    await notify(services)
    assert receiver.types("/a") == ["RELEASE_PAUSED"]

    await services.channels.resend(first.id, ADMIN)
    await notify(services)
    assert receiver.received["/a"][-1][0] == first.id
    assert await statuses(services, channel) == ["SENT", "SENT"]


async def _told(services: Services, channel: Channel) -> list[Delivery]:
    await notify(services)
    return await deliveries(services, channel)


@ON_SQLITE
async def test_a_receiver_that_is_gone_is_asked_no_more(services: Services, receiver: Hooks) -> None:
    """410 makes a dead letter at once."""
    channel = await webhook(services, receiver)
    receiver.answers["/a"].append(410)
    await start_release(services, phase("a"))
    await notify(services)
    (letter,) = await deliveries(services, channel)
    assert (letter.status, letter.attempts) == (DeliveryStatus.DEAD, 1)
    assert "HTTP 410" in (letter.last_error or "")


@ON_SQLITE
async def test_a_broken_channel_holds_up_no_other(services: Services, receiver: Hooks) -> None:
    """While one receiver hangs with all that it is sent, the other has everything."""
    await webhook(services, receiver, "/broken")
    await webhook(services, receiver, "/well")
    receiver.answers["/broken"].extend([HANG] * 50)
    for number in range(3):
        await _start(services, f"feature-{number}")
    await services.teller.tell()
    hanging, well = await services.courier.due_channels()
    delivering = asyncio.create_task(services.courier.deliver(hanging))
    await services.courier.deliver(well)
    assert receiver.types("/well") == ["RELEASE_STARTED"] * 3
    assert not delivering.done()
    await delivering
    assert receiver.received["/broken"] == []


async def _start(services: Services, key: str) -> None:
    if not await services.environments.all():
        await start_release(services, phase("a"), key=key)
        return
    pipeline = await make_pipeline(services, phase("a"), name=f"Pipeline of {key}")
    await make_feature(services, pipeline, key)
    await services.catalog.update_feature(key, ON, None, None, SUBMITTER)


@ON_SQLITE
async def test_killed_between_the_attempt_and_its_record_it_comes_again(
    services: Services, neighbour: Services, clock: Clock, receiver: Hooks
) -> None:
    """An attempt that was begun is another's to make once its lease is over, not before; the id is the same."""
    channel = await webhook(services, receiver)
    receiver.answers["/a"].append(HANG)
    await start_release(services, phase("a"))
    await services.teller.tell()
    killed = asyncio.create_task(services.courier.deliver(channel.id))
    await eventually(lambda: bool(receiver.attempts["/a"]))
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)

    await notify(neighbour)
    assert len(receiver.attempts["/a"]) == 1
    clock.advance(6 * SECOND)
    await notify(neighbour)
    assert len(set(receiver.attempts["/a"])) == 1
    assert receiver.types("/a") == ["RELEASE_STARTED"]


@ON_SQLITE
async def test_what_nobody_told_for_a_week_is_told(services: Services, clock: Clock, receiver: Hooks) -> None:
    """A Slipway whose workers were away finds what changed meanwhile by its watermark, each once and in order."""
    await webhook(services, receiver)
    release = await start_release(services, phase("a", 1000 * HOUR), phase("b"))
    await notify(services)
    clock.advance(timedelta(days=1))
    await notify(services)
    clock.advance(HOUR)
    await act(services, release, ReleaseAction.PAUSE)
    clock.advance(timedelta(days=7))
    services.teller._seen_until = None  # as a process that has just started
    services.teller._known.clear()
    await notify(services)
    assert receiver.types("/a") == ["RELEASE_STARTED", "RELEASE_PAUSED"]


@ON_SQLITE
async def test_a_review_is_asked_for_again_and_a_late_reminder_is_dropped(
    services: Services, clock: Clock, receiver: Hooks
) -> None:
    """While nobody answers each interval brings one more; one that could not be sent before the answer is dropped."""
    channel = await webhook(services, receiver, types=(Type.REVIEW_REQUESTED, Type.REVIEW_OVERDUE))
    release = await start_release(services, review("a", remind_every=10 * MINUTE))
    await notify(services)
    for _ in range(2):
        clock.advance(10 * MINUTE)
        await notify(services)
        await notify(services)
    assert [(body["type"], body["reminder"]) for _, body in receiver.received["/a"]] == [
        ("REVIEW_REQUESTED", 0),
        ("REVIEW_OVERDUE", 1),
        ("REVIEW_OVERDUE", 2),
    ]
    assert len({id for id, _ in receiver.received["/a"]}) == 3

    receiver.answers["/a"].append(500)
    clock.advance(10 * MINUTE)
    await notify(services)
    await act(services, release, ReleaseAction.APPROVE, APPROVER)
    clock.advance(HOUR)
    await notify(services)
    assert await statuses(services, channel) == ["SENT", "SENT", "SENT", "DROPPED"]
    assert len(receiver.received["/a"]) == 3


@ON_SQLITE
async def test_a_refused_action_and_a_stale_timer_tell_nothing(
    services: Services, clock: Clock, receiver: Hooks
) -> None:
    """The job of a paused release ends silently here too, and so does what an operator may not do."""
    await webhook(services, receiver)
    release = await start_release(services, phase("a"), phase("b"))
    paused = (await act(services, release, ReleaseAction.PAUSE)).release
    with pytest.raises(Problem, match="No bake timer"):
        await act(services, paused, ReleaseAction.PAUSE)
    await skip(services, clock, 2 * HOUR)
    await notify(services)
    assert receiver.types("/a") == ["RELEASE_STARTED", "RELEASE_PAUSED"]
    assert await stored(services, release) == paused


@ON_SQLITE
async def test_channels_get_what_they_asked_for(services: Services, receiver: Hooks) -> None:
    """By type, feature and pipeline; disabled or deleted ones get nothing, and what waits for them is dropped."""
    await webhook(services, receiver, "/types", types=(Type.RELEASE_ABORTED,))
    await webhook(services, receiver, "/others", features=("other-*",))
    off = await webhook(services, receiver, "/off")
    gone = await webhook(services, receiver, "/gone")
    release = await start_release(services, phase("a"))
    assert release.pipeline_id is not None
    await webhook(services, receiver, "/late", pipeline_ids=(release.pipeline_id,))
    await services.teller.tell()
    await services.channels.update(off.id, ChannelEdit(enabled=False), ADMIN)
    await services.channels.delete(gone.id, ADMIN)
    await act(services, release, ReleaseAction.ABORT)
    for _ in range(3):
        await notify(services)
    assert {path: receiver.types(path) for path in ("/types", "/others", "/off", "/gone")} == {
        "/types": ["RELEASE_ABORTED"],
        "/others": [],
        "/off": [],
        "/gone": [],
    }
    assert receiver.types("/late")[-1] == "RELEASE_ABORTED"
    assert await statuses(services, off) == ["DROPPED"]
    assert await statuses(services, gone) == ["DROPPED"]
    assert await services.courier.due_channels() == []


@ON_SQLITE
async def test_a_channel_made_while_others_are_told_misses_nothing(
    services: Services, receiver: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes once it is there reaches it, also when somebody had begun to tell before."""
    look = services.releases.changed_since

    async def changed_since(since: datetime, limit: int) -> list[tuple[str, int]]:
        monkeypatch.undo()
        await webhook(services, receiver)
        await start_release(services, phase("a"))
        return await look(since, limit)

    monkeypatch.setattr(services.releases, "changed_since", changed_since)
    await notify(services)
    assert receiver.types("/a") == ["RELEASE_STARTED"]


@ON_SQLITE
async def test_an_update_that_is_refused_changes_nothing(services: Services, receiver: Hooks) -> None:
    """A name that is taken leaves the target as it was."""
    await webhook(services, receiver, "/a")
    other = await webhook(services, receiver, "/b")
    with pytest.raises(AlreadyExists):
        await services.channels.update(other.id, ChannelEdit(name="Hook /a", target=receiver.url("/c")), ADMIN)
    assert await services.channels.test(other.id, ADMIN) == (other, None)
    assert list(receiver.attempts) == ["/b"]


@ON_SQLITE
async def test_a_mail_says_what_is_asked(services: Services, post: Mailbox, clock: Clock) -> None:
    """Through Apprise and a real SMTP server: title, text and link; refused mails come again with the reason kept."""
    url = f"mailto://127.0.0.1:{post.port}?from=slipway@example.com&to=ops@example.com&mode=insecure"
    channel, secret = await services.channels.create(ChannelKind.APPRISE, "Ops", url, ChannelEdit(), ADMIN)
    assert (secret, channel.address) == (None, "E-Mail (mailto://…)")
    post.refuse = True
    release = await start_release(services, review("US west"))
    await services.courier.deliver(channel.id)
    # Loading Apprise takes longer than these tests let an attempt take.
    services.courier._chats._seconds = 20
    await notify(services)
    first = (await deliveries(services, channel))[0]
    assert first.status is DeliveryStatus.RETRYING
    assert first.last_error
    post.refuse = False
    clock.advance(MINUTE)
    await notify(services)
    subjects = [str(mail["Subject"]) for mail in post.mails]
    assert subjects == ["Release started: checkout", "Review needed: checkout, “US west”"]
    body = post.mails[1].get_body(("plain", "html"))  # type: ignore[attr-defined]
    text = body.get_content()
    assert "waits for your review of" in text
    assert f"https://slipway.example/releases/{release.id}" in text
    assert "Sam" in text


@ON_SQLITE
@pytest.mark.parametrize("by", [OPERATOR, APPROVER])
async def test_only_administrators_have_to_do_with_channels(services: Services, by: Principal) -> None:
    """Everybody else meets PermissionDenied at each of the six, whatever there is."""
    register, edit = services.channels, ChannelEdit()
    for attempt in (
        register.create(ChannelKind.WEBHOOK, "x", "https://x", edit, by),
        register.update("cha_1", edit, by),
        register.delete("cha_1", by),
        register.rotate("cha_1", by),
        register.test("cha_1", by),
        register.resend("dlv_1", by),
    ):
        with pytest.raises(PermissionDenied):
            await attempt
