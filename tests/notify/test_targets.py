"""Where nothing may be sent, and what looks at it when a connection is made."""

import asyncio
import socket
from typing import Any

import pytest

from app.domain.messages import Message
from app.engine import SystemClock
from app.notify.chats import Chats, NotUnderstood, described, masked
from app.notify.targets import NotDelivered, TargetRefused, Targets
from app.notify.webhooks import Webhooks
from tests.notify.receiving import DRIP, Hooks, response
from tests.scene import eventually

SECRET = "whsec_" + "YWJj" * 8
SAID = Message("Title", "Text", "https://slipway.example/releases/rel_1")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "not an address",
    ],
)
def test_private_addresses_are_refused_in_every_spelling(address: str) -> None:
    """Loopback, link-local, private, shared, multicast, and IPv6 that stands for one of them."""
    with pytest.raises(TargetRefused):
        Targets().check(address)


def test_public_and_allowed_addresses_are_not() -> None:
    """What a setting names is allowed, and nothing beside it."""
    Targets().check("93.184.216.34")
    Targets().check("2606:2800:220:1::1")
    targets = Targets(("10.1.0.0/16", "::1"))
    targets.check("10.1.2.3")
    targets.check("::1")
    targets.check("::ffff:10.1.2.3")
    with pytest.raises(TargetRefused, match="SLIPWAY_ALLOWED_TARGETS"):
        targets.check("10.2.0.1")


async def send(url: str, targets: Targets) -> None:
    webhooks = Webhooks(targets, 2)
    try:
        await webhooks.send(url, [SECRET], "dlv_1", b"{}", SystemClock().now())
    finally:
        await webhooks.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "127.1", "[::ffff:127.0.0.1]"])
async def test_no_webhook_reaches_this_machine(receiver: Hooks, host: str) -> None:
    """Whatever spelling leads there, not even a connection is made."""
    with pytest.raises(NotDelivered):
        await send(receiver.url("/a", host), Targets())
    assert receiver.attempts == {}


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names lead to those addresses, one answer after the other; the names that were asked for."""
    asked: list[str] = []
    remaining = list(answers)

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in remaining.pop(0)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


async def test_a_name_is_looked_up_once_and_that_address_is_taken(
    receiver: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere the second time (DNS rebinding) has no second time; the receiver sees its name."""
    asked = resolving(monkeypatch, ["127.0.0.1"], ["10.9.9.9"])
    await send(f"http://hooks.example:{receiver.port}/a", Targets(("127.0.0.1",)))
    assert asked == ["hooks.example"]
    assert receiver.hosts == [f"hooks.example:{receiver.port}"]


async def test_a_name_that_leads_to_a_private_address_too_is_refused(
    receiver: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad address among good ones is enough."""
    resolving(monkeypatch, ["93.184.216.34", "127.0.0.1"])
    with pytest.raises(TargetRefused):
        await send(f"http://hooks.example:{receiver.port}/a", Targets())
    assert receiver.attempts == {}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(receiver: Hooks, status: int) -> None:
    """A receiver that sends elsewhere has failed, and elsewhere hears of nothing."""
    receiver.answers["/a"].append(response(status, f"location: {receiver.url('/b')}"))
    with pytest.raises(NotDelivered, match="not followed"):
        await send(receiver.url("/a"), Targets(("127.0.0.1",)))
    assert list(receiver.attempts) == ["/a"]


async def test_a_long_answer_is_not_read(receiver: Hooks) -> None:
    """A 200 counts as soon as it is there, however much would follow; endless headers are cut off."""
    receiver.answers["/a"].append(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n" + b"x" * 100_000)
    await send(receiver.url("/a"), Targets(("127.0.0.1",)))
    receiver.answers["/a"].append(b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 1_000_000)
    with pytest.raises(NotDelivered):
        await send(receiver.url("/a"), Targets(("127.0.0.1",)))


async def test_apprise_connects_to_no_private_address(receiver: Hooks) -> None:
    """Its own connections are looked at as they are made; allowed ones go through, and others say how to allow them."""
    url = f"json://127.0.0.1:{receiver.port}/a"
    with pytest.raises(TargetRefused, match="SLIPWAY_ALLOWED_TARGETS"):
        await Chats(Targets(), 20).send("cha_1", url, SAID)
    assert receiver.connections == 0
    await Chats(Targets(("127.0.0.1",)), 20).send("cha_1", url, SAID)
    ((_, body),) = receiver.received["/a"]
    assert (body["title"], body["message"]) == (SAID.title, f"{SAID.text}\n{SAID.link}")


async def test_apprise_follows_no_redirect_and_tells_no_secret(receiver: Hooks) -> None:
    """Though its URL asks for it; why it failed is told without what the URL hides."""
    receiver.answers["/very-secret"].append(response(302, f"location: {receiver.url('/b')}"))
    url = f"json://user:password1@127.0.0.1:{receiver.port}/very-secret?redirect=yes"
    with pytest.raises(NotDelivered, match="302"):
        await Chats(Targets(("127.0.0.1",)), 20).send("cha_1", url, SAID)
    assert list(receiver.attempts) == ["/very-secret"]
    said = f"Could not reach {url} at 127.0.0.1 as user with password1"
    assert (
        masked(said, url)
        == f"Could not reach json://…:…@127.0.0.1:{receiver.port}/…?redirect=yes at 127.0.0.1 as … with …"
    )
    assert masked("no TokenAAAA, TokenB%2F or TokenB/ here", "slack://TokenAAAA/TokenB%2F") == "no …, … or … here"


async def test_an_attempt_that_hangs_is_cut(receiver: Hooks) -> None:
    """When its time is over its connection ends, and with it the thread."""
    chats, url = Chats(Targets(("127.0.0.1",)), 20), f"json://127.0.0.1:{receiver.port}/a"
    await chats.send("cha_1", url, SAID)  # loading Apprise takes longer than the next attempt may
    chats._seconds = 0.5
    receiver.answers["/a"].append(DRIP)
    with pytest.raises(NotDelivered, match=r"within 0\.5 s"):
        await chats.send("cha_1", url, SAID)
    await eventually(lambda: not chats._threads["cha_1"] and not receiver.serving)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("dbus://", "machine"),
        ("slack://A/B/C/?template=/etc/passwd", "files"),
        ("nonsense", "understand"),
        ("unknown://x", "understand"),
        ("", "understand"),
    ],
)
async def test_a_url_that_apprise_does_not_take_is_refused(url: str, why: str) -> None:
    """So is one that would speak to the server's own desktop; nothing of the URL's secrets is repeated."""
    with pytest.raises(NotUnderstood, match=why):
        await described(url)
    assert await described("slack://TokenAAAAAAA/TokenBBBBBBB/TokenCCCCCCCCCCCCCCCCCCC/#ops") == "Slack (slack://…)"
