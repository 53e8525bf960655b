"""Execution by compiled plans that leaves others their turn and stops at the limit, whatever an operation asks for.

graphql-core executes in one go what it need not wait for: a hundred releases with all that belongs to them would hold
the event loop for half a second, histories within histories for minutes, and no timeout could end it. Here long lists
give way to others between their elements, and every list does once the loop has been held for long enough. The fields
are counted as they are resolved, since a list may be longer than the cost that was estimated before took it to be.

What can be read in one go is read by a plan (see `plans`). graphql-core resolves the rest, and what a plan gives up.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from graphql import GraphQLFieldResolver, GraphQLList, MiddlewareManager, get_named_type, is_leaf_type
from graphql.execution.collect_fields import GroupedFieldSet
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app.api.limits import Limits, exceeded
from app.api.plans import plans_of
from app.api.runs import Frame, Read, Run, Waiting

_HOLD_SECONDS = 0.01
_SURE_SECONDS = _HOLD_SECONDS / 4
_SHORT = 8  # elements of a list that is resolved in one go
_HOLD_AT_MOST_SECONDS = 0.05  # after which short lists wait as well


class Pace:
    """How long operations together have held the loop since it last turned to its other work.

    Those that give way stand in a queue: one goes on at each turn of the loop, until it gives way again.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    def held(self) -> float:
        """For how many seconds of its own time the loop's thread has been held, or a little longer."""
        now = time.monotonic()
        if self._since is None:
            self._since = self._told_at = now
            self._told = 0.0
            self._own_since: float | None = None
            asyncio.get_running_loop().call_soon(self._turn)
        # The thread's own time takes a system call to tell. It is never more than has passed for everybody.
        if now - self._told_at > _SURE_SECONDS:
            own = time.thread_time()
            if self._own_since is None:
                self._own_since = own - _SURE_SECONDS
            self._told, self._told_at = own - self._own_since, now
        return self._told + now - self._told_at

    async def turn(self) -> None:
        """Wait until the loop is not held any more."""
        while self.held() > _HOLD_SECONDS:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn

    async def spread(self, items: Iterable[object]) -> AsyncIterator[object]:
        """The items, others' work between them."""
        for item in items:
            await self.turn()
            yield item

    def _turn(self) -> None:
        self._since = None
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # it is when the operation was cancelled
                turn.set_result(None)
                self.held()  # so that the next one has its turn, whatever this one does with its own
                return


_paces: WeakKeyDictionary[asyncio.AbstractEventLoop, Pace] = WeakKeyDictionary()


def _pace() -> Pace:
    loop = asyncio.get_running_loop()
    return _paces.get(loop) or _paces.setdefault(loop, Pace())


class Known(MiddlewareManager):
    """What resolvers have answered or raised already, for graphql-core to go on with: none is asked twice."""

    def __init__(self) -> None:
        super().__init__()
        self._outcomes: dict[tuple[int, int], tuple[Waiting, Any, Exception | None]] = {}

    async def answer(self, waiting: Waiting, run: Run) -> Any:
        """What a resolver answers. Raises what it raises."""
        answer, error = None, None
        try:
            answer = await waiting.field.resolve(waiting.source, run)
        except Exception as raised:
            error = raised
        self._outcomes[id(waiting.field.node), id(waiting.source)] = waiting, answer, error
        if error is not None:
            raise error
        return answer

    def get_field_resolver(self, field_resolver: GraphQLFieldResolver) -> GraphQLFieldResolver:
        """The resolver, which is called for what is not known."""

        def resolve(source: Any, info: Any, **arguments: Any) -> Any:
            found = self._outcomes.get((id(info.field_nodes[0]), id(source)))
            if found is None:
                return field_resolver(source, info, **arguments)
            _, answer, error = found
            if error is not None:
                raise error
            return answer

        return resolve


async def execute_whole(read: Read, frame: Frame, known: Known) -> dict[str, Any]:
    """The data that a plan of a whole query makes, resolvers awaited where it needs them.

    Raises when graphql-core must execute the query; `known` is then what it need not find out again.
    """
    run, pace, most = Run(frame), _pace(), frame.context.limits.max_cost
    if pace.held() > _HOLD_SECONDS:
        await pace.turn()
    data: dict[str, Any] = run.attempt(read, frame.root_value, most)
    while run.waiting:
        waiting, run.waiting = run.waiting, []
        asked = [known.answer(each, run) for each in waiting]
        if len(asked) == 1:
            answers = [await asked[0]]
        else:
            answers = await asyncio.gather(*asked, return_exceptions=True)
        for each, answer in zip(waiting, answers, strict=True):
            if isinstance(answer, Exception):
                raise answer
            if pace.held() > _HOLD_SECONDS:
                await pace.turn()
            each.into[each.key] = run.attempt(each.field.complete, answer, most)
    return data


class Executor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor as Strawberry has it, with plans, paced and bounded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.plans = plans_of(self.operation, self.variable_values)
        self._relevant_sub_fields = self.plans.sub_fields
        self._run = self._new_run()
        self._limits: Limits = self.context_value.limits
        self._pace = _pace()

    def build_per_event_executor(self, payload: Any) -> "Executor":
        """An executor of one event, which counts for itself."""
        executor = super().build_per_event_executor(payload)
        assert isinstance(executor, Executor), "it is a copy of this one"
        executor._run = executor._new_run()
        return executor

    def execute_collected_root_fields(
        self, root_type: Any, root_value: Any, grouped_field_set: GroupedFieldSet, *rest: Any
    ) -> Any:
        """Resolve the fields of the operation. They are collected anew each time, and planned as they were first."""
        planned = self.plans.root or self.plans.begin(self, root_type, grouped_field_set)
        return super().execute_collected_root_fields(root_type, root_value, planned, *rest)

    def execute_fields(self, parent_type: Any, source_value: Any, path: Any, grouped_field_set: Any, *rest: Any) -> Any:
        """Resolve the fields of one object. Raises LIMIT_EXCEEDED when it would be too many in all."""
        read = self.plans.of_object(self, parent_type, grouped_field_set)
        if read is None:
            return self._execute_part(parent_type, source_value, path, grouped_field_set, *rest)
        if self._pace.held() > _HOLD_AT_MOST_SECONDS:
            return self._execute_later(read, parent_type, source_value, path, grouped_field_set, *rest)
        with suppress(Exception):
            return self._run.attempt(read, source_value, self._limits.max_cost)
        return self._execute_each(parent_type, source_value, path, grouped_field_set, *rest)

    def _execute_part(self, parent_type: Any, source_value: Any, path: Any, grouped_field_set: Any, *rest: Any) -> Any:
        """Resolve those fields that can be planned together, and then the others: what is read has no effects."""
        part = self.plans.of_part(self, parent_type, grouped_field_set)
        if part is None or self._pace.held() > _HOLD_AT_MOST_SECONDS:
            return self._execute_each(parent_type, source_value, path, grouped_field_set, *rest)
        read, others = part
        try:
            answer = self._run.attempt(read, source_value, self._limits.max_cost)
        except Exception:
            answer = None
        if answer is None:
            return self._execute_each(parent_type, source_value, path, grouped_field_set, *rest)
        self._charge(len(others))
        done: Any = super().execute_fields(parent_type, source_value, path, others, *rest)
        if self.is_awaitable(done):
            return _joined(grouped_field_set, answer, done)
        return {key: answer[key] if key in answer else done[key] for key in grouped_field_set}

    async def _execute_later(self, read: Read, parent_type: Any, source_value: Any, *rest: Any) -> Any:
        await self._pace.turn()
        with suppress(Exception):
            return self._run.attempt(read, source_value, self._limits.max_cost)
        done = self._execute_each(parent_type, source_value, *rest)
        return await done if self.is_awaitable(done) else done

    def _execute_each(self, parent_type: Any, source_value: Any, path: Any, grouped_field_set: Any, *rest: Any) -> Any:
        self._charge(len(grouped_field_set) - 1)  # the first was charged with the list that the object is in
        return super().execute_fields(parent_type, source_value, path, grouped_field_set, *rest)

    def execute_field(self, parent_type: Any, source: Any, field_details_list: Any, *rest: Any) -> Any:
        """Resolve one field of an object that has others which cannot be planned."""
        read = self.plans.of_field(self, parent_type, field_details_list)
        is_leaf = field_details_list[0].node.selection_set is None
        if read is not None and (is_leaf or self._pace.held() <= _HOLD_AT_MOST_SECONDS):
            with suppress(Exception):
                return self._run.attempt(read, source, self._limits.max_cost)
        return super().execute_field(parent_type, source, field_details_list, *rest)

    def complete_list_value(
        self, return_type: GraphQLList[Any], field_details_list: Any, info: Any, path: Any, result: Any, *rest: Any
    ) -> Any:
        """Resolve the elements of a list, with pauses where it may take long."""
        takes_time = isinstance(result, Sequence) and bool(result) and not is_leaf_type(get_named_type(return_type))
        if takes_time:
            is_held = self._pace.held() > _HOLD_AT_MOST_SECONDS
            read = self.plans.of_list(self, return_type, field_details_list)
            if read is not None and not is_held:
                with suppress(Exception):
                    return self._run.attempt(read, result, self._limits.max_cost)
            self._charge(len(result))  # before any is resolved, each of which may begin another list
            if is_held or len(result) > _SHORT:
                result = self._pace.spread(result)
        return super().complete_list_value(return_type, field_details_list, info, path, result, *rest)

    def _new_run(self) -> Run:
        fragments, variables = self.fragment_definitions, self.variable_values
        return Run(Frame(self.schema, self.operation, fragments, variables, self.context_value, self.root_value))

    def _charge(self, fields: int) -> None:
        self._run.resolved += fields
        if self._run.resolved > self._limits.max_cost:
            raise exceeded("cost", self._run.resolved, self._limits.max_cost, at_least=True)


async def _joined(selected: GroupedFieldSet, answer: dict[str, Any], others: Awaitable[dict[str, Any]]) -> Any:
    done = await others
    return {key: answer[key] if key in answer else done[key] for key in selected}
