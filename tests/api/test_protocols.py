"""The protocols to the letter, told by programs of others: npm's audits of GraphQL over HTTP, and graphql-ws on `ws`.

The scripts in `node/` are ours. What they stand on is installed from npm, outside of the repository.
"""

import asyncio
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio
from pydantic import SecretStr

from app.domain.access import Role
from app.domain.releases import ReleaseAction
from app.services import open_services
from app.settings import Settings
from tests.api.serving import Api, serving
from tests.conftest import Clock
from tests.domain.builders import ADMIN, phase
from tests.node.programs import PATIENCE, Fact, Threads, install, threads
from tests.scene import act, start_release

PACKAGES = ("graphql@16.15.0", "graphql-http@1.23.1", "graphql-ws@6.4.2", "ws@8.23.0")
SCRIPTS = Path(__file__).parent / "node"
README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.asyncio(loop_scope="module")

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture(scope="module")
def node_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that has the packages of npm."""
    return install(PACKAGES, tmp_path_factory.mktemp("node"), "THE PROTOCOLS ARE NOT AUDITED")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(node_packages: Path) -> AsyncIterator[Threads]:
    """A process of Node that has the packages of npm."""
    async with threads(node_packages) as node:
        yield node


def small(folder: Path, valkey_url: str) -> Settings:
    """Limits so small that a test reaches them, on a store in that folder."""
    return Settings(
        store_url=f"sqlite:///{folder / 'slipway.db'}",
        redis_url=valkey_url,
        admin_token=SecretStr("protocols-" * 2),
        requests_per_minute=0,
        messages_per_second=20,
    )


@pytest.fixture
def settings(tmp_path: Path, valkey_url: str) -> Settings:
    """What a server on a store of the test's own is told."""
    return small(tmp_path, valkey_url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A server for all that needs no setting or data of its own."""
    async with open_services(small(tmp_path_factory.mktemp("shared"), valkey_url)) as services:
        await services.store.prepare()
        async with serving(services) as api:
            yield api


@pytest.fixture
def limited(settings: Settings, clock: Clock) -> Serve:
    """A server with some settings of its own."""

    @asynccontextmanager
    async def run(**limits: object) -> AsyncIterator[Api]:
        async with open_services(settings.model_copy(update=limits), clock) as services:
            await services.store.prepare()
            async with serving(services) as api:
                yield api

    return run


async def facts(node: Threads, api: Api, scenario: str, token: str | None = None) -> list[Fact]:
    """All that a scenario of `websockets.mjs` tells."""
    return [fact async for fact in websockets(node, api, scenario, token)]


def websockets(node: Threads, api: Api, scenario: str, token: str | None = None) -> AsyncGenerator[Fact, None]:
    """What a scenario of `websockets.mjs` tells, as it does."""
    return node.run(SCRIPTS / "websockets.mjs", api.websocket_url, token or api.token, scenario)


def closes(told: list[Fact]) -> list[tuple[int, str]]:
    """How the server closed sockets."""
    return [(fact["code"], fact["reason"]) for fact in told if "code" in fact]


# --- HTTP -------------------------------------------------------------------------------------------------------------


async def test_the_public_audits_of_graphql_over_http_find_nothing(node: Threads, shared: Api) -> None:
    """Every audit of npm's graphql-http is passed: no error, no warning, no notice."""
    audits = [audit async for audit in node.run(SCRIPTS / "audits.mjs", shared.url, shared.token)]

    found = [audit for audit in audits if audit["status"] != "ok"]
    print(Counter(audit["status"] for audit in audits))  # for the report: pytest -rP
    assert found == []
    assert len(audits) >= 60


# --- websockets -------------------------------------------------------------------------------------------------------

ANSWER = {"next": {"data": {"__typename": "Query"}}}
TRANSPORT_4400 = "Not a message of graphql-transport-ws: "
NORMAL = (1000, "Normal Closure")

# By scenario: the limits it needs, the code, and how the reason begins.
CLOSED: dict[str, tuple[dict[str, object], int, str]] = {
    "bad: not JSON": ({}, 4400, "WebSocket message must be valid JSON"),
    "bad: binary": ({}, 4400, "WebSocket message type must be text"),
    "bad: a list": ({}, 4400, TRANSPORT_4400),
    "bad: an unknown type": ({}, 4400, TRANSPORT_4400),
    "bad: no type": ({}, 4400, TRANSPORT_4400),
    "bad: an id that is a number": ({}, 4400, TRANSPORT_4400),
    "bad: an id that is an object": ({}, 4400, TRANSPORT_4400),
    "bad: no payload": ({}, 4400, TRANSPORT_4400),
    "bad: a payload of null": ({}, 4400, TRANSPORT_4400),
    "bad: a query that is a number": ({}, 4400, TRANSPORT_4400),
    "bad: variables that are text": ({}, 4400, TRANSPORT_4400),
    "bad: a ping of text": ({}, 4400, TRANSPORT_4400),
    "bad: an init of text": ({}, 4400, TRANSPORT_4400),
    "bad: JSON 200,000 deep": ({}, 4400, "WebSocket message must be valid JSON"),
    "a query that is a number": ({}, 4400, TRANSPORT_4400),
    "an ack before its time": ({}, 4400, TRANSPORT_4400),
    "a subscribe before its time": ({}, 4401, "Unauthorized"),
    "a wrong token": ({}, 4403, "Forbidden"),
    "no token": ({}, 4403, "Forbidden"),
    "the retired protocol": ({}, 4406, "Subprotocol not acceptable"),
    "an unknown protocol": ({}, 4406, "Subprotocol not acceptable"),
    "no protocol": ({}, 4406, "Subprotocol not acceptable"),
    "no init": ({"init_seconds": 0.2}, 4408, "Connection initialisation timeout"),
    "silence": ({"init_seconds": 0.2}, 4408, "Connection initialisation timeout"),
    "an id twice": ({}, 4409, "Subscriber for same already exists"),
    "an init twice": ({}, 4429, "Too many initialisation requests"),
    "inits at once": ({}, 4429, "Too many initialisation requests"),
    "many messages": ({}, 1008, "Too many messages a second"),
    "a long message": ({}, 1009, ""),
    "a very long message": ({}, 1009, ""),
    "one socket too many": ({"max_sockets": 1}, 1013, "Too many websockets are open here"),
}

# Scenarios that end well, or that a test below looks at more closely.
OTHERS = {
    "a query",
    "a syntax error",
    "an empty init",
    "a subscription",
    "a ping",
    "a subscription that goes on",
}


async def test_every_scenario_is_looked_at(node: Threads) -> None:
    """No scenario of the script is forgotten here, and none is asked for that it lacks."""
    ((*named,),) = [fact async for fact in node.run(SCRIPTS / "websockets.mjs", "", "", "--list")]
    assert {*named} == {*CLOSED, *OTHERS}


@pytest.mark.parametrize("scenario", CLOSED)
async def test_the_socket_is_closed_with_the_code_of_the_protocol(
    node: Threads, shared: Api, limited: Serve, scenario: str
) -> None:
    """The client sees the code, once, and a reason that says why; the server goes on."""
    limits, code, reason = CLOSED[scenario]
    async with limited(**limits) if limits else nullcontext(shared) as api:
        told = await facts(node, api, scenario)
        assert await api.ask("{ __typename }") == ANSWER["next"]["data"]

    (closed, *more) = [close for close in closes(told) if close != NORMAL]
    assert not more
    assert closed[0] == code
    assert closed[1].startswith(reason)


async def test_too_many_sockets_of_one_token_are_refused(node: Threads, limited: Serve) -> None:
    """The second socket of a token is closed with 1013 where one is allowed; the first goes on to its normal end."""
    async with limited(max_sockets_per_token=1) as api:
        told = await facts(node, api, "one socket too many")
    assert closes(told) == [(1013, "Too many websockets are open with this token")]


async def test_the_client_is_answered(node: Threads, shared: Api) -> None:
    """A query comes back and completes; after a syntax error the same socket answers the next; init may be empty."""
    asked = await facts(node, shared, "a query")
    wrong = await facts(node, shared, "a syntax error")
    empty = await facts(node, shared, "an empty init")

    answered = [{"connected": True}, ANSWER, {"complete": True}]
    assert sorted(map(str, asked)) == sorted(map(str, [*answered, {"code": 1000, "reason": "Normal Closure"}]))
    assert empty[:2] == answered[:2]
    (failed,) = (fact["errors"] for fact in wrong if "errors" in fact)
    assert failed[0]["message"].startswith("Syntax Error: ")
    assert [fact for fact in wrong if "connected" in fact] == [{"connected": True}]
    assert ANSWER in wrong
    assert closes(asked) == closes(wrong) == [NORMAL]


async def test_a_pong_brings_back_what_the_ping_took_along(node: Threads, shared: Api) -> None:
    """The payload of a pong is that of its ping."""
    told = await facts(node, shared, "a ping")
    assert {"received": True, "payload": {"at": 1, "nested": {"é": [None]}}} in told


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_token_that_is_no_longer_valid_loses_its_sockets(
    node: Threads, limited: Serve, clock: Clock, how: str
) -> None:
    """An open subscription is closed with 4403 within 5 s of its token's end, and the next socket is not let in."""
    async with limited() as api:
        await start_release(api.services, phase("a"))
        token, secret = await api.services.tokens.create("laptop", Role.VIEWER, timedelta(hours=1), ADMIN)
        told = websockets(node, api, "a subscription", secret)
        assert await anext(told) == {"connected": True}
        assert (await anext(told))["next"]["data"]["releases"]["revision"] == 1

        if how == "revoked":
            assert (await api.mutate("revokeToken", id=token.id))["__typename"] == "RevokeTokenPayload"
        else:
            clock.advance(timedelta(hours=2))
        ended = time.monotonic()
        last = [fact async for fact in told]
        took = time.monotonic() - ended

        assert closes(last) == [(4403, "Forbidden: the token has expired or was revoked")]
        print(f"{how}: closed after {took:.1f} s")  # for the report: pytest -rP
        assert took < 5 + 3  # the slack is for a machine that is busy
        assert closes(await facts(node, api, "a query", secret)) == [(4403, "Forbidden")]


async def test_a_subscription_goes_on_after_the_server_was_started_again(
    node: Threads, settings: Settings, clock: Clock
) -> None:
    """graphql-ws connects again by itself, and is told what changed meanwhile and what changes then."""
    async with open_services(settings, clock) as services:
        await services.store.prepare()
        release = await start_release(services, phase("a"), phase("b"))
        async with serving(services) as api:
            told = websockets(node, api, "a subscription that goes on")
            assert await anext(told) == {"connected": True}
            assert (await anext(told))["next"]["data"]["releases"] == {"id": release.id, "revision": 1}
        assert (await anext(told))["code"] == 1012

        release = (await act(services, release, ReleaseAction.PAUSE)).release
        async with serving(services, port=api.port):
            async for fact in told:
                if "connected" in fact:
                    break
            assert (await anext(told))["next"]["data"]["releases"] == {"id": release.id, "revision": 2}
            release = (await act(services, release, ReleaseAction.UNPAUSE)).release
            assert (await anext(told))["next"]["data"]["releases"] == {"id": release.id, "revision": 3}
            await told.aclose()


# --- the README's -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(language: str, folder: Path, api: Api, release_id: str) -> AsyncIterator[AsyncGenerator[int, None]]:
    """The README's program in that language, by the sequences that it prints, to its end, which must be a good one."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    [text] = [block for block in blocks if "releaseEvents" in block]
    path = folder / {"python": "watch.py", "js": "watch.mjs"}[language]
    path.write_text(text.replace("localhost:8000", f"127.0.0.1:{api.port}"), encoding="utf-8")
    command = sys.executable if language == "python" else shutil.which("node") or "node"
    environment = os.environ | {"TOKEN": api.token, "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        command, str(path), release_id, stdout=asyncio.subprocess.PIPE, env=environment
    )

    async def told() -> AsyncGenerator[int, None]:
        assert process.stdout is not None
        async for line in process.stdout:
            yield int(re.findall(rb"sequence['\"]: ?(\d+)", line)[0])
        assert await process.wait() == 0

    try:
        yield told()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("language", ["python", "js"])
async def test_the_readmes_watchers_miss_nothing_and_end_with_the_release(
    language: str, node_packages: Path, settings: Settings, clock: Clock
) -> None:
    """Each event is told once, that from while the server was away too, and after the last the program ends."""
    async with open_services(settings, clock) as services, AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
        await services.store.prepare()
        release = await start_release(services, phase("a"), phase("b"))
        async with serving(services) as api:
            told = await stack.enter_async_context(watching(language, node_packages, api, release.id))
            sequences = [await anext(told) for _ in release.history]
        release = (await act(services, release, ReleaseAction.PAUSE)).release
        async with serving(services, port=api.port):
            sequences.append(await anext(told))
            release = (await act(services, release, ReleaseAction.ABORT)).release
            sequences += [sequence async for sequence in told]
    assert sequences == [event.sequence for event in release.history]
