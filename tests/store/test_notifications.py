"""Channels, secrets, deliveries and notifications on each adapter."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from cryptography.fernet import Fernet
from msgspec import structs

from app.domain.access import Actor
from app.domain.channels import Channel, ChannelKind, ChannelSecrets
from app.domain.deliveries import Delivery, DeliveryStatus, begun, dead, failed, new_delivery, resent, sent
from app.domain.notifications import Notice, Notification, NotificationType, ReadMark, Told, Watermark
from app.store.documents import DuplicateKey, Query, Store
from app.store.notifications import (
    Channels,
    Deliveries,
    Notifications,
    ReadMarks,
    Secrets,
    ToldReleases,
    Watermarks,
)
from app.store.sealing import NoKey, NotOpened, Sealer
from tests.domain.builders import HOUR, MINUTE, NOW, SECOND

ADA = Actor("ada", "Ada")
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECRETS = ChannelSecrets("https://hooks.example/T0/very-secret", ("whsec_b", "whsec_a"), NOW)


def channel(number: int) -> Channel:
    at = NOW + number * SECOND
    return Channel(f"cha_{number}", f"Channel {number}", ChannelKind.WEBHOOK, "https://x", ADA, at)


def delivery(number: int, release: str = "rel_1", to: str = "cha_1", *, reminder: int = 0) -> Delivery:
    notice = Notice(NotificationType.BAKE_ENDED, number, NOW, reminder)
    id = f"dlv_{release}_{number}_{reminder}_{to}"
    return new_delivery(id, to, release, "checkout", notice, NOW + number * SECOND)


async def test_channels_are_kept_in_order_and_by_different_names(store: Store) -> None:
    """All of them, the first made first; a second one of a name, letter case aside, is not stored."""
    channels = Channels(store)
    for number in (2, 0, 1):
        await channels.add(channel(number))
    assert await channels.all() == [channel(0), channel(1), channel(2)]
    with pytest.raises(DuplicateKey):
        await channels.add(structs.replace(channel(3), name="CHANNEL 1"))


async def test_secrets_are_sealed_and_come_back_whole(store: Store) -> None:
    """What lies in the store tells no target and no secret; of two changes at once both stay; forgotten it is gone."""
    secrets = Secrets(store, Sealer((OLD,)))
    await secrets.keep("cha_1", SECRETS, NOW)
    assert await secrets.of("cha_1") == SECRETS
    (document,) = await store.collection("channel_secrets").find(Query(sort="sealed_ms"))
    assert not any(secret in document.body for secret in ("hooks.example", "very-secret", "whsec_"))

    changes = (partial(structs.replace, signing=("whsec_c",)), partial(structs.replace, target="https://elsewhere"))
    await asyncio.gather(*(secrets.change("cha_1", change, NOW) for change in changes))
    assert await secrets.of("cha_1") == structs.replace(SECRETS, signing=("whsec_c",), target="https://elsewhere")
    assert await secrets.change("cha_none", changes[0], NOW) is None
    await secrets.forget("cha_1")
    await secrets.forget("cha_1")
    assert await secrets.of("cha_1") is None


async def test_keys_can_be_changed(store: Store) -> None:
    """With the new key first and the old one after it both open; with another one alone nothing does."""
    await Secrets(store, Sealer((OLD,))).keep("cha_old", SECRETS, NOW)
    both = Secrets(store, Sealer((NEW, OLD)))
    await both.keep("cha_new", SECRETS, NOW)
    assert await both.of("cha_old") == SECRETS
    only_new = Secrets(store, Sealer((NEW,)))
    assert await only_new.of("cha_new") == SECRETS
    with pytest.raises(NotOpened):
        await only_new.of("cha_old")
    without = Secrets(store, Sealer(()))
    assert not without.has_key
    with pytest.raises(NoKey):
        await without.of("cha_new")
    with pytest.raises(NoKey):
        await without.keep("cha_new", SECRETS, NOW)


async def test_the_first_of_a_release_is_the_first_to_go(store: Store) -> None:
    """By event and reminder, whatever order they were stored in; what has ended makes way for the next."""
    deliveries = Deliveries(store)
    order = [delivery(2), delivery(2, reminder=1), delivery(2, reminder=10), delivery(10), delivery(11)]
    for each in (order[3], order[1], order[4], order[0], order[2]):
        await deliveries.add(each)
    await deliveries.add(delivery(1, "rel_2"))
    await deliveries.add(delivery(1, to="cha_10"))

    seen = []
    while (first := await deliveries.first_of("cha_1", "rel_1")) is not None:
        seen.append(first.id)
        assert await deliveries.save(sent(first, NOW))
    assert seen == [each.id for each in order]


async def test_what_is_due_is_found_by_channel(store: Store) -> None:
    """The longest due first; a lease and a retry put it off, and what was sent or given up is never due."""
    deliveries = Deliveries(store)
    for number in range(1, 6):
        await deliveries.add(delivery(number, f"rel_{number}"))
    await deliveries.add(delivery(1, to="cha_2"))
    assert not await deliveries.is_any_due(NOW)
    assert [each.sequence for each in await deliveries.due_to("cha_1", NOW + 3 * SECOND, 2)] == [1, 2]

    under_way = begun(delivery(1, "rel_1"), NOW + SECOND, 15 * SECOND)
    assert await deliveries.save(under_way)
    assert not await deliveries.save(begun(delivery(1, "rel_1"), NOW + SECOND, 15 * SECOND))
    assert await deliveries.save(failed(under_way, "500", NOW + 2 * SECOND, 0))
    second, third = delivery(2, "rel_2"), delivery(3, "rel_3")
    assert await deliveries.save(sent(second, NOW))
    assert await deliveries.save(dead(third, "gone"))

    assert [each.sequence for each in await deliveries.due_to("cha_1", NOW + HOUR, 10)] == [4, 5, 1]
    assert await deliveries.is_due_to("cha_2", NOW + SECOND)
    assert not await deliveries.is_due_to("cha_3", NOW + HOUR)
    assert await deliveries.is_any_due(NOW + SECOND)
    assert await deliveries.save(resent(dead(third, "gone"), NOW + HOUR))
    assert await deliveries.first_of("cha_1", "rel_3") == resent(dead(third, "gone"), NOW + HOUR)


async def test_deliveries_are_paged_by_channel_and_status(store: Store) -> None:
    """The newest first, each once; of one status where asked for."""
    deliveries = Deliveries(store)
    for number in range(1, 6):
        await deliveries.add(delivery(number))
    await deliveries.add(delivery(1, to="cha_2"))
    assert await deliveries.save(sent(delivery(4), NOW))
    pages, after, more = [], None, True
    while more:
        page = await deliveries.page("cha_1", 2, after)
        pages.append([each.sequence for each in page.values])
        after, more = Deliveries.cursor(page.values[-1]), page.has_next
    assert pages == [[5, 4], [3, 2], [1]]
    done = await deliveries.page("cha_1", 10, None, DeliveryStatus.SENT)
    assert [each.sequence for each in done.values] == [4]


def notification(number: int, audience: str) -> Notification:
    at = NOW + number * SECOND
    return Notification(
        f"ntf_{number}", NotificationType.BAKE_ENDED, audience, "rel_1", "checkout", number, 0, "t", "x", at, at
    )


async def test_notifications_are_paged_by_audience_and_read_by_each(store: Store) -> None:
    """Of several audiences together, the newest first; a mark is its reader's alone, and twice is once."""
    notifications, marks = Notifications(store), ReadMarks(store)
    for number, audience in enumerate(["reviewers", "ann", "bob", "ann", "reviewers"]):
        await notifications.add(notification(number, audience))
    page = await notifications.page(("reviewers", "ann"), 3, None)
    assert ([each.id for each in page.values], page.has_next) == (["ntf_4", "ntf_3", "ntf_1"], True)
    rest = await notifications.page(("reviewers", "ann"), 3, Notifications.cursor(page.values[-1]))
    assert ([each.id for each in rest.values], rest.has_next) == (["ntf_0"], False)
    assert [each.id for each in await notifications.made_since(NOW + 3 * SECOND, 10)] == ["ntf_3", "ntf_4"]

    await marks.add(ReadMark("ann", "ntf_3", NOW))
    with pytest.raises(DuplicateKey):
        await marks.add(ReadMark("ann", "ntf_3", NOW + MINUTE))
    assert await marks.read_by("ann", ["ntf_3", "ntf_4"]) == {"ntf_3"}
    assert await marks.read_by("bob", ["ntf_3", "ntf_4"]) == set()


async def test_what_was_told_moves_on_for_one_teller_at_a_time(store: Store) -> None:
    """Of several who have told the same, one writes it down; reminders are found when they are due."""
    told = ToldReleases(store)
    first = Told("rel_1", 2, remind_at=NOW + MINUTE, revision=1)
    assert sorted(await asyncio.gather(*(told.put(first) for _ in range(3)))) == [False, False, True]
    assert await told.to_remind(NOW, 10) == []
    assert await told.to_remind(NOW + MINUTE, 10) == ["rel_1"]
    assert await told.put(structs.replace(first, sequence=3, remind_at=None, revision=2))
    assert not await told.put(structs.replace(first, sequence=3, remind_at=None, revision=2))
    assert await told.to_remind(NOW + timedelta(days=1), 10) == []

    marks = Watermarks(store)
    await marks.add(Watermark("told", NOW, NOW))
    assert await marks.save(Watermark("told", NOW, NOW + HOUR, 2))
    assert await marks.get("told") == Watermark("told", NOW, NOW + HOUR, 2)
