"""Whatever a client sends: an answer in JSON that says what is wrong, or a closed socket; never an error in the log.

(That no error was logged is what the fixture `logs` asserts after each test.)
"""

from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from tests.api.serving import Api, close_of, heard, say

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVALUATE = 'query($c: JSON) { evaluate(featureKey: "x", environment: "y", context: $c) { value } }'


def asking(query: object, **more: object) -> bytes:
    """The body of a request."""
    return msgspec.json.encode({"query": query, **more})


def with_variable(value: bytes) -> bytes:
    """A body whose one variable is JSON as written."""
    return b'{"query": ' + msgspec.json.encode(EVALUATE) + b', "variables": {"c": ' + value + b"}}"


# Bodies that are refused before GraphQL sees them, with a part of the message.
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "blank": (b" \n", "not JSON"),
    "cut off": (b'{"query": "{ __typename', "not JSON"),
    "more after the end": (b"{}{}", "not JSON"),
    "text": (b"{ serverTime }", "not JSON"),
    "null": (b"null", "JSON object"),
    "a number": (b"5", "JSON object"),
    "a string": (b'"{ serverTime }"', "JSON object"),
    "true": (b"true", "JSON object"),
    "a list": (b"[]", "atch"),
    "a batch": (b'[{"query": "{ serverTime }"}]', "atch"),
    "a list of anything": (b"[5, null]", "atch"),
    "bottomless": (b"[" * 100_000, "not JSON"),
    "bottomless variables": (with_variable(b'{"a":' * 50_000), "not JSON"),
    "not UTF-8": (b'{"query": "\xff\xfe"}', "not JSON"),
    "UTF-16": ('{"query": "{ serverTime }"}'.encode("utf-16"), "not JSON"),
    "half a surrogate pair": (b'{"query": "{ feature(key: \\"\\ud800\\") { id } }"}', "not JSON"),
    "the other half": (b'{"query": "\\udfff"}', "not JSON"),
    "not a number": (with_variable(b"NaN"), "not JSON"),
    "infinity": (with_variable(b"-Infinity"), "not JSON"),
    "beyond all bounds": (with_variable(b"1e999"), "not JSON"),
    "too many digits": (with_variable(b"9" * 5_000), "not JSON"),
    "no query": (b"{}", "query"),
    "query null": (asking(None), "query"),
    "query empty": (asking(""), "query"),
    "query a number": (asking(5), "query"),
    "query a list": (asking(["{ serverTime }"]), "query"),
    "variables a list": (asking("{ serverTime }", variables=[]), "variables"),
    "variables a string": (asking("{ serverTime }", variables="{}"), "variables"),
    "extensions a list": (asking("{ serverTime }", extensions=[]), "extensions"),
    "operationName a number": (asking("{ serverTime }", operationName=5), "operation"),
    "operationName a list": (asking("{ serverTime }", operationName=[]), "operation"),
    "operationName an object": (asking("{ serverTime }", operationName={"a": 1}), "operation"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_body_that_is_no_request_is_a_bad_request(shared_api: Api, case: str) -> None:
    """400 with a GraphQL error that says what is wrong."""
    body, part = REFUSED[case]

    response = await shared_api.post(body)

    assert response.status_code == 400
    (error,) = json_of(response)["errors"]
    assert part in error["message"]
    assert error["extensions"] == {"code": "BAD_REQUEST"}


# Documents that GraphQL refuses before it executes anything, with a part of the message.
INVALID: dict[str, tuple[bytes, str]] = {
    "operationName unknown": (asking("{ serverTime }", operationName="x"), "operation"),
    "operationName empty": (asking("{ serverTime }", operationName=""), "operation"),
    "operationName long": (asking("{ serverTime }", operationName="x" * 2_000), "operation"),
    "no operation": (asking("fragment F on Query { serverTime }"), "operation"),
    "blank": (asking("  "), "Syntax Error"),
    "a comment": (asking("# nothing"), "Syntax Error"),
    "cut off": (asking('{ feature(key: "'), "Syntax Error: Unterminated string"),
    "NUL": (asking("{ serverTime \0 }"), "U+0000"),
    "half a surrogate pair": (asking('{ feature(key: "\\uD800") { id } }'), "Unicode"),
    "half a pair, the new way": (asking('{ feature(key: "\\u{D800}") { id } }'), "Unicode"),
    "bottomless selections": (asking("{a" * 5_000 + "}" * 5_000), "is the most"),
    "bottomless value": (asking(f"{{ evaluate(context: {'[' * 5_000}"), "is the most"),
    "bottomless type": (asking(f"query($x: {'[' * 5_000}Int) {{ serverTime }}"), "is the most"),
    "unknown field": (asking("{ nope }"), "'nope'"),
    "unknown argument": (asking('{ feature(id: "x") { id } }'), "'id'"),
    "argument missing": (asking("{ feature { id } }"), "feature(key:)"),
    "argument null": (asking("{ feature(key: null) { id } }"), "String!"),
    "an object without fields": (asking('{ feature(key: "x") }'), "feature"),
    "circular fragments": (asking("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"), "itself"),
    "one name for two": (asking("query a { serverTime } query a { serverTime }", operationName="a"), "'a'"),
    "which of two": (asking("query a { serverTime } query b { serverTime }"), "operationName"),
    "a subscription": (asking("subscription { releases { id } }"), "websocket"),
    "@defer": (asking("{ ... @defer { serverTime } }"), "@defer"),
    "first a string": (asking('{ releases(first: "5") { edges { cursor } } }'), "Int"),
    "first a fraction": (asking("{ releases(first: 1.5) { edges { cursor } } }"), "Int"),
    "first too wide": (asking("{ releases(first: 99999999999) { edges { cursor } } }"), "Int"),
    "first of 5,000 digits": (asking(f"{{ releases(first: {'9' * 5_000}) {{ edges {{ cursor }} }} }}"), "Int"),
    "no such status": (asking("{ releases(filter: {status: [NOPE]}) { edges { cursor } } }"), "'NOPE'"),
    "no such filter": (asking("{ releases(filter: {nope: 1}) { edges { cursor } } }"), "'nope'"),
    "no time": (asking('{ releases(filter: {startedAfter: "x"}) { edges { cursor } } }'), "ISO 8601 time such as 2026"),
    "time a number": (asking("{ releases(filter: {startedAfter: 5}) { edges { cursor } } }"), "ISO 8601 time"),
    "a time before time": (
        asking('{ releases(filter: {startedAfter: "0001-01-01T00:00:00+23:00"}) { edges { cursor } } }'),
        "ISO 8601 time",
    ),
    "variable of another type": (asking("query($k: Int) { feature(key: $k) { id } }"), "String!"),
    "variable missing": (asking("query($k: String!) { feature(key: $k) { id } }"), "'$k'"),
    "variable a number": (asking("query($k: String!) { feature(key: $k) { id } }", variables={"k": 5}), "'$k'"),
    "variable with a wrong time": (
        asking(
            "query($f: ReleaseFilter) { releases(filter: $f) { edges { cursor } } }",
            variables={"f": {"startedBefore": "x" * 2_000}},
        ),
        "startedBefore",
    ),
}


@pytest.mark.parametrize("case", INVALID)
async def test_a_document_that_is_not_valid_is_answered_with_an_error(shared_api: Api, case: str) -> None:
    """No data, and an error that says what is wrong, where, and whose fault it is: 400 to who knows the media type."""
    body, part = INVALID[case]

    response = await shared_api.post(body)

    assert response.status_code == 200
    answer = json_of(response)
    assert "data" not in answer
    modern = await shared_api.post(body, accept="application/graphql-response+json")
    assert modern.status_code == 400
    assert modern.headers["content-type"].partition(";")[0] == "application/graphql-response+json"
    assert modern.json() == answer
    assert any(part in error["message"] for error in answer["errors"]), answer
    assert {error["extensions"]["code"] for error in answer["errors"]} <= {"BAD_REQUEST", "LIMIT_EXCEEDED"}


STRANGE = {
    "NUL": '{ feature(key: "a\\u0000b") { id } }',
    "NUL in an id": '{ node(id: "rel_\\u0000") { id } }',
    "emoji": '{ feature(key: "🚀👨‍👩‍👧") { id } }',
    "emoji, escaped": '{ feature(key: "\\uD83D\\uDE80 \\u{1F680}") { id } }',
    "right to left": '{ feature(key: "\u202eabc") { id } }',
    "empty": '{ feature(key: "") { id } }',
    "long": f'{{ feature(key: "{"x" * 2_000}") {{ id }} }}',
    "very long": f'{{ node(id: "rel_{"x" * 90_000}") {{ id }} }}',
    "MongoDB": '{ feature(key: "$where") { id } }',
    "SQL": '{ feature(key: "\' OR 1=1 --") { id } }',
    "a block": '{ feature(key: """block""") { id } }',
    "a byte order mark": '\ufeff{ feature(key: "x") { id } }',
}


@pytest.mark.parametrize("case", STRANGE)
async def test_strange_text_is_only_text(shared_api: Api, case: str) -> None:
    """NUL, emoji, thousands of characters and other languages' quotes name nothing, and are no error."""
    answer = json_of(await shared_api.post({"query": STRANGE[case]}))

    assert list(answer["data"].values()) == [None]
    assert "errors" not in answer


CONTEXTS = {
    "4,000 digits": b'{"a": ' + b"9" * 4_000 + b"}",
    "odd numbers, twice": b'{"a": -0, "": 1e308, "a": 2}',
    "deep": b'{"a":' * 60 + b"1" + b"}" * 60,
    "a key of NUL": b'{"targetingKey": "\\u0000"}',
    "a key that is null": b'{"targetingKey": null}',
    "a prototype": b'{"__proto__": {}}',
}


@pytest.mark.parametrize("case", CONTEXTS)
async def test_a_strange_context_is_evaluated(shared_api: Api, case: str) -> None:
    """Wide numbers, deep nesting and any key reach the evaluation, which here finds no feature."""
    (error,) = json_of(await shared_api.post(with_variable(CONTEXTS[case])))["errors"]

    assert error["extensions"] == {"code": "NOT_FOUND"}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {"content-type": "text/plain"}, 415),
        ("POST", {"content-type": ""}, 415),
        ("POST", {"content-type": "application/graphql"}, 415),
        ("POST", {"content-type": "multipart/form-data; boundary=x"}, 415),
        ("POST", {"content-type": "application/x-www-form-urlencoded"}, 415),
        ("POST", {"content-type": ";;;\xe9"}, 415),
        ("POST", {"content-type": 'application/json; charset="utf-8'}, 200),
        ("POST", {"content-type": "application/json", "content-encoding": "gzip"}, 200),
        ("PUT", {"content-type": "application/json"}, 405),
        ("DELETE", {}, 405),
        ("OPTIONS", {}, 405),
    ],
)
async def test_other_methods_and_content_types_are_told_what_to_send(
    shared_api: Api, method: str, headers: dict[str, str], status: int
) -> None:
    """JSON over POST, whatever else the content type says; the rest is refused in JSON."""
    sent = {"authorization": f"Bearer {shared_api.token}"} | headers
    encoded = {name: value.encode("latin-1") for name, value in sent.items()}

    response = await shared_api.http.request(method, "/graphql", content=asking("{ __typename }"), headers=encoded)

    assert response.status_code == status
    assert json_of(response).keys() == ({"data"} if status == 200 else {"errors"})


@pytest.mark.parametrize(
    ("parameters", "status", "part"),
    [
        ({"query": "{ __typename }"}, 200, ""),
        ({"query": "{ __typename }", "variables": "null"}, 200, ""),
        ({"query": "query a { __typename } query b { __typename }", "operationName": "b"}, 200, ""),
        ({}, 400, "query"),
        ({"query": ""}, 400, "query"),
        ({"query": "{ __typename }", "variables": "{"}, 400, "not JSON"),
        ({"query": "{ __typename }", "variables": "[]"}, 400, "variables"),
        ({"query": "{ __typename }", "variables": "5"}, 400, "variables"),
        ({"query": "{ __typename }", "extensions": "NaN"}, 400, "not JSON"),
        ({"query": "{ __typename }", "operationName": "\0"}, 200, "operation"),
        ({"query": "\udcff\0".encode("utf-8", "surrogatepass")}, 200, "Syntax Error"),
        ({"query": 'mutation { deletePipeline(id: "x") { __typename } }'}, 405, "Use POST"),
        ({"query": "subscription { releases { id } }"}, 200, "websocket"),
    ],
)
async def test_a_get_asks_but_never_changes(
    shared_api: Api, parameters: dict[str, Any], status: int, part: str
) -> None:
    """Queries are answered over GET; mutations are refused, and what is wrong is said in JSON."""
    headers = {"authorization": f"Bearer {shared_api.token}", "accept": "application/json"}

    response = await shared_api.http.get("/graphql", params=parameters, headers=headers)

    assert response.status_code == status
    answer = json_of(response)
    if part:
        assert part in answer["errors"][0]["message"]
    else:
        assert answer == {"data": {"__typename": "Query"}}


# --- over a websocket -------------------------------------------------------------------------------------------------


def subscribing(query: object = "{ __typename }", id: object = "1", **more: object) -> dict[str, object]:
    """A subscribe message."""
    return {"type": "subscribe", "id": id, "payload": {"query": query, **more}}


# Frames for which the socket is closed, the same before and after connection_init where that makes no difference.
CLOSING: dict[str, Any] = {
    "no JSON": "x",
    "empty": "",
    "null": None,
    "a number": 5,
    "a string": "{}".join('""'),
    "a list": [],
    "a list of messages": [{"type": "ping"}],
    "no type": {},
    "type a number": {"type": 5},
    "type a list": {"type": []},
    "type unknown": {"type": "x"},
    "type long": {"type": "é" * 2_000},
    "binary": b'{"type": "ping"}',
    "binary garbage": b"\xff\x00",
    "half a surrogate pair": '{"type": "ping", "payload": {"a": "\\ud800"}}',
    "not a number": '{"type": "ping", "payload": {"a": NaN}}',
    "bottomless": "[" * 100_000,
    "init payload a list": {"type": "connection_init", "payload": []},
    "init payload a string": {"type": "connection_init", "payload": "x"},
    "ping payload a number": {"type": "ping", "payload": 5},
    "complete without id": {"type": "complete"},
    "complete with a list": {"type": "complete", "id": []},
    "subscribe without id": {"type": "subscribe", "payload": {"query": "{ __typename }"}},
    "subscribe without payload": {"type": "subscribe", "id": "1"},
    "id a number": subscribing(id=5),
    "id a list": subscribing(id=[]),
    "id an object": subscribing(id={}),
    "id empty": subscribing(id=""),
    "id long": subscribing(id="x" * 2_000),
    "payload null": subscribing() | {"payload": None},
    "payload a string": subscribing() | {"payload": "{ __typename }"},
    "payload a list": subscribing() | {"payload": []},
    "payload empty": subscribing() | {"payload": {}},
    "query null": subscribing(None),
    "query a number": subscribing(5),
    "variables a list": subscribing(variables=[]),
    "operationName a number": subscribing(operationName=5),
    "extensions a list": subscribing(extensions=[]),
}


@pytest.mark.parametrize("init", [True, False], ids=["after init", "before init"])
async def test_a_frame_that_is_no_message_closes_the_socket(shared_api: Api, init: bool) -> None:
    """4400 with a reason that fits the close frame, for everything that is not a message of graphql-transport-ws."""
    for case, frame in CLOSING.items():
        async with shared_api.raw_socket(init=init) as socket:
            if isinstance(frame, bytes | str):
                await socket.send(frame)
            else:
                await say(socket, frame)
            code, reason = await close_of(socket)
            assert code == 4400, case
            assert reason, case


async def test_a_frame_beyond_all_bounds_closes_the_socket(shared_api: Api) -> None:
    """1009 for more than a megabyte."""
    async with shared_api.raw_socket() as socket:
        await socket.send('{"type": "ping", "payload": {"a": "' + "x" * 1_100_000 + '"}}')
        assert (await close_of(socket))[0] == 1009


# Operations that fail alone: an `error` message, and the socket goes on.
FAILING: dict[str, dict[str, object]] = {
    case: subscribing(query, **more)
    for case, query, more in (
        ("empty", "", {}),
        ("syntax", "{", {}),
        ("a long name", "{ a(" + "x" * 2_000, {}),
        ("unknown field", "subscription { nope }", {}),
        ("no operation", "fragment F on Query { serverTime }", {}),
        ("which of two", "query a { serverTime } query b { serverTime }", {}),
        ("operation unknown", "{ serverTime }", {"operationName": "é" * 500}),
        ("bottomless", "{a" * 5_000, {}),
        ("no time", 'subscription { releases(filter: {startedAfter: "x"}) { id } }', {}),
        ("variable missing", "subscription($id: ID!) { releaseEvents(releaseId: $id) { sequence } }", {}),
        ("5,000 digits", f'subscription {{ releaseEvents(releaseId: "x", after: {"9" * 5_000}) {{ sequence }} }}', {}),
    )
}


async def test_an_operation_that_is_not_valid_fails_alone(shared_api: Api) -> None:
    """It is answered with `error` under its id, and the next operation, by the same id, is answered as ever."""
    async with shared_api.raw_socket() as socket:
        for case, message in FAILING.items():
            await say(socket, message)
            answer = await heard(socket)
            assert (answer["type"], answer["id"]) == ("error", "1"), case
            codes = {error["extensions"]["code"] for error in answer["payload"]}
            assert codes == {"LIMIT_EXCEEDED" if case == "bottomless" else "BAD_REQUEST"}, case
        await say(socket, subscribing("{ __typename }"))
        assert [(await heard(socket))["type"] for _ in range(2)] == ["next", "complete"]


async def test_the_protocols_own_rules_are_kept(shared_api: Api) -> None:
    """A second init closes with 4429, an id in use with 4409; ping is answered; what is unknown may be completed."""
    async with shared_api.raw_socket() as socket:
        await say(socket, {"type": "complete", "id": "unknown"})
        await say(socket, {"type": "pong", "payload": {"a": 1}})
        await say(socket, {"type": "ping", "payload": {"a": 1}})
        assert (await heard(socket))["type"] == "pong"
        await say(socket, {"type": "connection_init"})
        assert (await close_of(socket))[0] == 4429
    async with shared_api.raw_socket() as socket:
        for _ in range(2):
            await say(socket, subscribing("subscription { releases { id } }"))
        assert (await close_of(socket))[0] == 4409
    async with shared_api.raw_socket() as socket:
        await say(socket, subscribing("subscription { releases { id } }", id="x" * 200))
        await say(socket, subscribing("subscription { releases { id } }", id="x" * 200))
        with pytest.raises(ConnectionClosed):
            await heard(socket)


def json_of(response: Any) -> dict[str, Any]:
    """The JSON object of an answer that is no failure of ours."""
    assert response.status_code < 500
    assert response.headers["content-type"].partition(";")[0] == "application/json"
    assert "Traceback" not in response.text
    assert "INTERNAL_SERVER_ERROR" not in response.text
    answer = response.json()
    assert isinstance(answer, dict)
    return answer
