"""A mutation: on the audit log before it is carried out, answered with a payload or the problem that it met."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, cast

import strawberry

from app.api import inputs
from app.api.context import Info
from app.api.problems import shown
from app.domain import problems
from app.domain.audit import Outcome
from app.store.documents import StoreUnavailable

P = ParamSpec("P")


def mutation(result: object, description: str) -> Callable[[Callable[P, Awaitable[object]]], Any]:
    """A mutation, on the audit log before it is carried out, that answers with a payload or the problem that it met."""

    def declare(resolver: Callable[P, Awaitable[object]]) -> Any:
        @wraps(resolver)
        async def answered(*args: P.args, **kwargs: P.kwargs) -> object:
            info = cast(Info, kwargs["info"])
            given = kwargs.get("given") or {name: value for name, value in kwargs.items() if name != "info"}
            # A caller who leaves, or whose time is over, cuts nothing off in the middle: it is done to its end.
            task = asyncio.create_task(_audited(resolver(*args, **kwargs), info, given))
            _under_way.add(task)
            task.add_done_callback(_over)
            return await asyncio.shield(task)

        return strawberry.mutation(answered, graphql_type=result, description=description)

    return declare


_under_way: set[asyncio.Task[object]] = set()


def _over(task: asyncio.Task[object]) -> None:
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()  # or asyncio would complain of it when nobody waits any more


async def _audited(change: Awaitable[object], info: Info, given: object) -> object:
    session = info.context.caller_session
    auditor = info.context.services.auditor
    try:
        entry = await auditor.attempt(
            info.field_name, inputs.plain_input(given), session.principal, session.credential, info.context.address
        )
    except BaseException:
        cast(Coroutine[Any, Any, object], change).close()  # it is not carried out
        raise
    try:
        answer = await change
    except problems.Problem as problem:
        kind = type(problem).__name__
        about = _about(problem) or await _named(info, given)
        await auditor.conclude(entry, Outcome.REFUSED, problem=kind, message=problem.message, **about)
        return shown(problem)
    except BaseException:
        await auditor.conclude(entry, Outcome.FAILED)
        raise
    await auditor.conclude(entry, Outcome.DONE, **_about(answer))
    return answer


async def _named(info: Info, given: object) -> dict[str, str]:
    """Which feature and which release an input names, for a refusal that tells of neither."""
    release_id = getattr(given, "release_id", None)
    if release_id is None:
        key = getattr(given, "key", None) or getattr(given, "feature_key", None)
        return {} if key is None else {"feature_key": key}
    with contextlib.suppress(StoreUnavailable):
        if release := await info.context.services.releases.get(release_id):
            return {"feature_key": release.feature_key, "release_id": release.id}
    return {}


def _about(answer: object) -> dict[str, str]:
    """Which feature and which release an answer or a problem is about."""
    release = getattr(answer, "release", None)
    if release is not None:
        return {"feature_key": release.feature_key, "release_id": release.id}
    feature = getattr(answer, "feature", None)
    return {} if feature is None else {"feature_key": feature.key}
