"""One execution by plans: what it is told, how far it has come, and what it waits for."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from graphql import FieldNode, FragmentDefinitionNode, GraphQLSchema, OperationDefinitionNode
from graphql.execution.values import VariableValues
from strawberry.types.info import Info

if TYPE_CHECKING:
    from app.api.resolving import Computed

_AT_ONCE = 2_000
"""How many fields are read in one go, about a millisecond: what is larger is left to graphql-core, piece by piece."""


class Unplanned(Exception):
    """What a plan does not know."""


class Frame(NamedTuple):
    """What an operation is executed with."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDefinitionNode]
    variables: VariableValues
    context: Any
    root_value: Any


class Run:
    """One execution: how many fields it has resolved, where its plans must stop, and what they have to wait for."""

    __slots__ = ("_infos", "frame", "resolved", "stop", "waiting")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.resolved = 0
        self.stop = 0
        self.waiting: list[Waiting] = []
        self._infos: dict[int, Info[Any, None]] = {}

    def attempt(self, read: "Read", value: Any, most: int) -> Any:
        """What a plan makes of a value. Raises, with nothing counted, when graphql-core must."""
        before = self.resolved
        self.stop = min(before + _AT_ONCE, most)
        try:
            answer = read(value, self)
            if self.resolved > most:
                raise Unplanned
        except Exception:
            self.resolved = before
            raise
        return answer

    def info(self, field: "Computed") -> Info[Any, None]:
        """What the resolver of a field is told, whichever value it is asked about."""
        info = self._infos.get(id(field))
        if info is None:
            info = Info(_raw_info=_RawInfo(self.frame, field), _field=field.definition)  # type: ignore[arg-type]
            self._infos[id(field)] = info
        return info


Read: TypeAlias = Callable[[Any, Run], Any]


class _RawInfo:
    """What of graphql-core's info is the same for every value: who asks for the rest is no case for a plan."""

    def __init__(self, frame: Frame, field: "Computed") -> None:
        self.field_name = field.nodes[0].name.value
        self.field_nodes = field.nodes
        self.return_type = field.graphql.type
        self.parent_type = field.parent
        self.schema = frame.schema
        self.fragments = frame.fragments
        self.root_value = frame.root_value
        self.operation = frame.operation
        self.variable_values = frame.variables.coerced
        self.context = frame.context

    def __getattr__(self, name: str) -> Any:
        raise Unplanned


class Awaited(NamedTuple):
    """A field whose resolver is waited for, and what completes its answer."""

    node: FieldNode
    resolve: Read
    complete: Read


class Waiting(NamedTuple):
    """A place in an answer that waits for the resolver of a value."""

    field: Awaited
    source: Any
    into: dict[str, Any]
    key: str
