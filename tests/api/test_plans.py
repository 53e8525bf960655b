"""Plans against graphql-core itself: the same documents, the same answers."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import pytest
from graphql import GraphQLError, execute
from msgspec import structs
from pydantic import SecretStr
from starlette.requests import Request
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app.api.auth import Session
from app.api.context import Context
from app.api.execution import Executor, Known, execute_whole
from app.api.limits import Limits
from app.api.operations import Prepared
from app.api.plans import Plans
from app.api.schema import schema
from app.api.types import RecordedEvent
from app.domain.releases import Release, ReleaseAction
from app.services import Services, open_services
from app.settings import Settings
from app.store.repositories import ReleaseFilter
from tests import scene
from tests.api.documents import Documents
from tests.conftest import Clock
from tests.domain.builders import ADMIN, APPROVER, ON, phase, review, rule, spec

CORE = schema._schema
DOCUMENTS = 60
AWAITED = frozenset({"feature", "exposure"})  # what an event has that waits for the store
WIDE = Limits(max_cost=1_000_000, max_aliases=10_000, max_fields=10_000, max_directives=10_000, max_tokens=100_000)


@asynccontextmanager
async def running(folder: Path, redis_url: str, clock: Clock) -> AsyncIterator[Services]:
    """A process with releases in every state, of which one has a record that is long."""
    settings = Settings(store_url=f"sqlite:///{folder / 's.db'}", redis_url=redis_url, admin_token=SecretStr("x" * 20))
    async with open_services(settings, clock) as services:
        await services.store.prepare()
        changed = spec(False, rule(True, percentage=12.5, environments=("production",)))
        release = await scene.start_release(services, phase("canary"), review("half"), phase("all"), spec=changed)
        for _ in range(6):
            release = (await scene.act(services, release, ReleaseAction.PAUSE, reason="a look")).release
            release = (await scene.act(services, release, ReleaseAction.UNPAUSE)).release
        release = (await scene.act(services, release, ReleaseAction.SKIP)).release
        await scene.act(services, release, ReleaseAction.APPROVE, APPROVER, reason="fine")
        for key, action in (("search", ReleaseAction.ABORT), ("pay", ReleaseAction.FULL_ROLL_OUT)):
            pipeline = await scene.make_pipeline(services, phase("one"), phase("two"), name=f"Pipeline of {key}")
            await scene.make_feature(services, pipeline, key)
            _, other = await services.catalog.update_feature(key, ON, None, None, ADMIN)
            await scene.act(services, other, action)
        await scene.make_feature(services, key="alone")
        await services.tokens.create("ci", ADMIN.role, timedelta(hours=1), ADMIN)
        clock.advance(timedelta(minutes=7))
        yield services


def context_of(services: Services, limits: Limits = WIDE) -> Context:
    """The context of a request of an administrator."""
    return Context(services, Request({"type": "http", "headers": []}), limits, Session(ADMIN, "tok_1"))


class Answer(NamedTuple):
    """An answer to compare: data with its keys in order, and errors by where they left null."""

    data: str
    errors: dict[str, list[str]]
    places: dict[str, list[str]]

    @classmethod
    def of(cls, data: Any, errors: list[GraphQLError] | None) -> "Answer":
        """The answer; its errors in any order, as those of siblings have none."""
        left: dict[str, list[str]] = {}
        own: dict[str, list[str]] = {}
        for error in errors or ():
            path = error.path or []
            null = _null(data, path)
            left.setdefault(repr(null), []).append(repr(error.formatted))
            if null == path:
                own.setdefault(repr(null), []).append(repr(error.formatted))
        return cls(repr(data), {at: sorted(said) for at, said in left.items()}, own)

    def agrees(self, other: "Answer", exactly: bool) -> bool:
        """Whether it is the same. Of siblings that wait for the store any may be the first to leave null above them."""
        if exactly:
            return (self.data, self.errors) == (other.data, other.errors)
        places = self.places.keys() & other.places.keys()
        return (
            self.data == other.data
            and self.errors.keys() == other.errors.keys()
            and all(self.places[at] == other.places[at] for at in places)
        )


def _null(data: Any, path: Sequence[str | int]) -> list[str | int]:
    """The place on a path where data is null."""
    for at, key in enumerate(path):
        if data is None:
            return list(path[:at])
        data = data[key]
    return list(path)


async def by_core(prepared: Prepared, variables: dict[str, Any], root: object, context: Context) -> Answer:
    """What graphql-core answers by itself."""
    result: Any = execute(
        CORE,
        prepared.document.ast,
        root,
        context,
        variables,
        executor_class=StrawberryGraphQLCoreExecutionContext,
        is_awaitable=optimized_is_awaitable,
    )
    result = await result if optimized_is_awaitable(result) else result
    return Answer.of(result.data, result.errors)


class NoPlans(Plans):
    """No plan for anything."""

    def of_object(self, *_: Any) -> None:
        """None."""

    def of_field(self, *_: Any) -> None:
        """None."""

    def of_list(self, *_: Any) -> None:
        """None."""


async def counted(prepared: Prepared, root: object, context: Context, plans: Plans | None) -> int:
    """How many fields are counted as resolved."""
    executor = prepared._executor(root, context)
    assert isinstance(executor, Executor)
    if plans is not None:
        executor.plans = plans
        executor._relevant_sub_fields = {}
    result: Any = executor.execute_operation()
    if optimized_is_awaitable(result):
        await result
    return executor._run.resolved


@pytest.fixture(autouse=True)
def unmasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors as they are raised, not as clients are shown them; and no pauses, which graphql-core knows nothing of."""
    monkeypatch.setattr("app.api.execution._HOLD_AT_MOST_SECONDS", float("inf"))
    monkeypatch.setattr("app.api.execution._SHORT", 10_000)
    monkeypatch.setattr(schema, "process_errors", lambda errors, execution_context=None: None)


async def agree(document: str, variables: dict[str, Any], root: object, services: Services) -> bool | None:
    """Compare the answers, and the counts where nothing failed; None for a document that is not valid."""
    prepared = schema.prepare(document, variables, None, context_of(services))
    if isinstance(prepared, list):
        return None
    expected = await by_core(prepared, variables, root, context_of(services))
    for _ in range(3):  # planned in parts, planned as a whole, and with what was read before
        result = await prepared.execute(root, context_of(services))
        answer = Answer.of(result.data, result.errors)
        assert answer.agrees(expected, exactly=False), (document, variables, answer, expected)
    if not expected.errors and len(document) % 3 == 0:
        planned = await counted(prepared, root, context_of(services), None)
        assert planned == await counted(prepared, root, context_of(services), NoPlans()), (document, variables)
        if await is_whole(prepared, services, WIDE):
            assert await is_whole(prepared, services, structs.replace(WIDE, max_cost=planned)), (document, variables)
            assert not await is_whole(prepared, services, structs.replace(WIDE, max_cost=planned - 1)), document
    return bool(expected.errors)


async def is_whole(prepared: Prepared, services: Services, limits: Limits) -> bool:
    """Whether a plan answers the query as a whole, within limits."""
    read = prepared._plan()
    if read is None:
        return False
    try:
        await execute_whole(read, prepared._frame(None, context_of(services, limits)), Known())
    except Exception:
        return False
    return True


@pytest.mark.parametrize("seed", range(2))
async def test_random_queries_are_answered_as_graphql_core_answers_them(
    seed: int, tmp_path: Path, redis_url: str, clock: Clock
) -> None:
    """Data to the byte, and errors with their paths and places, on the real store, variables good and bad."""
    async with running(tmp_path, redis_url, clock) as services:
        page = await services.releases.page(ReleaseFilter(), 10, None)
        pipelines = await services.pipelines.page(10, None)
        known = {
            "id": [*(r.id for r in page.values), *(p.id for p in pipelines.values), "rel_0", "", "x"],
            "key": ["checkout", "search", "alone", "nothing"],
        }
        documents = Documents(CORE, seed, known)
        failed = [await agree(documents.query(), documents.variables(), None, services) for _ in range(DOCUMENTS)]
    assert failed.count(False) > DOCUMENTS // 4, "too few went well"
    assert failed.count(True) > DOCUMENTS // 20, "too few failed"


STATUS = """query ($id: ID!, $key: String!, $first: Int, $all: Boolean!) {
  release(id: $id) { ...Shown }
  feature(key: $key) {
    key activeRelease { ...Shown } releases(first: $first) { edges { cursor node { id } } pageInfo { hasNextPage } } }
  viewer { role } serverTime
}
fragment Shown on Release {
  id status expectedEndAt feature { key spec { defaultValue } pipeline { name } }
  exposure { __typename } phases { name bakeRemaining } history @include(if: $all) { sequence actor { name } } }
"""


@pytest.mark.parametrize("all_", [True, False])
async def test_a_status_page_is_answered_without_graphql_core(
    all_: bool, tmp_path: Path, redis_url: str, clock: Clock
) -> None:
    """Arguments, variables, resolvers that wait within objects that waited: the same data, from one plan."""
    async with running(tmp_path, redis_url, clock) as services:
        page = await services.releases.page(ReleaseFilter(), 10, None)
        for release in page.values:
            variables = {"id": release.id, "key": release.feature_key, "first": 1, "all": all_}
            assert await agree(STATUS, variables, None, services) is False
            prepared = schema.prepare(STATUS, variables, None, context_of(services))
            assert isinstance(prepared, Prepared)
            assert await is_whole(prepared, services, WIDE)


async def test_what_was_resolved_before_a_plan_gave_up_is_not_resolved_again(
    tmp_path: Path, redis_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two fields one fails: graphql-core says so, and takes what the plan has found out of both."""
    document = '{ feature(key: "checkout") { key } releases(first: 101) { pageInfo { hasNextPage } } }'
    async with running(tmp_path, redis_url, clock) as services:
        for _ in range(2):
            assert await agree(document, {}, None, services)
        asked: list[str] = []
        by_key = services.features.by_key
        monkeypatch.setattr(services.features, "by_key", lambda key: (asked.append(key), by_key(key))[1])
        prepared = schema.prepare(document, {}, None, context_of(services))
        assert isinstance(prepared, Prepared)
        result = await prepared.execute(None, context_of(services))

    assert result.errors
    assert [error.path for error in result.errors] == [["releases"]]
    assert asked == ["checkout"]


WRONG: tuple[object, ...] = (None, 3, "text", -1.5, ValueError("broken"), (), (None,), object, float("nan"), {"a": 1})


def spoilt(value: Any, chance: random.Random, times: int) -> Any:
    """A value with something wrong put somewhere into it, as deep as it goes."""
    for _ in range(times):
        value = _spoil(value, chance)
    return value


def _spoil(value: Any, chance: random.Random) -> Any:
    if isinstance(value, msgspec.Struct) and chance.random() < 0.9:
        name = chance.choice(value.__struct_fields__)
        return structs.replace(value, **{name: _spoil(getattr(value, name), chance)})
    if isinstance(value, tuple) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        return (*value[:at], _spoil(value[at], chance), *value[at + 1 :])
    return chance.choice(WRONG)


@pytest.mark.parametrize("name", ["releases", "releaseEvents"])
async def test_events_that_cannot_be_shown_fail_as_graphql_core_has_them_fail(
    name: str, tmp_path: Path, redis_url: str, clock: Clock
) -> None:
    """Nulls where none may be, exceptions, values of other classes, anywhere in a release: the same data is left."""
    chance = random.Random(name)
    async with running(tmp_path, redis_url, clock) as services:
        page = await services.releases.page(ReleaseFilter(), 10, None)
        documents = Documents(CORE, 7, {"id": ["x"], "key": ["checkout"]}, AWAITED)
        failed = []
        for _ in range(DOCUMENTS):
            release = spoilt(chance.choice(page.values), chance, chance.choice([0, 1, 1, 2]))
            root = release
            if name == "releaseEvents":
                events = release.history if isinstance(release, Release) else ()
                event = chance.choice(events) if isinstance(events, tuple) and events else None
                root = RecordedEvent(cast(Release, release), cast(Any, event))
            failed.append(await agree_on_event(documents.subscription(name), documents.variables(), root, services))
    assert failed.count(False) > DOCUMENTS // 4, "too few went well"
    assert failed.count(True) > DOCUMENTS // 20, "too few failed"


async def agree_on_event(document: str, variables: dict[str, Any], root: object, services: Services) -> bool | None:
    """As `agree`, over a socket."""
    context = context_of(services)
    context.request = cast(Any, None)  # no HTTP
    prepared = schema.prepare(document, variables, None, context)
    if isinstance(prepared, list):
        return None
    expected = await by_core(prepared, variables, root, context_of(services))
    for _ in range(2):
        result = await prepared.execute(root, context_of(services))
        answer = Answer.of(result.data, result.errors)
        assert answer.agrees(expected, exactly=True), (document, variables, root, answer, expected)
    return bool(expected.errors)
