"""What a client meets that asks for too much, too often or from the wrong place, on the wire of a real server."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from pydantic import SecretStr
from structlog.typing import EventDict
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from app.domain.access import Role
from app.embedded import EmbeddedValkey
from app.services import open_services
from app.settings import Settings
from tests.api.serving import PROTOCOL, Api, heard, say, serving
from tests.domain.builders import ADMIN
from tests.e2e.processes import serve
from tests.scene import eventually

TOKEN = "over-the-wire-" * 2
QUERY = {"query": "{ __typename }"}
SAVE = 'mutation { saveEnvironment(input: {name: "qa"}) { __typename } }'
MODERN = "application/graphql-response+json"

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture
def limited(tmp_path: Path, valkey_url: str) -> Serve:
    """A server with some settings of its own."""

    @asynccontextmanager
    async def run(**settings: object) -> AsyncIterator[Api]:
        told = {
            "store_url": f"sqlite:///{tmp_path / 'slipway.db'}",
            "redis_url": valkey_url,
            "admin_token": SecretStr(TOKEN),
            "requests_per_minute": 0,
        }
        async with open_services(Settings.model_validate(told | settings)) as services:
            await services.store.prepare()
            async with serving(services) as api:
                yield api

    return run


def directives(response: httpx.Response) -> dict[str, set[str]]:
    """The Content-Security-Policy of an answer."""
    named = (directive.split() for directive in response.headers["content-security-policy"].split(";"))
    return {name: {*values} for name, *values in named}


def code(response: httpx.Response) -> str:
    """The code of an answer's one error."""
    (error,) = response.json()["errors"]
    assert "data" not in response.json()
    found = error["extensions"]["code"]
    assert isinstance(found, str)
    return found


# --- size -------------------------------------------------------------------------------------------------------------


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(limited: Serve) -> None:
    """413 for one byte more than is allowed, whether its length is announced or it comes in pieces."""
    padding = b'{"query": "{ __typename }"}'
    async with limited(max_body_bytes=1_000) as api:

        async def pieces(size: int) -> AsyncIterator[bytes]:
            for start in range(0, size, 100):
                yield padding.ljust(size)[start : start + 100]

        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        assert (await api.post(padding.ljust(1_000))).status_code == 200
        assert (await api.http.post("/graphql", content=pieces(1_000), headers=headers)).status_code == 200
        for response in (
            await api.post(padding.ljust(1_001)),
            await api.http.post("/graphql", content=pieces(1_001), headers=headers),
        ):
            assert response.status_code == 413
            assert code(response) == "PAYLOAD_TOO_LARGE"
            assert "1000 bytes" in response.text


async def test_a_body_of_fifty_megabytes_is_refused_at_once(limited: Serve) -> None:
    """What is announced to be huge is answered without waiting for it."""
    async with limited() as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.http.base_url.port)
        writer.write(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 52428800\r\n"
            + f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
            await reader.read()  # to its end: the connection is closed
        writer.close()


# By limit: what is set, and a request beyond it.
EXCESSIVE: dict[str, tuple[int, dict[str, object]]] = {
    "max_depth": (3, {"query": "{ releases { edges { node { id } } } }"}),
    "max_aliases": (2, {"query": "{ a: __typename b: __typename c: __typename }"}),
    "max_cost": (50, {"query": "{ releases(first: 100) { edges { node { id } } } }"}),
    "max_tokens": (5, {"query": "{ a b c d e f }"}),
    "max_source_bytes": (20, {"query": "{ __typename } # and so on"}),
    "max_variables_bytes": (100, {"query": "{ __typename }", "variables": {"text": "x" * 99}}),
    "max_list_items": (10, {"query": "{ __typename }", "variables": {"l": [0] * 20}}),
    "max_operations": (1, {"query": "query a { __typename } query b { __typename }", "operationName": "a"}),
}  # fmt: skip


@pytest.mark.parametrize("limit", EXCESSIVE)
async def test_asking_too_much_is_told_over_http_and_websocket_alike(limited: Serve, limit: str) -> None:
    """LIMIT_EXCEEDED with the limit: 400 or 200 by media type over HTTP, and an `error` on a socket, which goes on."""
    allowed, request = EXCESSIVE[limit]
    async with limited(**{limit: allowed}) as api:
        modern, old = await api.post(request, accept=MODERN), await api.post(request)
        async with api.raw_socket() as socket:
            await say(socket, {"type": "subscribe", "id": "1", "payload": request})
            told = await heard(socket)
            await say(socket, {"type": "subscribe", "id": "1", "payload": {"query": "{__typename}"}})
            assert (await heard(socket))["payload"] == {"data": {"__typename": "Query"}}

    assert (modern.status_code, old.status_code) == (400, 200)
    assert told["type"] == "error"
    assert modern.json()["errors"] == old.json()["errors"] == told["payload"]
    error = told["payload"][0]
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert (error["extensions"]["limit"], error["extensions"]["allowed"]) == (limit, allowed)


# --- time -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def slow(api: Api, seconds: float) -> AsyncIterator[None]:
    """The store's thread is busy for a while, as with a disk that does not keep up."""
    store = api.services.store
    busy = asyncio.create_task(store.run(lambda _: time.sleep(seconds)))  # type: ignore[attr-defined]
    await asyncio.sleep(0.05)
    yield
    await busy


async def test_an_operation_that_takes_too_long_is_given_up(limited: Serve) -> None:
    """503 TIMEOUT soon after the time is over; what needs no store is answered meanwhile, and all is well after."""
    async with limited(operation_seconds=0.3) as api:
        async with slow(api, 2.5):
            started = time.monotonic()
            response = await api.post({"query": "{ environments { name } }"})
            assert time.monotonic() - started < 2
            assert (await api.post(QUERY)).status_code == 200
        assert response.status_code == 503
        assert code(response) == "TIMEOUT"
        assert "0.3 s" in response.text
        assert await api.ask("{ environments { name } }") == {"environments": []}


async def test_over_a_socket_too_it_is_given_up(limited: Serve) -> None:
    """An `error` with TIMEOUT under its id, and the socket goes on."""
    async with limited(operation_seconds=0.3) as api, slow(api, 1.5), api.raw_socket() as socket:
        await say(socket, {"type": "subscribe", "id": "1", "payload": {"query": "{ environments { name } }"}})
        answer = await heard(socket)
        assert (answer["type"], answer["id"]) == ("error", "1")
        assert [error["extensions"]["code"] for error in answer["payload"]] == ["TIMEOUT"]
        await say(socket, {"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}})
        assert (await heard(socket))["payload"] == {"data": {"__typename": "Query"}}


async def test_a_mutation_that_takes_too_long_is_done_all_the_same(limited: Serve) -> None:
    """503 TIMEOUT, but it is never left half done: soon the environment is there."""
    async with limited(operation_seconds=0.3) as api:
        async with slow(api, 1):
            assert code(await api.post({"query": SAVE})) == "TIMEOUT"

        async def is_saved() -> bool:
            return bool(await api.ask("{ environments { name } }") == {"environments": [{"name": "qa"}]})

        await eventually(is_saved)


# --- how often --------------------------------------------------------------------------------------------------------


def must_wait(response: httpx.Response) -> None:
    """Fails unless it is a 429 that says for how many whole seconds to wait."""
    assert response.status_code == 429
    assert code(response) == "RATE_LIMITED"
    assert response.headers["retry-after"].isdecimal()
    assert 1 <= int(response.headers["retry-after"]) <= 120
    assert response.json()["errors"][0]["extensions"]["retryAfter"] == int(response.headers["retry-after"])


async def test_who_asks_too_often_is_told_how_long_to_wait(limited: Serve, redis_url: str) -> None:
    """By token: one that has used up its minute waits, another one's holder does not, nor on another process."""
    async with limited(requests_per_minute=5) as api:
        _, secret = await api.services.tokens.create("ci", Role.VIEWER, timedelta(hours=1), ADMIN)
        answers = [await api.post(QUERY) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        must_wait(answers[-1])
        assert (await api.post(QUERY, authorization=f"Bearer {secret}")).status_code == 200

    async with limited(requests_per_minute=5) as another:
        must_wait(await another.post(QUERY))


async def test_who_guesses_tokens_is_slowed_down_by_address(limited: Serve, redis_url: str) -> None:
    """Each guess is another token, yet they count together; whoever has a token is let in from that address."""
    async with limited(requests_per_minute=5) as api:
        guesses = [await api.post(QUERY, authorization=f"Bearer slw_{n}") for n in range(6)]
        assert [guess.status_code for guess in guesses] == [401] * 5 + [429]
        must_wait(guesses[-1])
        assert (await api.post(QUERY)).status_code == 200


async def test_an_sdk_key_counts_as_a_guess(limited: Serve, redis_url: str) -> None:
    """Sent where it lets nobody in, it is told so, and slowed down by address like any wrong token."""
    async with limited(requests_per_minute=5) as api:
        answers = [await api.post(QUERY, authorization=f"Bearer slk_{n}") for n in range(6)]
        assert [answer.status_code for answer in answers] == [403] * 5 + [429]
        must_wait(answers[-1])
        assert (await api.post(QUERY, authorization="Bearer slw_wrong")).status_code == 429


@pytest.mark.parametrize("away", ["stopped", "hung"])
async def test_requests_are_counted_while_redis_is_away(limited: Serve, away: str) -> None:
    """They are answered, soon enough, and the process counts for itself."""
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        async with (
            EmbeddedValkey(Path(folder)) as valkey,
            limited(requests_per_minute=3, redis_url=valkey.url) as api,
        ):
            assert valkey.pid is not None
            pid = valkey.pid
            if away == "stopped":
                await valkey.stop()
            else:
                os.kill(pid, signal.SIGSTOP)
            try:
                answers = []
                for _ in range(4):
                    started = time.monotonic()
                    answers.append(await api.post(QUERY))
                    assert time.monotonic() - started < 4
                assert [answer.status_code for answer in answers] == [200] * 3 + [429]
                must_wait(answers[-1])
            finally:
                if away == "stopped":
                    await valkey.start()
                else:
                    os.kill(pid, signal.SIGCONT)


# --- from where -------------------------------------------------------------------------------------------------------

OPS = "https://ops.example.com"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


async def test_pages_elsewhere_may_not_call_unless_they_are_named(limited: Serve) -> None:
    """No page reads an answer or passes a preflight by default; one that is named does, however it was written."""
    async with limited() as api:
        for origin in (OPS, "null", "https://evil.example"):
            preflight = await api.http.options("/graphql", headers={"origin": origin, **PREFLIGHT})
            answer = await api.post(QUERY, origin=origin)
            assert preflight.status_code == 400
            for response in (preflight, answer):
                assert "access-control-allow-origin" not in response.headers
                assert "access-control-allow-credentials" not in response.headers

    async with limited(allowed_origins="https://a.example, HTTPS://Ops.example.com:443/") as api:
        preflight = await api.http.options("/graphql", headers={"origin": OPS, **PREFLIGHT})
        answer = await api.post(QUERY, origin=OPS)
        assert preflight.status_code == 200
        for response in (preflight, answer):
            assert response.headers["access-control-allow-origin"] == OPS
            assert "access-control-allow-credentials" not in response.headers
        assert "origin" in answer.headers["vary"].lower()
        for origin in ("null", "https://evil.example", f"{OPS}.evil.example", "http://ops.example.com"):
            refused = await api.http.options("/graphql", headers={"origin": origin, **PREFLIGHT})
            assert refused.status_code == 400
            assert "access-control-allow-origin" not in (await api.post(QUERY, origin=origin)).headers


async def test_pages_elsewhere_may_not_open_sockets_unless_they_are_named(
    limited: Serve, logs: list[EventDict]
) -> None:
    """The handshake is refused with 403 by the Origin that browsers send, which no page can forge; the log says why."""

    async def handshake(api: Api, origin: str) -> int:
        try:
            async with connect(
                api.websocket_url, origin=Origin(origin), subprotocols=[Subprotocol(PROTOCOL)], proxy=None
            ):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    async with limited() as api:
        own = str(api.http.base_url).rstrip("/")
        assert await handshake(api, own) == 101
        for origin in (OPS, "null", "http://127.0.0.1:1", own.replace("http", "https") + ".evil.example"):
            assert await handshake(api, origin) == 403
    async with limited(allowed_origins=f"{OPS}/") as api:
        assert await handshake(api, OPS) == 101
        assert await handshake(api, "https://evil.example") == 403
    assert [entry["origin"] for entry in logs if "SLIPWAY_ALLOWED_ORIGINS" in entry["event"]][
        -1
    ] == "https://evil.example"


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"],
)
async def test_what_a_page_can_send_without_a_preflight_is_refused(limited: Serve, content_type: str | None) -> None:
    """No form and no text is executed: 415, and nothing has changed."""
    async with limited() as api:
        headers = {"authorization": f"Bearer {TOKEN}"} | (
            {} if content_type is None else {"content-type": content_type}
        )
        response = await api.http.post("/graphql", content=f'{{"query": "{{ __typename }} {"#"}"}}', headers=headers)
        changing = await api.http.post("/graphql", data={"query": SAVE}, headers={"authorization": f"Bearer {TOKEN}"})

        assert (response.status_code, changing.status_code) == (415, 415)
        assert code(response) == code(changing) == "UNSUPPORTED_MEDIA_TYPE"
        assert await api.ask("{ environments { name } }") == {"environments": []}


# --- what answers say -------------------------------------------------------------------------------------------------


async def test_every_answer_has_the_headers_that_bind_browsers(limited: Serve, redis_url: str) -> None:
    """Whatever the path, the method and the status: no sniffing, no framing, no referrer, no caching, no scripts."""
    html, token = {"accept": "text/html"}, {"authorization": f"Bearer {TOKEN}"}
    asked: list[tuple[str, str, dict[str, str], int]] = [
        ("GET", "/graphql", html, 200),
        ("GET", "/graphql?query={__typename}", token, 200),
        ("GET", "/graphql", token, 400),
        ("POST", "/graphql", {}, 401),
        ("GET", "/nothing", {}, 404),
        ("PUT", "/graphql", token, 405),
        ("DELETE", "/healthz", {}, 405),
        ("GET", "/graphql?query={__typename}", token | {"accept": "image/png"}, 406),
        ("POST", "/graphql", token | {"content-type": "application/json"}, 413),
        ("POST", "/graphql", token | {"content-type": "text/plain"}, 415),
        ("OPTIONS", "/graphql", {"origin": OPS, **PREFLIGHT}, 400),
        ("GET", "/healthz", {}, 200),
        ("GET", "/readyz", {}, 200),
        ("GET", "/graphql?query={__typename}", token, 429),
    ]
    async with limited(requests_per_minute=5, max_body_bytes=1) as api:
        for method, path, headers, status in asked:
            response = await api.http.request(method, path, headers=headers, content=b"{}" if method == "POST" else b"")
            assert response.status_code == status, (method, path)
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["x-frame-options"] == "DENY"
            assert response.headers["referrer-policy"] == "no-referrer"
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["cross-origin-opener-policy"] == "same-origin"
            assert "origin" in response.headers["vary"].lower()  # no cache gives one page the answer for another
            policy = directives(response)
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == {"'none'"}
            assert "server" not in response.headers


async def test_a_wrong_method_or_media_type_is_told_the_right_one(limited: Serve) -> None:
    """405 with Allow, mutations over GET too; 406 for what accepts neither media type; 415 for what is no JSON."""
    async with limited() as api:
        headers = {"authorization": f"Bearer {TOKEN}"}
        for method in ("PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
            response = await api.http.request(method, "/graphql", headers=headers)
            assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
        changing = await api.http.get("/graphql", params={"query": SAVE}, headers=headers)
        assert (changing.status_code, changing.headers["allow"]) == (405, "POST")
        assert code(changing) == "METHOD_NOT_ALLOWED"
        for accept in ("image/png", "text/plain", "application/xml, text/*", "application/json;q=0", f"{MODERN}x"):
            response = await api.post(QUERY, accept=accept)
            assert (response.status_code, code(response)) == (406, "NOT_ACCEPTABLE")
        for charset in ("utf-16", "latin-1"):
            response = await api.post(QUERY, **{"content-type": f"application/json; charset={charset}"})
            assert (response.status_code, code(response)) == (415, "UNSUPPORTED_MEDIA_TYPE")
        assert await api.ask("{ environments { name } }") == {"environments": []}


# --- secrets ----------------------------------------------------------------------------------------------------------


async def test_no_token_is_ever_logged(limited: Serve, logs: list[EventDict], caplog: pytest.LogCaptureFixture) -> None:
    """Neither a right nor a wrong one, made, used and revoked, wherever a client puts it."""
    async with limited() as api:
        token, secret = await api.services.tokens.create("ci", Role.VIEWER, timedelta(hours=1), ADMIN)
        wrong = "slw_wrong-and-secret"
        for given in (secret, wrong, TOKEN):
            await api.post(QUERY, authorization=f"Bearer {given}")
            await api.post(b"not JSON", authorization=f"Bearer {given}")
            await api.http.get("/graphql", params={"query": given, "token": given})
            async with api.raw_socket(init=False) as socket:
                await say(socket, {"type": "connection_init", "payload": {"authorization": f"Bearer {given}"}})
        await api.mutate("revokeToken", id=token.id)

    said = str(logs) + caplog.text
    assert token.id in said
    for given in (secret, wrong, TOKEN):
        assert given not in said


async def test_no_token_is_in_the_output_of_a_process_that_logs_all_it_can(tmp_path: Path, valkey_url: str) -> None:
    """`slipway serve` at the level debug, with a token sent over HTTP, in a handshake and in connection_init."""
    environment = {
        "SLIPWAY_STORE_URL": f"sqlite:///{tmp_path / 'slipway.db'}",
        "SLIPWAY_REDIS_URL": valkey_url,
        "SLIPWAY_ADMIN_TOKEN": TOKEN,
        "SLIPWAY_LOG_LEVEL": "debug",
    }
    async with serve(tmp_path / "out", environment) as process:
        await process.ready()
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=20) as http:
            assert (await http.post(f"{process.url}/graphql", json=QUERY, headers=headers)).status_code == 200
        address = f"{process.url.replace('http', 'ws')}/graphql"
        options = {"subprotocols": [PROTOCOL], "proxy": None, "additional_headers": headers}
        async with connect(address, **options) as socket:  # type: ignore[arg-type]
            await say(socket, {"type": "connection_init", "payload": headers})
            assert await heard(socket) == {"type": "connection_ack"}
    written = "".join(file.read_text() for file in (tmp_path / "out").iterdir())
    assert TOKEN not in written
