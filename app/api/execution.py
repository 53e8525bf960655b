"""Execution that leaves others their turn and stops at the limit, whatever an operation asks for.

graphql-core executes in one go what it need not wait for: a hundred releases with all that belongs to them would hold
the event loop for half a second, histories within histories for minutes, and no timeout could end it. Here long lists
give way to others between their elements, and every list does once the loop has been held for long enough. The fields
are counted as they are resolved, since a list may be longer than the cost that was estimated before took it to be.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from graphql import GraphQLList, get_named_type, is_leaf_type
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app.api.limits import Limits, exceeded

_HOLD_SECONDS = 0.01
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
        """For how many seconds of its own time the loop's thread has been held."""
        now = time.thread_time()
        if self._since is None:
            self._since = now
            asyncio.get_running_loop().call_soon(self._turn)
        return now - self._since

    async def spread(self, items: Iterable[object]) -> AsyncIterator[object]:
        """The items, others' work between them."""
        for item in items:
            while self.held() > _HOLD_SECONDS:
                turn = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
                await turn
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


class Count:
    """How many fields an operation has resolved, or all events of a subscription that are under way."""

    resolved = 0


class Executor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor as Strawberry has it, paced and bounded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._count = Count()
        self._limits: Limits = self.context_value.limits
        self._pace = _paces.setdefault(asyncio.get_running_loop(), Pace())

    def build_per_event_executor(self, payload: Any) -> "Executor":
        """An executor of one event, which counts for itself."""
        executor = super().build_per_event_executor(payload)
        assert isinstance(executor, Executor), "it is a copy of this one"
        executor._count = Count()
        return executor

    def execute_fields(self, parent_type: Any, source_value: Any, path: Any, grouped_field_set: Any, *rest: Any) -> Any:
        """Resolve the fields of one object. Raises LIMIT_EXCEEDED when it would be too many in all."""
        self._charge(len(grouped_field_set) - 1)  # the first was charged with the list that the object is in
        return super().execute_fields(parent_type, source_value, path, grouped_field_set, *rest)

    def complete_list_value(
        self, return_type: GraphQLList[Any], field_details_list: Any, info: Any, path: Any, result: Any, *rest: Any
    ) -> Any:
        """Resolve the elements of a list, with pauses where it may take long."""
        takes_time = isinstance(result, Sequence) and bool(result) and not is_leaf_type(get_named_type(return_type))
        if takes_time:
            self._charge(len(result))  # before any is resolved, each of which may begin another list
        if takes_time and (len(result) > _SHORT or self._pace.held() > _HOLD_AT_MOST_SECONDS):
            result = self._pace.spread(result)
        return super().complete_list_value(return_type, field_details_list, info, path, result, *rest)

    def _charge(self, fields: int) -> None:
        self._count.resolved += fields
        if self._count.resolved > self._limits.max_cost:
            raise exceeded("cost", self._count.resolved, self._limits.max_cost, at_least=True)
