"""The event stream: who hears of what, how often, and how a stream ends."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import msgspec
import pytest

from app.domain.releases import ReleaseAction
from app.services import Services
from app.settings import Settings
from tests.api.serving import Api, serving
from tests.conftest import Clock
from tests.domain.builders import ADMIN, HOUR, SECOND, member_of, phase, review, rule, spec
from tests.ofrep.calling import FLAGS, Application, admitted, application, body_of, start_release_at
from tests.scene import act, eventually, make_environments

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

EVENTS = "/ofrep/v1/events"
RESTS = pytest.mark.parametrize("heartbeat", [0.05])


@pytest.fixture
def told() -> dict[str, object]:
    """What a test's process is told besides."""
    return {}


@pytest.fixture
def settings(settings: Settings, told: dict[str, object]) -> Settings:
    """As ever, but for what the test says."""
    return settings.model_copy(update=told)


@pytest.fixture
def heartbeat() -> float | None:
    """Seconds between two signs of life; None for as many as in production, which no test waits for."""
    return None


@pytest.fixture(autouse=True)
def beating(heartbeat: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams rest but a moment between two events, and give as many signs of life as the test says."""
    monkeypatch.setattr("app.ofrep.events._REST_SECONDS", 0.01)
    if heartbeat is not None:
        monkeypatch.setattr("app.ofrep.events._HEARTBEAT_SECONDS", heartbeat)


@pytest.fixture
async def shop(api: Api) -> Application:
    """An application in production."""
    await make_environments(api.services)
    return await application(api)


class Stream:
    """What a client has heard so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.blocks: list[str] = []
        self.is_over = False
        self.error: Exception | None = None

    @property
    def events(self) -> list[dict[str, str]]:
        """The events, field by field."""
        return [
            dict(line.split(": ", 1) for line in block.splitlines())
            for block in self.blocks
            if not block.startswith((":", "retry"))
        ]

    @property
    def beats(self) -> int:
        """How many signs of life there were."""
        return self.blocks.count(": still here")

    async def hears(self, events: int) -> dict[str, str]:
        """The latest event, once there are so many."""
        await eventually(lambda: len(self.events) >= events)
        assert len(self.events) == events
        return self.events[-1]

    async def hears_nothing(self) -> None:
        """Return when it has looked at the state twice more and had nothing to tell."""
        beats, events = self.beats, len(self.events)
        await eventually(lambda: self.beats >= beats + 2)
        assert len(self.events) == events

    async def read(self) -> None:
        """Read to the end."""
        try:
            text = ""
            async for chunk in self.response.aiter_text():
                *blocks, text = (text + chunk).split("\n\n")
                self.blocks += blocks
        except httpx.HTTPError as error:
            self.error = error
        self.is_over = True

    async def ends(self) -> None:
        """Return when the server has ended it, and properly."""
        await eventually(lambda: self.is_over)
        assert self.error is None


async def address(shop: Application) -> str:
    """The address that a bulk answer gives."""
    (stream,) = (await shop.all()).json()["eventStreams"]
    return str(stream["endpoint"]["requestUri"])


@asynccontextmanager
async def opened(shop: Application, at: str | None = None, **headers: str) -> AsyncIterator[Stream]:
    """A stream, at the address of now unless another is given, from its first bytes to the end of the block."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with shop.http.stream("GET", at or await address(shop), headers=sent) as response:
        assert response.status_code == 200, await response.aread()
        stream = Stream(response)
        reading = asyncio.create_task(stream.read())
        try:
            await eventually(lambda: bool(stream.blocks))
            yield stream
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


# --- who is let in ----------------------------------------------------------------------------------------------------


async def test_a_stream_needs_its_ticket(shop: Application, api: Api) -> None:
    """401 with OFREP's body unless key and ticket belong together; a key in a header does not stand for them."""
    other = await application(api)
    good = {name: values[0] for name, values in parse_qs(urlsplit(await address(shop)).query).items()}
    assert good.keys() == {"key", "ticket", "since"}
    bad: list[dict[str, str]] = [
        {},
        good | {"ticket": ""},
        good | {"ticket": good["ticket"][:-1]},
        good | {"ticket": good["ticket"].upper()},
        good | {"ticket": "é\0"},
        good | {"key": other.key.id},
        good | {"key": "sdk_none"},
        good | {"key": ""},
        {"key": good["key"]},
        {"ticket": good["ticket"]},
        {"key": good["key"], "ticket": shop.secret},
        {"key": good["key"], "ticket": shop.key.secret_hash},
    ]
    for query in (urlencode(each) for each in bad):
        headers = {"x-api-key": shop.secret, "authorization": f"Bearer {shop.secret}"}
        response = await api.http.get(f"{EVENTS}?{query}", headers=headers)
        assert (response.status_code, response.json().keys()) == (401, {"errorDetails"}), query
    for strange in ("%", "%ff=%fe", "&&&=;", "key[]=1", "key=" + "x" * 9_000):
        assert (await api.http.get(f"{EVENTS}?{strange}")).status_code == 401


async def test_a_ticket_is_of_no_other_use(shop: Application, api: Api) -> None:
    """Whoever reads an address in a log hears that something changed, and evaluates nothing."""
    query = urlsplit(await address(shop)).query
    ticket = parse_qs(query)["ticket"][0]
    for headers in ({"x-api-key": ticket}, {"authorization": f"Bearer {ticket}"}, {}):
        assert (await api.http.post(f"{FLAGS}?{query}", content=body_of({}), headers=headers)).status_code == 401


async def test_a_stream_is_got(shop: Application) -> None:
    """Any method but GET is 405 and says so."""
    response = await shop.http.post(await address(shop))
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert response.json() == {"errorDetails": "Use GET."}


async def test_a_revoked_key_ends_its_streams(shop: Application, api: Api) -> None:
    """At once, also one that has just been opened, and no other key's; the ticket opens no other."""
    other = await application(api)
    at = await address(shop)
    async with opened(shop) as settled, opened(other) as kept:
        await asyncio.sleep(0.1)  # it waits for a change by now
        async with opened(shop) as fresh:
            await api.services.sdk_keys.revoke(shop.key.id, ADMIN)
            await settled.ends()
            await fresh.ends()
        assert (await api.http.get(at)).status_code == 401
        assert not kept.is_over
    async with opened(other):
        pass


async def test_a_key_that_is_revoked_in_the_moment_between_ends_its_stream(
    shop: Application, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a stream rests after an event nobody waits to be woken, and still it hears of the end of its key."""
    monkeypatch.setattr("app.ofrep.events._REST_SECONDS", 0.5)
    async with opened(shop) as stream:
        await api.services.sdk_keys.revoke(shop.key.id, ADMIN)
        await stream.ends()


@RESTS
async def test_an_expired_key_ends_its_streams(api: Api, clock: Clock) -> None:
    """By the next sign of life."""
    await make_environments(api.services)
    async with opened(await application(api, lifetime=HOUR)) as stream:
        clock.advance(HOUR - SECOND)
        await stream.hears_nothing()
        clock.advance(SECOND)
        await stream.ends()


# --- what is heard ----------------------------------------------------------------------------------------------------


@RESTS
async def test_who_has_missed_nothing_hears_nothing(shop: Application, api: Api) -> None:
    """A stream begins with how soon to come back, and tells of nothing that the bulk answer had."""
    await start_release_at(api, phase("canary"))
    at = await address(shop)
    for _ in range(2):
        async with opened(shop, at) as stream:
            assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert "content-length" not in stream.response.headers
            assert stream.blocks[0] == "retry: 1000"
            await stream.hears_nothing()


async def test_who_has_missed_something_is_told_at_once(shop: Application, api: Api) -> None:
    """One event for all that changed since `since`, or since Last-Event-ID, which knows better."""
    old = await address(shop)
    release = await start_release_at(api, phase("canary"), phase("most"))
    await act(api.services, release, ReleaseAction.SKIP)
    async with opened(shop, old) as stream:
        event = await stream.hears(1)
    assert f"since={event['id']}" in await address(shop)
    async with opened(shop, old, last_event_id="of another server") as stream:
        assert (await stream.hears(1))["id"] == event["id"]


@RESTS
async def test_last_event_id_outranks_since(shop: Application, api: Api) -> None:
    """A browser comes back to the old address with the id of the last event: it hears nothing twice."""
    old = await address(shop)
    await start_release_at(api, phase("canary"))
    async with opened(shop, old) as stream:
        event = await stream.hears(1)
    async with opened(shop, old, last_event_id=event["id"]) as stream:
        await stream.hears_nothing()
    async with opened(shop, old.partition("&since")[0]) as stream:
        await stream.hears_nothing()


@RESTS
async def test_a_phase_and_an_abort_are_each_one_event(shop: Application, api: Api) -> None:
    """Each with the new version as its id, the change as its etag, and what it says to do."""
    release = await start_release_at(api, phase("canary"), phase("most"))
    async with opened(shop) as stream:
        for number, action in enumerate((ReleaseAction.SKIP, ReleaseAction.ABORT), 1):
            release = (await act(api.services, release, action)).release
            event = await stream.hears(number)
            assert event.keys() == {"id", "event", "data"}
            assert event["event"] == "message"
            told = msgspec.json.decode(event["data"])
            assert told.keys() == {"type", "etag", "lastModified"}
            assert (told["type"], told["etag"]) == ("refetchEvaluation", f"{release.id}.{release.revision}")
            assert type(told["lastModified"]) is int
            await stream.hears_nothing()
            query = f"?flagConfigEtag={told['etag']}&flagConfigLastModified={told['lastModified']}"
            answer = await shop.all(member_of("canary"), query=query)
            assert [flag["value"] for flag in answer.json()["flags"]] == [action is ReleaseAction.SKIP]
            assert f"since={event['id']}" in answer.json()["eventStreams"][0]["endpoint"]["requestUri"]


@RESTS
async def test_what_changes_nobody_s_answer_is_no_event(shop: Application, api: Api) -> None:
    """A pause, its end, a phase that waits for review and a first of two approvals are for nobody to fetch."""
    release = await start_release_at(api, phase("canary"), review("most", 2))
    async with opened(shop) as stream:
        for action in (ReleaseAction.PAUSE, ReleaseAction.UNPAUSE, ReleaseAction.SKIP, ReleaseAction.APPROVE):
            release = (await act(api.services, release, action)).release
            await stream.hears_nothing()


@RESTS
async def test_another_environment_s_change_is_no_event(shop: Application, api: Api) -> None:
    """A change in one environment is heard by its applications alone."""
    staging = await application(api, "staging")
    await start_release_at(api)
    async with opened(shop) as here, opened(staging) as there:
        only = spec(True, rule(False, environments=("staging",)))
        await api.services.catalog.update_feature("checkout", only, None, None, ADMIN)
        await there.hears(1)
        await here.hears_nothing()


async def test_many_changes_in_a_moment_are_few_events(
    shop: Application, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams rest after an event, so that a client fetches once for many; the last event has the last version."""
    monkeypatch.setattr("app.ofrep.events._REST_SECONDS", 1.0)
    release = await start_release_at(api, *(phase(f"p{n}") for n in range(25)))
    async with opened(shop) as stream:
        for _ in range(24):
            release = (await act(api.services, release, ReleaseAction.SKIP)).release
        latest = parse_qs(urlsplit(await address(shop)).query)["since"][0]
        await eventually(lambda: bool(stream.events) and stream.events[-1]["id"] == latest)
        assert len(stream.events) <= 12


@RESTS
async def test_signs_of_life_come_while_nothing_changes(shop: Application) -> None:
    """Comments, which clients pass over, keep proxies from closing a stream."""
    async with opened(shop) as stream:
        await eventually(lambda: stream.beats >= 3)
    assert set(stream.blocks[1:]) == {": still here"}


async def test_a_change_on_another_process_is_heard(shop: Application, api: Api, neighbour: Services) -> None:
    """The event names the change; who fetches with that name from yet another process gets what it changed."""
    release = await start_release_at(api, phase("canary"), phase("most"))
    async with serving(neighbour) as there:
        same = Application(there.http, shop.key, shop.secret)
        await eventually(lambda: admitted(same))
        async with opened(same) as stream:
            await act(api.services, release, ReleaseAction.SKIP)
            told = msgspec.json.decode((await stream.hears(1))["data"])
        answer = await shop.all(member_of("most"), query=f"?flagConfigEtag={told['etag']}")
        assert answer.json()["flags"][0]["value"] is True


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [{"max_event_streams": 2}])
async def test_there_are_so_many_streams(shop: Application, api: Api) -> None:
    """Beyond `max_event_streams` 503 with Retry-After; whoever goes makes room."""
    at = await address(shop)
    async with opened(shop, at):
        async with opened(shop, at):
            response = await api.http.get(at)
            assert (response.status_code, response.json().keys()) == (503, {"errorDetails"})
            assert int(response.headers["retry-after"]) >= 1
            assert (await shop.all()).status_code == 200
        await eventually(lambda: is_room(shop, at))


async def is_room(shop: Application, at: str) -> bool:
    """Whether a stream can be opened."""
    async with shop.http.stream("GET", at) as response:
        return response.status_code == 200


@pytest.mark.parametrize("told", [{"max_event_streams": 5}])
async def test_who_goes_leaves_nothing_behind(shop: Application, api: Api) -> None:
    """However clients go, and whenever: no place is held and no task runs for them."""
    at = await address(shop)
    port = httpx.URL(api.url).port
    assert port is not None
    asked = f"GET {at} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    before = len(asyncio.all_tasks())
    for round in range(4):
        gone = list[Any]()
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked)
            if round:
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            gone.append(writer)
        for writer in gone:
            if round == 2:
                linger = b"\x01\0\0\0\0\0\0\0"  # with a reset
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        for _ in range(5):
            await eventually(lambda: is_room(shop, at))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            await eventually(lambda: is_room(shop, at))
            await stack.enter_async_context(opened(shop, at))
        assert not await is_room(shop, at)
    await eventually(lambda: is_room(shop, at))
    await eventually(lambda: len(asyncio.all_tasks()) <= before)


@pytest.mark.parametrize("rest", [0.01, 0.5])
async def test_a_server_that_stops_ends_its_streams(
    services: Services, rest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Properly and at once, whether they wait or rest after an event: long before the server would cut them off."""
    monkeypatch.setattr("app.ofrep.events._REST_SECONDS", rest)
    await make_environments(services)
    async with (
        httpx.AsyncClient(timeout=20, trust_env=False, verify=False) as http,
        contextlib.AsyncExitStack() as stack,
    ):
        async with serving(services) as api:
            shop = await application(api)
            http.base_url = api.http.base_url
            shop.http = http  # the server's own client is closed before it stops
            streams = [await stack.enter_async_context(opened(shop)) for _ in range(5)]
        for stream in streams:
            await stream.ends()
