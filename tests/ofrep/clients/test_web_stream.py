"""OpenFeature's client for browsers, which never polls here: what goes over the wire, and what a restart costs it."""

import asyncio
import time
from contextlib import AsyncExitStack

from app.domain.releases import ReleaseAction
from app.services import Services, open_services
from app.settings import Settings
from tests.api.serving import Api, serving
from tests.conftest import Clock
from tests.node.programs import Fact
from tests.ofrep.clients.conftest import Connect
from tests.ofrep.clients.sdks import NodeClient
from tests.ofrep.clients.shop import ANN, GATE, PATIENCE, PEOPLE, Given, given, make_shop, open_shop, start, turns
from tests.scene import act

FLAGS, EVENTS = "/ofrep/v1/evaluate/flags", "/ofrep/v1/events"

OLD: Given = {"Ann": "old"}
NEW: Given = {"Ann": "new by Norway"}


async def _asked(client: NodeClient) -> list[Fact]:
    """The requests that the client has made since this was last asked."""
    return list(await client.order("requests"))


async def _opened(client: NodeClient) -> Fact:
    """The request for all flags with which the client began, once its stream is open too."""
    asked: list[Fact] = []
    async with asyncio.timeout(PATIENCE):
        while len(asked) < 2:
            asked += await _asked(client)
    flags, stream = sorted(asked, key=lambda request: str(request["method"]), reverse=True)
    assert _short([flags, stream]) == [f"POST {FLAGS} 200", f"GET {EVENTS} 200"]
    return flags


def _short(requests: list[Fact]) -> list[str]:
    return [f"{asked['method']} {asked['path']} {asked['status']}" for asked in requests]


async def test_each_change_is_fetched_once_when_the_stream_tells_of_it(
    services: Services, api: Api, secret: str, web: Connect
) -> None:
    """A change is one request that names it, where it changes a value; an abort gives back exactly what was."""
    async with web(api.base_url, secret, ANN) as client:
        await turns(client, GATE, OLD, OLD)
        etag = (await _opened(client))["etag"]

        release = await start(services, GATE)
        await turns(client, GATE, OLD, NEW)
        (told,) = await _asked(client)
        assert _short([told]) == [f"POST {FLAGS} 200"]
        assert (told["told"], told["ifNoneMatch"]) == (f"{release.id}.1", etag)
        assert told["etag"] != etag

        release = (await act(services, release, ReleaseAction.PAUSE)).release
        release = (await act(services, release, ReleaseAction.ABORT)).release
        answered = time.time()
        await turns(client, GATE, NEW, OLD)
        (back,) = await _asked(client)
        assert (back["told"], back["ifNoneMatch"]) == (f"{release.id}.{release.revision}", told["etag"])
        assert back["etag"] == etag

    assert [fact["changed"] for fact in client.heard if "changed" in fact] == [[GATE], [GATE]]
    print(f"web client: abort seen {client.changed_at - answered * 1000:.0f} ms after it was answered")


async def test_what_is_the_same_for_another_context_is_not_sent_again(
    services: Services, api: Api, secret: str, web: Connect
) -> None:
    """The same context again is a 304 that keeps values and stream; another one is answered anew."""
    await start(services, GATE)
    async with web(api.base_url, secret, ANN) as client:
        await turns(client, GATE, NEW, NEW)
        first = await _opened(client)

        await client.order("move", ["Ann", PEOPLE["Ann"]])
        (same,) = await _asked(client)
        assert _short([same]) == [f"POST {FLAGS} 304"]
        assert same["etag"] == first["etag"]
        assert await given(client, GATE) == NEW

        await client.order("move", ["Ann", {"targetingKey": "ann", "region": "DE"}])
        assert _short(await _asked(client)) == [f"POST {FLAGS} 200"]
        assert await given(client, GATE) == OLD


async def test_a_change_made_while_the_server_was_away_is_told_at_once(
    settings: Settings, clock: Clock, web: Connect
) -> None:
    """The stream connects again by itself, says of which change it knows, and is told of the next."""
    async with open_services(settings, clock) as services, AsyncExitStack() as stack:
        await services.store.prepare()
        secret = await make_shop(services)
        async with open_shop(services) as api:
            client = await stack.enter_async_context(web(api.base_url, secret, ANN))
            release = await start(services, GATE)
            await turns(client, GATE, OLD, NEW)
            await _asked(client)
        assert await client.hear("stale") == "Ann"

        await act(services, release, ReleaseAction.ABORT)
        assert await given(client, GATE) == NEW
        assert await _asked(client) == []
        async with serving(services, port=api.port):
            listening = time.time()
            await turns(client, GATE, NEW, OLD)
            connected, *_ = asked = await _asked(client)
            assert (connected["method"], connected["path"]) == ("GET", EVENTS)
            assert connected["lastEventId"]
            assert asked[-1]["path"] == FLAGS

    print(
        f"web client: abort made meanwhile seen {client.changed_at - listening * 1000:.0f} ms after the server is back"
    )
    print(f"web client: {_short(asked)}")
