"""Whatever is sent, the server answers as it should, gives everybody their turn and does not grow.

The server is a process of its own (`fuzz_server`). Documents are made from the schema: most are valid, some nearly.

    SLIPWAY_FUZZ_CASES=20000 SLIPWAY_FUZZ_SEED=7 uv run pytest tests/api/test_fuzz.py -n0 -s
"""

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
)
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.api.fuzz_server import TOKEN, Figures
from tests.api.serving import PROTOCOL, SCHEMA

CASES = int(os.environ.get("SLIPWAY_FUZZ_CASES", "800"))
SEED = int(os.environ.get("SLIPWAY_FUZZ_SEED", "0"))
MOST_BUSY_SECONDS = 0.25
MOST_GROWTH_BYTES = 16 * 1024 * 1024
WITHIN_SECONDS = 30

DOCUMENTED_CLOSES = {1008, 1009, 1013, 4400, 4401, 4403, 4406, 4408, 4409, 4429}
STATUSES = {200, 400, 401, 405, 406, 413, 415, 429, 503}
MEDIA_TYPES = {"application/json; charset=utf-8", "application/graphql-response+json; charset=utf-8"}
LEAKS = re.compile(
    r"Traceback|File \\?\"|/site-packages|/app/|/tmp/|\.py\b|INTERNAL_SERVER_ERROR|Something went wrong|<class"
    r"|object at 0x|NoneType|\w(Error|Exception)\b(?!s)|\b(msgspec|strawberry|starlette|sqlite3?|pymongo|asyncio)\b"
)
ODD: list[Any] = [
    None, True, 0, -1, 2**31, 2**53, 1e308, "", "\x00", "\u202e", "é" * 300, [], {}, [[]], {"a": None}, [None], "P1D", "rel_",  # noqa: E501
    "2026-11-24T12:00:00Z", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00+23:59", "P99999999999D", "PT-1S", "0", "%s{}",  # noqa: E501
]  # fmt: skip


class Documents:
    """Documents of the schema, made of what a random generator says."""

    def __init__(self, random: Random, known: dict[str, Any]) -> None:
        self.random = random
        self._known = known
        self._declared: dict[str, Any] = {}
        self._fragments: list[str] = []
        self._left = 0

    def request(self) -> dict[str, Any]:
        """A body: a document with variables, some of the wrong type."""
        random = self.random
        self._declared, self._fragments, self._left = {}, [], random.choice((5, 20, 60))
        kind, root = random.choices(
            (
                ("query", SCHEMA.query_type),
                ("mutation", SCHEMA.mutation_type),
                ("subscription", SCHEMA.subscription_type),
            ),
            (8, 3, 1),
        )[0]
        selected = self._selection(root, 0)
        variables = {name: self.value(type_) for name, type_ in self._declared.items() if not self._is_odd(0.05)}
        declared = ", ".join(f"${name}: {self._type(type_)}" for name, type_ in self._declared.items())
        document = (
            f"{kind} Q{f'({declared})' if declared else ''}{self._directives()} {selected} {' '.join(self._fragments)}"
        )
        if self._is_odd(0.1):
            document = self._broken(document)
        body: dict[str, Any] = {"query": document, "variables": variables}
        if self._is_odd(0.2):
            body["operationName"] = random.choice(("Q", "R", "", None))
        return body

    def value(self, type_: Any) -> Any:
        """A value of a type; seldom, one that is not."""
        random = self.random
        if self._is_odd(0.02):
            return random.choice(ODD)
        if isinstance(type_, GraphQLNonNull):
            return self.value(type_.of_type)
        if isinstance(type_, GraphQLList):
            return [self.value(type_.of_type) for _ in range(random.randrange(4))]
        if isinstance(type_, GraphQLEnumType):
            return random.choice([*type_.values])
        if isinstance(type_, GraphQLInputObjectType):
            return {
                name: self.value(field.type)
                for name, field in type_.fields.items()
                if isinstance(field.type, GraphQLNonNull) or random.random() < 0.4
            }
        return self._scalar(type_.name)

    def _scalar(self, name: str) -> Any:
        random, known = self.random, self._known
        match name:
            case "ID":
                return random.choice((*known["ids"], *known["phases"], "rel_unknown"))
            case "String":
                return random.choice((*known["names"], "new", "x" * 80, f"feature-{random.randrange(300)}"))
            case "Int":
                return random.choice((0, 1, 5, 20, 100, 101))
            case "Float":
                return random.choice((0, 0.1, 50, 100, 100.5))
            case "Boolean":
                return random.random() < 0.5
            case "DateTime":
                return random.choice(("2026-11-24T12:00:00Z", "2020-01-01T00:00:00.000Z"))
            case "Duration":
                return random.choice(("PT1H", "P1D", "PT0S", "PT30S"))
            case _:
                return random.choice((True, False, {"targetingKey": "u", "plan": "beta"}, [1, "a"], 1.5, "text"))

    def _is_odd(self, chance: float) -> bool:
        return self.random.random() < chance

    def _type(self, type_: Any) -> str:
        return self.random.choice(("Int", "[ID!]", "Release", "Nothing!")) if self._is_odd(0.03) else str(type_)

    def _directives(self) -> str:
        if not self._is_odd(0.06):
            return ""
        return self.random.choice(
            (" @include(if: true)", " @skip(if: false)", " @skip", " @no", " @include(if: $b)", " @skip(if: true)")
        )

    def _selection(self, type_: Any, depth: int) -> str:
        random = self.random
        chosen = ["__typename"] if depth and self._is_odd(0.3) else []
        if isinstance(type_, GraphQLUnionType) or (
            self._is_odd(0.3)
            and hasattr(SCHEMA, "get_possible_types")
            and type_ in (SCHEMA.type_map["Node"], SCHEMA.type_map["Problem"])
        ):
            for member in SCHEMA.get_possible_types(type_):
                if random.random() < 0.7:
                    chosen.append(f"... on {member.name}{self._directives()} {self._selection(member, depth + 1)}")  # noqa: PERF401
            return f"{{ {' '.join(chosen or ['__typename'])} }}"
        for name, field in random.sample([*type_.fields.items()], min(len(type_.fields), random.randrange(1, 7))):
            leaf = is_leaf_type(get_named_type(field.type))
            if self._left <= 0 or (depth > 9 and not leaf):
                continue
            self._left -= 1
            alias = f"{random.choice('ab')}{random.randrange(9)}: " if self._is_odd(0.15) else ""
            below = "" if leaf else self._selection(get_named_type(field.type), depth + 1)
            if self._is_odd(0.01):
                name, below = random.choice((name + "s", "nothing", name)), random.choice((below, "", "{ id }"))
            chosen.append(f"{alias}{name}{self._arguments(field)}{self._directives()} {below}")
            if depth and depth % 4 == 0:
                break
        chosen = chosen or ["__typename"]
        if self._is_odd(0.1) and isinstance(type_, GraphQLObjectType):
            fragment = f"F{len(self._fragments)}"
            self._fragments.append(f"fragment {fragment} on {type_.name} {{ {' '.join(chosen)} }}")
            chosen = [f"...{random.choice((fragment, fragment, fragment, 'F0', 'None'))}"]
        return f"{{ {' '.join(chosen)} }}"

    def _arguments(self, field: Any) -> str:
        passed = []
        for name, argument in field.args.items():
            if not isinstance(argument.type, GraphQLNonNull) and self._is_odd(0.5):
                continue
            if self._is_odd(0.5):
                variable = f"v{len(self._declared)}"
                self._declared[variable] = argument.type
                passed.append(f"{name}: ${variable}")
            else:
                passed.append(f"{name}: {self._literal(argument.type, self.value(argument.type))}")
        return f"({', '.join(passed)})" if passed else ""

    def _literal(self, type_: Any, value: Any) -> str:
        named = get_named_type(type_)
        if isinstance(value, dict):
            fields = getattr(named, "fields", {})
            inner = (f"{k}: {self._literal(fields[k].type if k in fields else named, v)}" for k, v in value.items())
            return f"{{ {' '.join(inner)} }}"
        if isinstance(value, list):
            return f"[{' '.join(self._literal(named, each) for each in value)}]"
        return value if isinstance(named, GraphQLEnumType) and value in named.values else json.dumps(value)

    def _broken(self, document: str) -> str:
        random = self.random
        at = random.randrange(len(document))
        return random.choice(
            (
                document[:at],
                document[:at] + random.choice('{}()[]$@!"#\x00é…') + document[at:],
                document[:at] + document[at + 1 :],
                document + document,
                document + " query R { __typename }",
                document.replace("}", "", 1),
                document.replace("v0", "v1"),
            )
        )


class Target:
    """The server under fire, and what is expected of its every answer."""

    def __init__(self, process: subprocess.Popen[str], known: dict[str, Any]) -> None:
        self.known = known
        self.cases = 0
        self.statuses: dict[int, int] = {}
        self.closes: dict[int | None, int] = {}
        self._process = process
        self._http = http.client.HTTPConnection("127.0.0.1", known["port"], timeout=WITHIN_SECONDS)

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def figures(self) -> Figures:
        """What it took since the figures before."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Figures(**json.loads(self._process.stdout.readline()))

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        """Send a request; the answer must be JSON, with a status and a media type that are documented."""
        self.cases += 1
        given = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"} | headers
        self._http.request(method, path, body, given)
        response = self._http.getresponse()
        content = response.read()
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        sent = (method, path, body, headers)
        assert response.status in STATUSES, (sent, response.status, content)
        assert response.headers["content-type"] in MEDIA_TYPES, (sent, response.headers["content-type"])
        if method != "HEAD":
            answer = json.loads(content)
            assert answer.keys() <= {"data", "errors", "extensions"}, (sent, answer)
            assert "data" in answer or answer["errors"], (sent, answer)
        self.leaks_nothing(content.decode(), sent)

    def leaks_nothing(self, text: str, sent: object) -> None:
        """Nothing of how the server is made may be in an answer."""
        leak = LEAKS.search(text)
        assert leak is None, (leak, text[max(0, (leak.start() if leak else 0) - 200) :][:600], sent)

    def talk(self, frames: list[str | bytes], init: bool) -> None:
        """Send frames; the socket must go on answering, or be closed as it is documented."""
        self.cases += 1
        url = f"ws://127.0.0.1:{self.known['port']}/graphql"
        with connect(
            url, subprotocols=[PROTOCOL], proxy=None, max_size=None, close_timeout=5, compression=None
        ) as socket:  # type: ignore[list-item]
            code: int | None = None
            try:
                if init:
                    socket.send(
                        json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {TOKEN}"}})
                    )
                for frame in frames:
                    socket.send(frame)
                socket.send('{"type": "ping", "payload": {"end": 1}}')
                while True:
                    message = socket.recv(timeout=WITHIN_SECONDS)
                    assert isinstance(message, str)
                    self.leaks_nothing(message, frames)
                    heard = json.loads(message)
                    assert heard["type"] in {"connection_ack", "next", "error", "complete", "ping", "pong"}, (
                        frames,
                        heard,
                    )
                    if heard == {"type": "pong", "payload": {"end": 1}}:
                        break
            except ConnectionClosed:
                code = socket.close_code
            assert code is None or code in DOCUMENTED_CLOSES, (frames, code, socket.close_reason)
            self.leaks_nothing(socket.close_reason or "", frames)
            self.closes[code] = self.closes.get(code, 0) + 1


@pytest.fixture(scope="module")
def target(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server in a process of its own, whose log may hold no error."""
    folder = tmp_path_factory.mktemp("fuzz")
    log = folder / "log"
    command = [sys.executable, "-m", "tests.api.fuzz_server", f"sqlite:///{folder}/slipway.db", valkey_url]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=Path(__file__).parents[2],
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        target = Target(process, json.loads(process.stdout.readline()))
        try:
            yield target
        finally:
            target.close()
            process.stdin.close()
            try:
                process.wait(WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
    lines = log.read_text().splitlines()
    assert not [line for line in lines if re.search(r'"level": "(error|critical)"|Traceback', line)][:5]
    assert process.returncode == 0


def fuzzed(cases: int, first: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
    """Run a function on so many cases, which are the same ones in every run with that seed."""

    def run(function: Callable[..., None]) -> None:
        profile = settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # the server remembers, so a case need not fail again
            suppress_health_check=[*HealthCheck],
        )
        seed(SEED + first)(profile(given(*strategies)(function)))()

    return run


RANDOM = st.integers(0, 2**64).map(Random)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
BODIES = (
    st.binary(max_size=60)
    | st.text(st.characters(exclude_categories=()), max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"query": JSON_VALUES | st.text('{}()[]$@!:."# abq…\x00', max_size=40)}, optional={
        "variables": JSON_VALUES, "operationName": JSON_VALUES, "extensions": JSON_VALUES, "id": JSON_VALUES,
    }).map(lambda body: json.dumps(body).encode())
    | st.sampled_from([b"[" * 100_000, b'{"query":' * 5_000, b"9" * 5_000, b'{"query": "{a}", "query": 1}', b"\xff\xfe", b"NaN"])  # noqa: E501
)  # fmt: skip
HEADER = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["accept", "authorization", "content-type", "origin", "cookie", "x-forwarded-for", "accept-encoding", "range"]
    ),
    HEADER
    | st.sampled_from(
        ["application/json", "application/graphql-response+json", "*/*", "text/html", "application/json;q=0",
         "Bearer ", "Bearer slw_x", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30.", "null", "application/json; charset=x"]  # noqa: E501
    ),
    max_size=2,
)  # fmt: skip
METHODS = st.sampled_from(["POST"] * 6 + ["GET", "GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])


def frame(random: Random, documents: Documents) -> str | bytes:
    """A frame of the protocol, in its order or out of it, or one that is broken."""
    id: Any = random.choice(ODD) if random.random() < 0.03 else str(random.randrange(40))
    message: Any = random.choices(
        (
            {"type": "subscribe", "id": id, "payload": documents.request()},
            {"type": "complete", "id": id},
            {"type": "ping", "payload": {"a": 1}},
            {"type": "pong"},
            {"type": "connection_init", "payload": {"authorization": "Bearer no"}},
            random.choice(ODD),
            {"type": random.choice(("start", "next", "error", "connection_ack", *ODD[:5])), "id": id},
            {"type": "subscribe", "id": id, "payload": random.choice((*ODD, {"query": random.choice(ODD)}))},
        ),
        (60, 12, 12, 6, 1, 2, 1, 2),
    )[0]
    text = json.dumps(message)
    if random.random() < 0.02:
        return random.choice((text[: len(text) // 2], "[" * 50_000, "", "\x00", text.encode(), b"\xff", "9" * 5_000))
    return text


def volley(target: Target, cases: int, first: int) -> None:
    """Send so many cases, the first of that number: documents over HTTP, garbage over HTTP, and sockets."""

    def document(random: Random) -> None:
        body = json.dumps(Documents(random, target.known).request()).encode()
        accept = random.choice(("application/json", "application/graphql-response+json"))
        target.ask("POST", "/graphql", body, {"accept": accept})

    def garbage(method: str, body: bytes, headers: dict[str, str], query: str) -> None:
        if method == "POST":
            target.ask(method, "/graphql", body, headers)
        else:
            path = f"/graphql?query={quote(query)}"
            target.ask(
                method, path, None, {"accept": "application/json"} | {k: v for k, v in headers.items() if k != "accept"}
            )

    def socket(random: Random) -> None:
        documents = Documents(random, target.known)
        frames = [frame(random, documents) for _ in range(random.randrange(1, 12))]
        target.talk(frames, init=random.random() < 0.9)

    fuzzed(cases * 5 // 10, first, RANDOM)(document)
    fuzzed(cases * 3 // 10, first, METHODS, BODIES, HEADERS, st.text(max_size=20))(garbage)
    fuzzed(cases * 2 // 10, first, RANDOM)(socket)


def test_nothing_that_is_sent_breaks_leaks_blocks_or_grows(target: Target) -> None:
    """Hundreds of random requests and sockets are each answered as documented, in turn, and leave no memory behind."""
    volley(target, CASES // 2, 0)  # fills caches, which are bounded
    half = target.figures()
    volley(target, CASES - CASES // 2, CASES)
    whole = target.figures()
    print(f"{target.cases} cases, {target.statuses}, closes {target.closes}, {half}, {whole}")
    assert target.cases >= CASES * 0.9
    assert max(half.busiest, whole.busiest) < MOST_BUSY_SECONDS
    assert whole.resident - half.resident < MOST_GROWTH_BYTES
    assert whole.tasks <= half.tasks + 2
