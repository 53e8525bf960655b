"""Whatever an application sends: an answer of OFREP's in time that grows no faster than what is sent.

(That no error was logged is what the fixture `logs` asserts after each test.)
"""

import asyncio
import gc
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from msgspec import structs
from pydantic import SecretStr

from app.domain.evaluation import Plan
from app.domain.features import FeatureKind, FeatureSpec, spec_problems
from app.domain.matching import MAX_ELEMENTS
from app.domain.targeting import ConditionOperator
from app.ofrep.endpoints import decided
from app.ofrep.requests import context_of
from app.services import open_services
from app.settings import Settings
from app.snapshot import EnvironmentView, Served
from tests.api.serving import serving
from tests.domain.builders import ENVIRONMENTS, SUBMITTER, condition, evaluated, feature, phase, rule, spec
from tests.ofrep.calling import ANN, FLAGS, Application, application, body_of, serves
from tests.scene import make_environments, make_feature, make_pipeline

pytestmark = pytest.mark.asyncio(loop_scope="module")

Op = ConditionOperator

# --- specs that ask much ----------------------------------------------------------------------------------------------


def values_of(operator: Op, count: int) -> tuple[object, ...]:
    """As many values as the operator takes, up to that count."""
    match operator:
        case Op.EXISTS | Op.NOT_EXISTS:
            return ()
        case Op.ANY_OF | Op.NONE_OF:
            return tuple(f"value-{n}" if n % 2 else n for n in range(count))
        case Op.ANY_OF_IGNORE_CASE | Op.NONE_OF_IGNORE_CASE:
            return tuple(f"Straße-{n}" for n in range(count))
        case Op.CONTAINS | Op.STARTS_WITH | Op.ENDS_WITH:
            return tuple(f"part-{n}" for n in range(count))
        case Op.VERSION_EQUALS | Op.VERSION_LESS_THAN | Op.VERSION_GREATER_THAN:
            return ("1.2.3-rc.4",)
        case Op.BEFORE | Op.AFTER:
            return ("2026-11-24T12:00:00Z",)
        case Op.EQUALS | Op.NOT_EQUALS:
            return ("value",)
        case _:
            return (7,)


def demanding(operator: Op, count: int) -> FeatureSpec:
    """A spec of that many values for `a`, by several rules, that a release may have."""
    several = [
        rule(True, condition("a", operator.value, *values_of(operator, count // 5)), name=str(n)) for n in range(5)
    ]
    made = spec(False, *several)
    assert not list(spec_problems(made, FeatureKind.FEATURE_GATE, ENVIRONMENTS, ("spec",)))
    return made


# --- what is sent -----------------------------------------------------------------------------------------------------


def with_context(context: bytes) -> bytes:
    """A body whose context is JSON as written."""
    return b'{"context": ' + context + b"}"


def with_attribute(value: bytes) -> bytes:
    """A body whose context has the attribute `a`, as written."""
    return with_context(b'{"targetingKey": "ann", "a": ' + value + b"}")


# Contexts that are odd, and are evaluated all the same.
ODD: dict[str, bytes] = {
    "text of 200 kB": with_attribute(b'"' + b"part-" * 40_000 + b'"'),
    "a targeting key of 200 kB": with_context(b'{"targetingKey": "' + b"x" * 200_000 + b'"}'),
    "10,000 attributes": body_of(ANN | {f"attribute-{n}": n for n in range(10_000)}),
    "a list of 10,000 texts": body_of(ANN | {"a": [f"value-{n}" for n in range(10_000)]}),
    "a list of 10,000 numbers": body_of(ANN | {"a": list(range(10_000))}),
    "a list of 10,000 lists": body_of(ANN | {"a": [[n] for n in range(10_000)]}),
    "a list of anything": with_attribute(b'[null, true, {}, [], "", -0, 1e-400, "\\u0000"]'),
    "duplicate keys": with_context(b'{"targetingKey": 5, "targetingKey": "ann", "a": 1, "a": 2}'),
    "2**64": with_attribute(b"18446744073709551616"),
    "-2**64": with_attribute(b"-18446744073709551616"),
    "4,000 digits": with_attribute(b"9" * 4_000),
    "4,000 decimals": with_attribute(b"0." + b"9" * 4_000),
    "1e308": with_attribute(b"1e308"),
    "-0": with_attribute(b"-0.0"),
    "300 deep": with_attribute(b"[" * 300 + b"]" * 300),
    "NUL": with_attribute(b'"\\u0000"'),
    "empty names": with_context(b'{"": "", "targetingKey": "ann"}'),
    "a pair of surrogates": with_attribute(b'"\\ud83d\\ude80"'),
    "a prototype": with_context(b'{"__proto__": {}, "$where": 1, "targetingKey": "ann"}'),
    "more beside the context": b'{"context": {"targetingKey": "ann"}, "context2": [[[]]], "key": null}',
    "the context twice": b'{"context": {"a": 1}, "context": {"targetingKey": "ann"}}',
    "space": b" \r\n\t" + body_of(ANN) + b"\n" * 10_000,
    **{
        f"version {version[:12]!r}": body_of(ANN | {"a": version})
        for version in ("", ".", "1.", "v", "1..2", "-1", "1.2.3-", "1.2.3-é", "٣.١", "1." * 40, "9" * 99, "1" * 99_999)
    },
    **{
        f"date {str(date)[:12]!r}": body_of(ANN | {"a": date})
        for date in (
            "2026-13-01",
            "T",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            -(10**18),
            10**18,
            1e300,
        )
    },
}

# Bodies that are refused, with the code.
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "PARSE_ERROR"),
    "blank": (b" \n", "PARSE_ERROR"),
    "cut off": (body_of(ANN)[:-2], "PARSE_ERROR"),
    "cut off in a text": (b'{"context": {"targetingKey": "an', "PARSE_ERROR"),
    "more after the end": (body_of(ANN) + b"{}", "PARSE_ERROR"),
    "a trailing comma": (b'{"context": {"targetingKey": "ann",}}', "PARSE_ERROR"),
    "text": (b"targetingKey=ann", "PARSE_ERROR"),
    "gzip": (gzip.compress(body_of(ANN)), "PARSE_ERROR"),
    "UTF-16": (body_of(ANN).decode().encode("utf-16"), "PARSE_ERROR"),
    "a byte order mark": (b"\xef\xbb\xbf" + body_of(ANN), "PARSE_ERROR"),
    "not UTF-8 in a value": (with_attribute(b'"\xff\xfe"'), "PARSE_ERROR"),
    "not UTF-8 in a name": (with_context(b'{"targetingKey": "ann", "\xff": 1}'), "PARSE_ERROR"),
    "a surrogate as UTF-8": (with_attribute(b'"\xed\xa0\x80"'), "PARSE_ERROR"),
    "half a surrogate pair": (with_attribute(b'"\\ud800"'), "PARSE_ERROR"),
    "the other half": (with_attribute(b'"\\udfff x"'), "PARSE_ERROR"),
    "NaN": (with_attribute(b"NaN"), "PARSE_ERROR"),
    "Infinity": (with_attribute(b"-Infinity"), "PARSE_ERROR"),
    "beyond all numbers": (with_attribute(b"1e999"), "INVALID_CONTEXT"),
    "5,000 digits": (with_attribute(b"9" * 5_000), "INVALID_CONTEXT"),
    "10,000 deep": (with_attribute(b"[" * 10_000 + b"]" * 10_000), "INVALID_CONTEXT"),
    "10,000 objects deep": (with_attribute(b'{"a":' * 10_000 + b"1" + b"}" * 10_000), "INVALID_CONTEXT"),
    "bottomless": (with_attribute(b"[" * 100_000), "INVALID_CONTEXT"),
    "1 MB": (with_attribute(b'"' + b"x" * 1_000_000 + b'"'), "INVALID_CONTEXT"),
    "1 MB of space": (b" " * 1_000_000, "INVALID_CONTEXT"),
    "null": (b"null", "INVALID_CONTEXT"),
    "a number": (b"5", "INVALID_CONTEXT"),
    "a list": (b"[]", "INVALID_CONTEXT"),
    "a context of text": (with_context(b'"ann"'), "INVALID_CONTEXT"),
    "a context of lists": (with_context(b"[{}]"), "INVALID_CONTEXT"),
    "no context": (b'{"Context": {}}', "INVALID_CONTEXT"),
    "a targeting key of number": (with_context(b'{"targetingKey": 5}'), "INVALID_CONTEXT"),
    "a targeting key of list": (with_context(b'{"targetingKey": ["ann"]}'), "INVALID_CONTEXT"),
    "a targeting key of false": (with_context(b'{"targetingKey": false}'), "INVALID_CONTEXT"),
    "a targeting key of null": (with_context(b'{"targetingKey": null}'), "TARGETING_KEY_MISSING"),
    "another name": (with_context(b'{"targetingkey": "ann"}'), "TARGETING_KEY_MISSING"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Application]:
    """An application where every operator is asked with thousands of values, and a release is under way."""
    file = tmp_path_factory.mktemp("hostile") / "slipway.db"
    told = Settings(store_url=f"sqlite:///{file}", redis_url=valkey_url, admin_token=SecretStr("hostile-" * 3))
    async with open_services(told) as services:
        await services.store.prepare()
        await make_environments(services)
        async with serving(services) as api:
            for operator in Op:
                await make_feature(services, None, operator.value, demanding(operator, 5_000))
            pipeline = await make_pipeline(services, phase("canary", timedelta(days=9)))
            await make_feature(services, pipeline)
            await services.catalog.update_feature("checkout", demanding(Op.ANY_OF, 5_000), None, None, SUBMITTER)
            await serves(api, "checkout")
            yield await application(api)


def refused(response: httpx.Response, code: str, key: str | None) -> None:
    """Assert that it is a refusal, whose body is wholly OFREP's."""
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    body = response.json()
    assert body.keys() == {"errorCode", "errorDetails"} | (set() if key is None else {"key"})
    assert (body["errorCode"], body.get("key")) == (code, key)
    assert 0 < len(body["errorDetails"]) < 500
    assert "Traceback" not in body["errorDetails"]


@pytest.mark.parametrize("case", ODD)
async def test_an_odd_context_is_evaluated(shop: Application, case: str) -> None:
    """Every feature has a value for it, and its ETag is one by which it is known again."""
    response = await shop.post(FLAGS, ODD[case])
    assert response.status_code == 200, response.text
    flags = response.json()["flags"]
    assert len(flags) == len(Op) + 1
    assert all(type(flag["value"]) is bool for flag in flags)
    again = await shop.post(FLAGS, ODD[case], if_none_match=response.headers["etag"])
    assert again.status_code == 304
    assert (await shop.post(f"{FLAGS}/checkout", ODD[case])).json() in flags


@pytest.mark.parametrize("case", REFUSED)
async def test_a_body_that_is_no_request_is_refused(shop: Application, case: str) -> None:
    """400 with OFREP's body and code, for one feature and for all."""
    content, code = REFUSED[case]
    refused(await shop.post(FLAGS, content), code, None)
    refused(await shop.post(f"{FLAGS}/checkout", content), code, "checkout")


async def test_any_depth_is_evaluated_or_refused(shop: Application) -> None:
    """Wherever the stack ends, reading ends first: no depth is read that cannot be hashed for the ETag."""
    statuses = list[int]()
    for depth in (*range(800, 1_000, 7), 2_000, 5_000):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            response = await shop.post(FLAGS, with_attribute(opening * depth + b"1" + closing * depth))
            statuses.append(response.status_code)
    assert set(statuses) <= {200, 400}
    assert statuses[-1] == 400


async def test_a_body_in_chunks_is_read_like_any_other(shop: Application) -> None:
    """With no length announced it is evaluated, and refused once it has grown too large."""

    async def chunks(body: bytes, size: int) -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]
            await asyncio.sleep(0)

    async def sent(body: bytes, size: int) -> httpx.Response:
        return await shop.http.post(FLAGS, content=chunks(body, size), headers={"x-api-key": shop.secret})

    assert (await sent(body_of(ANN), 1)).status_code == 200
    assert (await sent(ODD["10,000 attributes"], 1_000)).status_code == 200
    refused(await sent(body_of(ANN)[:-1], 3), "PARSE_ERROR", None)
    refused(await sent(b"", 1), "PARSE_ERROR", None)
    refused(await sent(REFUSED["1 MB"][0], 50_000), "INVALID_CONTEXT", None)


async def test_a_connection_that_ends_in_a_body_harms_nobody(shop: Application) -> None:
    """Whoever goes before the end is answered by nobody, and those who stay are."""
    port = shop.http.base_url.port
    assert port is not None
    head = f"POST {FLAGS} HTTP/1.1\r\nhost: x\r\nx-api-key: {shop.secret}\r\n"
    for rest in (
        "content-length: 500\r\n\r\n{",
        "transfer-encoding: chunked\r\n\r\n5\r\n{",
        "content-length: 1\r\n\r\n",
    ):
        for half in (True, False):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write((head + rest).encode())
            await writer.drain()
            await asyncio.sleep(0.02)
            if half:
                writer.write_eof()
                async with asyncio.timeout(5):
                    await reader.read()
            writer.close()
    assert (await shop.all()).status_code == 200


@pytest.mark.parametrize("length", ["-1", "x", "99999999999999999999999", "5000000"])
async def test_a_length_that_cannot_be_is_refused(shop: Application, length: str) -> None:
    """400 at once, without waiting for what was announced."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shop.http.base_url.port)
    writer.write(
        f"POST {FLAGS} HTTP/1.1\r\nhost: x\r\nx-api-key: {shop.secret}\r\ncontent-length: {length}\r\n\r\n{{".encode()
    )
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_whoever_sends_too_much_reads_why(shop: Application) -> None:
    """Each gets the answer, whether the length was announced or not, and may go on on the same connection."""
    large = REFUSED["1 MB"][0]
    head = f"POST {FLAGS} HTTP/1.1\r\nhost: x\r\nx-api-key: {shop.secret}\r\n"
    announced = f"{head}content-length: {len(large)}\r\n\r\n".encode() + large
    chunked = f"{head}transfer-encoding: chunked\r\n\r\n{len(large):x}\r\n".encode() + large + b"\r\n0\r\n\r\n"
    small = f"{head}content-length: {len(body_of(ANN))}\r\n\r\n".encode() + body_of(ANN)
    reader, writer = await asyncio.open_connection("127.0.0.1", shop.http.base_url.port)
    async with asyncio.timeout(60):
        for _ in range(5):
            for sent, status in ((announced, b"400"), (small, b"200"), (chunked, b"400"), (small, b"200")):
                writer.write(sent)
                await writer.drain()
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.split()[1] == status
                (length,) = (line.split()[1] for line in answer.splitlines() if line.startswith(b"content-length"))
                await reader.readexactly(int(length))
    writer.close()


# --- how long it takes ------------------------------------------------------------------------------------------------

SHAPES: dict[str, Callable[[int], object]] = {
    "one text": lambda n: "part " * n,
    "one text, non-ASCII": lambda n: "ẞ" * 5 * n,
    "one text, of beginnings": lambda n: "part-" * n,
    "texts": lambda n: [f"value {k}" for k in range(n)],
    "numbers": lambda n: [k * 10**15 for k in range(n)],
    "large numbers": lambda n: [10**400 + k for k in range(n // 80)],
    "lists": lambda n: [[k] for k in range(n)],
    "empty texts": lambda n: [""] * n,
}


def cpu_seconds(work: Callable[[], object]) -> float:
    """What the thread consumes for it, at best."""

    def once() -> float:
        before = time.thread_time()
        work()
        return time.thread_time() - before

    gc.disable()  # it looks at all that the tests hold
    try:
        return min(once() for _ in range(5))
    finally:
        gc.enable()


def cost(plans: list[Plan[Any]], body: bytes) -> float:
    """What it takes to read a body, to hash its context and to decide."""

    def work() -> None:
        context = context_of(body)
        msgspec.json.encode(context, order="deterministic")
        for plan in plans:
            plan.decide(context)

    return cpu_seconds(work)


def plan_of(made: FeatureSpec) -> Plan[Any]:
    """What decides by a spec."""
    return Plan(feature(made), None, "production", lambda found: found)


# Eight times as much takes eight times as long, and what is quadratic sixty-four times; by three for each doubling
# there is room for both sides. (One doubling alone tells too little on a busy machine.) Half a millisecond is for what
# stays the same.
MOST, SPARE = 3.0**3, 0.0005


@pytest.mark.parametrize("shape", SHAPES)
async def test_time_grows_as_the_context_does(shape: str) -> None:
    """Eight times as long an attribute takes no more than about eight times the CPU, whatever operator."""
    plans = [plan_of(demanding(operator, 500)) for operator in Op]
    small, large = (body_of(ANN | {"a": SHAPES[shape](n)}) for n in (500, 4_000))
    assert cost(plans, large) < MOST * cost(plans, small) + SPARE


async def test_time_grows_as_attributes_do() -> None:
    """Eight times as many attributes take no more than about eight times the CPU, ETag included."""
    small, large = (body_of(ANN | {f"attribute-{k}": {"k": [k]} for k in range(n)}) for n in (1_000, 8_000))
    assert cost([], large) < MOST * cost([], small) + SPARE


@pytest.mark.parametrize("operator", Op)
async def test_time_grows_as_the_values_do(operator: Op) -> None:
    """Eight times as many values take no more than about eight times the CPU, for a long text and for a long list."""
    for shape in ("one text", "texts"):
        body = body_of(ANN | {"a": SHAPES[shape](1_000)})
        small, large = (cost([plan_of(demanding(operator, count))], body) for count in (600, 4_800))
        assert large < MOST * small + SPARE


async def test_what_is_nested_is_not_looked_into() -> None:
    """An attribute of any depth matches as something that fits nothing: only its presence counts."""
    deep: object = "value-1"
    for _ in range(300):
        deep = [deep]
    for operator in Op:
        expected = operator in (Op.EXISTS, Op.NONE_OF, Op.NONE_OF_IGNORE_CASE, Op.NOT_EQUALS)
        assert evaluated(demanding(operator, 50), "production", ANN | {"a": deep}).value is expected, operator


# --- and whom it holds up ---------------------------------------------------------------------------------------------

FOLDING = spec(False, rule(True, condition("a", "NONE_OF_IGNORE_CASE", "straße")))
LONG = ANN | {"a": ["STRASS"] * MAX_ELEMENTS}


def many(decides: FeatureSpec) -> dict[str, Served[object]]:
    """A thousand features of one spec, as they are served; each gives its value."""
    made = [structs.replace(feature(decides), key=f"f{n:04}") for n in range(1_000)]
    return {each.key: Served(each, None, lambda _, found: found.value) for each in made}


async def turns_during(work: Awaitable[object]) -> int:
    """How often another task has its turn until the work is done."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(count())
    await asyncio.sleep(0)
    await work
    other.cancel()
    return turns


async def test_who_takes_long_gives_way_to_others() -> None:
    """Others have their turns while a thousand features look at a long list, and none is needed for a short one."""
    plans = EnvironmentView("production", many(FOLDING)).plans
    assert await turns_during(decided(plans, LONG)) > 2
    assert await turns_during(decided(plans[:50], ANN)) == 0


async def test_what_changes_meanwhile_is_of_the_next_answer() -> None:
    """An answer that gave way to a change tells what was before it, in all features: as its version says."""
    served = many(FOLDING)
    view = EnvironmentView("production", served)
    version, plans = view.version, view.plans

    async def change() -> None:
        for key, other in many(spec(False)).items():
            served[key] = other
            view.follow(key, "fea_1.2")

    changing = asyncio.create_task(change())
    assert await decided(plans, LONG) == [True] * 1_000
    assert changing.done()
    assert view.version != version
    assert await decided(view.plans, LONG) == [False] * 1_000
