"""Channels, deliveries, notifications and pending reviews over the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gql import gql

from app.domain.access import Principal, Role
from app.domain.releases import ReleaseAction
from app.store.access import AuditFilter
from tests.api.serving import Api
from tests.conftest import Clock
from tests.domain.builders import ADMIN, APPROVER, HOUR, MINUTE, OPERATOR, phase, review
from tests.notify.receiving import Hooks, hooks
from tests.scene import act, start_release

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

EVENT = """
    sequence type at actor { id name kind } reason phase { ...P } fromStatus toStatus bypassedReviewOf { ...P }
    release {
      id number feature { key kind } pipelineId pipelineName description status currentPhase { ...P }
      startedBy { id name kind } startedAt endedAt revision
    }
"""
PHASE = """fragment P on ReleasePhase {
    id index name status bakeTime requiredApprovals approvals { actor { id name kind } at reason } reviewBypassed
    releasedAt bakeEndsAt endedAt
}"""
NOTIFICATIONS = """query($unread: Boolean!, $first: Int, $after: String) {
    notifications(unread: $unread, first: $first, after: $after) {
      pageInfo { hasNextPage endCursor } edges { node { id type title text link isRead featureKey } }
    }
}"""
PENDING = "{ pendingReviews { edges { node { phase { name } waitedFor isPending release { feature { key } } } } } }"


@pytest.fixture
async def receiver() -> AsyncIterator[Hooks]:
    """An HTTP server for webhooks."""
    async with hooks() as receiver:
        yield receiver


async def channel(api: Api, receiver: Hooks, path: str = "/a", **more: object) -> dict[str, Any]:
    given = {"name": f"Hook {path}", "kind": "WEBHOOK", "target": receiver.url(path), **more}
    made = await api.mutate("createChannel", input=given)
    assert made["__typename"] == "CreateChannelPayload", made
    receiver.secrets[path] = [made["secret"]]
    return dict(made["channel"])


async def notify(api: Api) -> None:
    await api.services.teller.tell()
    for id in await api.services.courier.due_channels():
        await api.services.courier.deliver(id)


@asynccontextmanager
async def heard(api: Api, secret: str, document: str) -> AsyncIterator[list[Any]]:
    """What a subscriber with that token hears, to the end of the block."""
    answers: list[Any] = []

    async def listen() -> None:
        async with api.socket({"authorization": f"Bearer {secret}"}) as socket:
            async for answer in socket.subscribe(gql(document)):
                answers.extend(answer.values())

    listening = asyncio.create_task(listen())
    try:
        yield answers
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def until(answers: list[Any], count: int) -> None:
    async with asyncio.timeout(5):
        while len(answers) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def token(api: Api, role: Role) -> tuple[str, Principal]:
    made, secret = await api.services.tokens.create(f"The {role.value}", role, None, ADMIN)
    return secret, made.principal


async def test_a_webhook_says_what_the_api_says(api: Api, receiver: Hooks) -> None:
    """The event in the body is the one that GraphQL gives, field by field, for every notice of a release."""
    await channel(api, receiver)
    release = await start_release(api.services, phase("a"), review("b"))
    release = (await act(api.services, release, ReleaseAction.SKIP, reason="known")).release
    await act(api.services, release, ReleaseAction.FULL_ROLL_OUT, ADMIN, bypass=True, reason="now")
    await notify(api)
    document = f"query($id: ID!) {{ release(id: $id) {{ history {{ {EVENT} }} }} }} {PHASE}"
    history = (await api.ask(document, id=release.id))["release"]["history"]
    assert receiver.failures == []
    assert len(receiver.received["/a"]) == 5
    for id, body in receiver.received["/a"]:
        assert body["data"] == history[body["data"]["sequence"] - 1]
        assert body["id"] == id
        assert body["link"] == f"https://slipway.example/releases/{release.id}"


async def test_a_channels_secrets_are_nowhere_to_be_read(api: Api, receiver: Hooks) -> None:
    """Neither the API nor the audit log nor the store tells the target or what signs."""
    target = receiver.url("/a?token=very-secret")
    made = await api.mutate("createChannel", input={"name": "Ops", "kind": "WEBHOOK", "target": target})
    changed = {"id": made["channel"]["id"], "target": target + "2"}
    await api.mutate("updateChannel", input=changed)
    shown = await api.ask("{ channels { id name kind address enabled createdBy { name } secretRotatedAt } }")
    assert shown["channels"][0]["address"] == f"http://127.0.0.1:{receiver.port}/…"
    entries = (await api.services.audit_log.page(AuditFilter(), 10, None)).values
    assert [entry.input["target"] for entry in entries] == ["(kept secret)"] * 2  # type: ignore[call-overload,index]
    assert made["secret"].startswith("whsec_")
    for text in (str(shown), str(entries), str(await api.services.channel_list.all())):
        assert "very-secret" not in text
        assert made["secret"] not in text


async def test_while_a_secret_is_rotated_both_sign(api: Api, receiver: Hooks, clock: Clock) -> None:
    """For a day a receiver may check with either; then with the new one alone."""
    made = await channel(api, receiver)
    old = receiver.secrets["/a"][0]
    rotated = await api.mutate("rotateChannelSecret", id=made["id"])
    receiver.secrets["/a"] = [old, rotated["secret"]]
    assert (await api.mutate("testChannel", id=made["id"]))["delivered"] is True
    assert receiver.failures == []
    clock.advance(25 * HOUR)
    await api.mutate("testChannel", id=made["id"])
    assert receiver.signatures["/a"] == [2, 1]


async def test_trying_a_channel_says_what_is_wrong(api: Api, receiver: Hooks) -> None:
    """A test message arrives at once, or the answer says why not; nothing is kept of it."""
    made = await channel(api, receiver)
    assert (await api.mutate("testChannel", id=made["id"]))["error"] is None
    assert receiver.types("/a") == ["TEST"]
    receiver.answers["/a"].append(500)
    failed = await api.mutate("testChannel", id=made["id"])
    assert (failed["delivered"], failed["error"]) == (False, "It answered with HTTP 500.")
    shown = await api.ask("query($id: ID!) { deliveries(channelId: $id) { edges { cursor } } }", id=made["id"])
    assert shown["deliveries"]["edges"] == []


async def test_deliveries_tell_what_became_of_them(api: Api, receiver: Hooks, clock: Clock) -> None:
    """Status, attempts and last error of each, by status where asked for; a dead letter is sent again by its id."""
    made = await channel(api, receiver)
    receiver.answers["/a"].append(410)
    release = await start_release(api.services, phase("a"))
    await act(api.services, release, ReleaseAction.PAUSE)
    await notify(api)
    document = """query($id: ID!, $status: DeliveryStatus) {
        deliveries(channelId: $id, status: $status) {
            edges { node { id type status attempts lastError sentAt dueAt releaseId featureKey } }
        }
    }"""

    async def of(status: str | None) -> list[dict[str, Any]]:
        found = await api.ask(document, id=made["id"], status=status)
        return [edge["node"] for edge in found["deliveries"]["edges"]]

    (letter,) = await of("DEAD")
    assert (letter["type"], letter["attempts"]) == ("RELEASE_STARTED", 1)
    assert letter["lastError"] == "It is gone (HTTP 410) and asked to be sent nothing more."
    assert [each["type"] for each in await of("SENT")] == ["RELEASE_PAUSED"]
    again = await api.mutate("resendDelivery", id=letter["id"])
    assert again["delivery"]["status"] == "PENDING"
    await notify(api)
    assert {each["status"] for each in await of(None)} == {"SENT"}
    assert receiver.received["/a"][-1][0] == letter["id"]


async def test_everybody_reads_what_concerns_them(api: Api, become: Any, clock: Clock) -> None:
    """Reviewers what waits, the one who started it what others did; read by one it is unread for the other."""
    release = await start_release(api.services, review("a"))
    await act(api.services, release, ReleaseAction.ABORT, OPERATOR, reason="no")
    await notify(api)

    async def titles(unread: bool = False) -> list[str]:
        found = await api.ask(NOTIFICATIONS, unread=unread, first=None, after=None)
        return [edge["node"]["title"] for edge in found["notifications"]["edges"]]

    become(APPROVER)
    assert await titles() == ["Review needed: checkout, “a”"]
    (edge,) = (await api.ask(NOTIFICATIONS, unread=True, first=None, after=None))["notifications"]["edges"]
    for _ in range(2):
        read = await api.mutate("markNotificationRead", id=edge["node"]["id"])
        assert read["notification"] == {"id": edge["node"]["id"], "isRead": True}
    assert await titles(unread=True) == []
    assert len(await titles()) == 1
    become(ADMIN)
    assert await titles(unread=True) == ["Review needed: checkout, “a”"]
    become(OPERATOR)
    assert await titles() == []
    become(Principal(release.started_by, Role.OPERATOR))
    assert await titles() == ["Release ABORTED: checkout"]


async def test_what_waits_for_a_reviewer_is_listed(api: Api, become: Any, clock: Clock) -> None:
    """Each phase that the caller may approve now, and for how long it has waited; nothing for who may not approve."""
    await start_release(api.services, review("a"))
    clock.advance(5 * MINUTE)
    become(APPROVER)
    (edge,) = (await api.ask(PENDING))["pendingReviews"]["edges"]
    assert edge["node"] == {
        "phase": {"name": "a"},
        "waitedFor": "PT5M",
        "isPending": True,
        "release": {"feature": {"key": "checkout"}},
    }
    become(OPERATOR)
    assert (await api.ask(PENDING))["pendingReviews"]["edges"] == []


async def test_a_reviewer_who_watches_is_told_at_once(api: Api) -> None:
    """The notification as it is made, and the review as it comes and goes; who may not approve hears nothing."""
    (approver, by), (operator, _) = await token(api, Role.APPROVER), await token(api, Role.OPERATOR)
    news = "subscription { notifications { title isRead } }"
    waiting = "subscription { pendingReviews { isPending phase { name } } }"
    async with (
        heard(api, approver, news) as told,
        heard(api, operator, news) as untold,
        heard(api, approver, waiting) as reviews,
    ):
        async with asyncio.timeout(5):
            while len(api.services.feed._readers) < 2 or not api.services.hub._of_all:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        release = await start_release(api.services, review("a"), review("b"))
        await api.services.teller.tell()
        await until(told, 1)
        await until(reviews, 1)
        await act(api.services, release, ReleaseAction.APPROVE, by)
        await until(reviews, 2)
        assert told == [{"title": "Review needed: checkout, “a”", "isRead": False}]
        assert reviews == [{"isPending": pending, "phase": {"name": "a"}} for pending in (True, False)]
        assert untold == []


async def test_two_reviewers_who_ask_the_same_are_answered_each(api: Api) -> None:
    """The one who has given their approval has nothing waiting any more, the other has: no answer is shared."""
    made = [await api.services.tokens.create(name, Role.APPROVER, None, ADMIN) for name in ("Ann", "Bob")]
    waiting = "subscription { pendingReviews { isPending phase { approvals { actor { name } } } } }"
    release = await start_release(api.services, review("a", approvals=2))
    async with heard(api, made[0][1], waiting) as of_ann, heard(api, made[1][1], waiting) as of_bob:
        await until(of_ann, 1)
        await until(of_bob, 1)
        await act(api.services, release, ReleaseAction.APPROVE, made[0][0].principal)
        await until(of_ann, 2)
        await until(of_bob, 2)
    approved = {"approvals": [{"actor": {"name": "Ann"}}]}
    assert of_ann[1] == {"isPending": False, "phase": approved}
    assert of_bob[1] == {"isPending": True, "phase": approved}
