"""What a document asks for, measured in one pass: each node is looked at once, however often fragments repeat it.

Every definition is walked by itself, with the places where it spreads fragments noted; then fragments are added up,
innermost first. So fragments that spread each other twice are multiplied, not expanded. What is wrong with a document
(unknown fields and fragments, fragments that spread themselves) counts for what is there and is left to validation.

The cost of an operation estimates how many fields it resolves. A field costs 1. What lies under a list counts once for
each element: as many as `first` says where the field takes it, LIST_LENGTH otherwise; the lists of a connection were
counted by the `first` that led to it. Fragments are added up, those of different union members too, although at most
one applies to an element: an upper bound. A subscription costs what one of its events does.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NamedTypeNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    Undefined,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    get_named_type,
)
from msgspec import Struct

from app.api.limits import SATURATED, Measures, weigh

NULL_PAGE = 20
"""How many elements `first: null` asks for, as connections.page_size has it."""

MAX_PAGE = 100
"""connections.MAX_FIRST: a larger `first` is refused where it is resolved, so it counts as no more than this."""

LIST_LENGTH = 5
"""How long a list is taken to be where no `first` says it: phases, rules, conditions, events."""

Type: TypeAlias = GraphQLNamedType | None
Directed: TypeAlias = OperationDefinitionNode | FragmentDefinitionNode | VariableDefinitionNode | SelectionNode


class _Part(Struct):
    """What one operation or fragment holds: by itself at first, then with the fragments that it spreads."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    cost: int = 0
    list_items: int = 0
    spreads: list[tuple[str, int, int]] = []  # which fragment, how deep, how many times
    whole: bool = False  # whether the fragments are added

    def add(self, fragment: "_Part", depth: int, times: int) -> None:
        """Add a fragment that is spread at a depth, on each of so many elements."""
        self.depth = max(self.depth, depth + fragment.depth)
        self.fields = min(self.fields + fragment.fields, SATURATED)
        self.aliases = min(self.aliases + fragment.aliases, SATURATED)
        self.cost = min(self.cost + times * fragment.cost, SATURATED)
        self.list_items = min(self.list_items + fragment.list_items, SATURATED)


def measure(
    document: DocumentNode, operation_name: str | None, schema: GraphQLSchema, variables: Mapping[str, object] | None
) -> Measures:
    """What the document asks for with the operation of that name; with its largest where none has it."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    fragments = [node for node in document.definitions if isinstance(node, FragmentDefinitionNode)]
    runs = {_name(node) for node in operations} & {operation_name} or {_name(node) for node in operations}
    # What runs goes first: of a variable that several operations declare, the first default holds.
    operations.sort(key=lambda node: _name(node) not in runs)
    walk = _Walk(schema, variables or {})
    parts = [walk.part(node, schema.get_root_type(node.operation)) for node in operations]
    spread = {node.name.value: walk.part(node, walk.named_type(node.type_condition)) for node in fragments}
    measured = [part for node, part in zip(operations, parts, strict=True) if _name(node) in runs]
    for part in measured:
        _add_fragments(part, spread)
    return Measures(
        depth=max((part.depth for part in measured), default=0),
        fields=max((part.fields for part in measured), default=0),
        aliases=max((part.aliases for part in measured), default=0),
        cost=max((part.cost for part in measured), default=0),
        list_items=max((part.list_items for part in measured), default=0),
        value_depth=walk.value_depth,
        directives=walk.directives,
        operations=len(operations),
        fragments=len(fragments),
        variables=sum(len(node.variable_definitions or ()) for node in operations),
        visited=walk.visited,
    )


def _name(node: OperationDefinitionNode) -> str | None:
    return node.name.value if node.name else None


def _add_fragments(part: _Part, fragments: Mapping[str, _Part]) -> None:
    """Make a part whole, and all fragments within it. Without recursion: fragments may form a chain of any length."""
    path = [(part, iter(part.spreads))]
    open_parts = {id(part)}
    while path:
        part, spreads = path[-1]
        for name, _, _ in spreads:
            fragment = fragments.get(name)
            if fragment and not fragment.whole and id(fragment) not in open_parts:
                open_parts.add(id(fragment))
                path.append((fragment, iter(fragment.spreads)))
                break
        else:
            # What is not whole now is unknown, or spreads this part itself: a cycle. Neither can be executed.
            for name, depth, times in part.spreads:
                if (fragment := fragments.get(name)) and fragment.whole:
                    part.add(fragment, depth, times)
            part.whole = True
            path.pop()


class _Walk:
    """Walks definitions one by one, and sums what counts for the document as a whole."""

    def __init__(self, schema: GraphQLSchema, variables: Mapping[str, object]) -> None:
        self.value_depth = self.directives = self.visited = 0
        self._schema = schema
        self._connections = _connections(schema)
        self._given = variables
        self._defaults: dict[str, ValueNode | None] = {}
        self._items_of: dict[str, int] = {}  # variables

    def part(self, definition: OperationDefinitionNode | FragmentDefinitionNode, type_: Type) -> _Part:
        """What a definition on a type holds by itself."""
        part = _Part()
        self._add_directives(part, definition)
        for variable in definition.variable_definitions or ():
            self._add_directives(part, variable)
            self._declare(variable)
        pending = [(definition.selection_set, type_, 0, 1)]
        while pending:
            selection_set, parent, depth, times = pending.pop()
            for node in selection_set.selections:
                self.visited += 1
                self._add_directives(part, node)
                match node:
                    case FieldNode():
                        part.add(_Part(depth=1, fields=1, aliases=1 if node.alias else 0, cost=1), depth, times)
                        part.list_items += self._items([argument.value for argument in node.arguments or ()])
                        if node.selection_set:
                            type_, elements = self._below(parent, node)
                            pending.append((node.selection_set, type_, depth + 1, min(times * elements, SATURATED)))
                    case InlineFragmentNode():
                        type_ = self.named_type(node.type_condition) if node.type_condition else parent
                        pending.append((node.selection_set, type_, depth, times))
                    case FragmentSpreadNode():
                        part.spreads.append((node.name.value, depth, times))
        return part

    def named_type(self, node: NamedTypeNode) -> Type:
        """The type of that name, if there is one."""
        return self._schema.get_type(node.name.value)

    def _below(self, parent: Type, node: FieldNode) -> tuple[Type, int]:
        """The type of what a field resolves to, and how many of it there are."""
        composite = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType
        field = self._schema.get_field(parent, node.name.value) if isinstance(parent, composite) else None
        if field is None:
            return None, 1
        type_ = get_named_type(field.type)
        if "first" in field.args:
            return type_, self._page(field.args["first"], node)
        if parent in self._connections:
            return type_, 1
        return type_, LIST_LENGTH ** _lists(field)

    def _page(self, first: GraphQLArgument, node: FieldNode) -> int:
        """The number of elements that `first` asks for, at least 1: what is written is never free."""
        given: object = next((a.value for a in node.arguments or () if a.name.value == "first"), Undefined)
        if isinstance(given, VariableNode):
            name = given.name.value
            given = self._given[name] if name in self._given else self._defaults.get(name) or Undefined
        if given is Undefined:
            given = first.default_value
        if given is Undefined and first.default:
            given = first.default.literal or first.default.value
        if given is Undefined or given is None or isinstance(given, NullValueNode):
            return NULL_PAGE
        if isinstance(given, IntValueNode) and len(given.value) < 10:  # thousands of digits are no int to Python
            given = int(given.value)
        # What is no integer, and an integer that is too large, is refused before anything is resolved.
        return min(max(given, 1), MAX_PAGE) if isinstance(given, int) else MAX_PAGE

    def _add_directives(self, part: _Part, node: Directed) -> None:
        for directive in node.directives or ():
            self.directives += 1
            self.visited += 1
            part.list_items += self._items([argument.value for argument in directive.arguments or ()])

    def _declare(self, variable: VariableDefinitionNode) -> None:
        name, default = variable.variable.name.value, variable.default_value
        items = self._items([default]) if default else 0
        self._defaults.setdefault(name, default)
        self._items_of.setdefault(name, weigh(self._given[name]).items if name in self._given else items)

    def _items(self, values: Sequence[ValueNode]) -> int:
        """How many values there are within values, those of variables too."""
        items = 0
        pending = [(value, 1) for value in values]
        while pending:
            value, depth = pending.pop()
            self.visited += 1
            match value:
                case VariableNode():
                    items += self._items_of.get(value.name.value, 0)
                    continue
                case ListValueNode():
                    children = value.values
                case ObjectValueNode():
                    children = tuple(field.value for field in value.fields)
                case _:
                    continue
            items += len(children)
            self.value_depth = max(self.value_depth, depth)
            pending.extend((child, depth + 1) for child in children)
        return items


def _lists(field: GraphQLField) -> int:
    """How many lists within each other a field resolves to."""
    return str(field.type).count("[")


@lru_cache(maxsize=8)
def _connections(schema: GraphQLSchema) -> frozenset[GraphQLNamedType]:
    """The types that only fields with `first` lead to, which then give the length of their lists."""
    paged: set[GraphQLNamedType] = set()
    others: set[GraphQLNamedType] = set()
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            for field in type_.fields.values():
                has_length = "first" in field.args and not _lists(field)
                (paged if has_length else others).add(get_named_type(field.type))
        if isinstance(type_, GraphQLUnionType | GraphQLInterfaceType):
            others.update(schema.get_possible_types(type_))
    return frozenset(paged - others)
