"""Random documents over the real schema: aliases, fragments, directives, variables, and arguments, bad ones too."""

import random
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
)

DECLARED = "$yes: Boolean!, $no: Boolean! = false, $first: Int, $id: ID!"
INTROSPECTION = (
    '__type(name: "Release") { kind name fields { name type { name ofType { name } } } }',
    "__schema { queryType { name fields(includeDeprecated: true) { name isDeprecated args { name defaultValue } } } }",
)
_CONDITIONS = ("true", "false", "$yes", "$no")
_FIRST = ("0", "1", "2", "100", "101", "-1", "null", "$first", "7")


class Documents:
    """Documents of one seed. Arguments that ask for something by id or key take one of `known`."""

    def __init__(
        self, schema: GraphQLSchema, seed: int, known: dict[str, list[str]], without: frozenset[str] = frozenset()
    ) -> None:
        self._schema = schema
        self._random = random.Random(seed)
        self._known = known
        self._without = without
        self._names = 0
        self._fragments: list[str] = []

    def query(self) -> str:
        """A query of up to three root fields."""
        root = self._schema.query_type
        assert root is not None
        names = [name for name in root.fields if name not in ("evaluate", "explain", "previewAction")]
        chosen = [self._field(root.fields[name], name, 4) for name in self._random.choices(names, k=3)]
        if self._random.random() < 0.1:
            chosen.append(self._random.choice(INTROSPECTION))
        return self._document("query", " ".join(chosen))

    def subscription(self, name: str) -> str:
        """A subscription by that field, whatever its events."""
        root = self._schema.subscription_type
        assert root is not None
        selection = self._selection(get_named_type(root.fields[name].type), 5)
        given = '(releaseId: "rel_1")' if name == "releaseEvents" else ""
        return self._document("subscription", f"{name}{given} {selection}")

    def variables(self) -> dict[str, Any]:
        """Values for what is declared, now and then a wrong one."""
        values: dict[str, Any] = {"yes": self._random.random() < 0.8, "id": self._id("id")}
        if self._random.random() < 0.6:
            values["first"] = self._random.choice([0, 1, 3, 50, 101, None])
        if self._random.random() < 0.3:
            values["no"] = self._random.random() < 0.5
        if self._random.random() < 0.03:
            values[self._random.choice(["yes", "first", "id"])] = self._random.choice([[1], "x", {}, 2.5])
        return values

    def _document(self, kind: str, selection: str) -> str:
        fragments, self._fragments = self._fragments, []
        declared = ", ".join(part for part in DECLARED.split(", ") if part.split(":")[0] in selection + str(fragments))
        return f"{kind} {f'Q({declared})' if declared else ''} {{ {selection} }} {' '.join(fragments)}"

    def _selection(self, type_: GraphQLNamedType, depth: int) -> str:
        parts: list[str] = []
        if not isinstance(type_, GraphQLUnionType):
            assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
            names = [
                name
                for name, field in type_.fields.items()
                if name not in self._without and (depth > 0 or is_leaf_type(get_named_type(field.type)))
            ]
            chosen = self._random.choices(names, k=self._random.randint(1, 5)) if names else []
            parts += [self._field(type_.fields[name], name, depth - 1) for name in chosen]
        if not parts or self._random.random() < 0.25:
            parts.append(self._alias() + "__typename")
        if self._random.random() < 0.3:
            parts.append(self._fragment(type_, depth))
        self._random.shuffle(parts)
        return f"{{ {' '.join(parts)} }}"

    def _field(self, field: GraphQLField, name: str, depth: int) -> str:
        named = get_named_type(field.type)
        below = "" if is_leaf_type(named) else self._selection(named, depth)
        alias = f"{self._name()}: " if field.args else self._alias()
        return f"{alias}{name}{self._arguments(field)}{self._directive()} {below}"

    def _fragment(self, type_: GraphQLNamedType, depth: int) -> str:
        on = type_
        if isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
            on = self._random.choice(self._schema.get_possible_types(type_))
        selection = self._selection(on, depth)
        if self._random.random() < 0.5:
            return f"... on {on.name}{self._directive()} {selection}"
        name = self._name().upper()
        self._fragments.append(f"fragment {name} on {on.name} {selection}")
        return f"...{name}{self._directive()}" * self._random.choice([1, 1, 2])

    def _arguments(self, field: GraphQLField) -> str:
        given = []
        for name in field.args:
            if name == "first" and self._random.random() < 0.8:
                given.append(f"first: {self._random.choice(_FIRST)}")
            elif name in ("id", "key"):
                value = "$id" if name == "id" and self._random.random() < 0.3 else f'"{self._id(name)}"'
                given.append(f"{name}: {value}")
            elif name == "after" and self._random.random() < 0.1:
                given.append('after: "nonsense"')
        return f"({', '.join(given)})" if given else ""

    def _id(self, name: str) -> str:
        return self._random.choice(self._known[name])

    def _alias(self) -> str:
        return f"{self._name()}: " if self._random.random() < 0.2 else ""

    def _directive(self) -> str:
        if self._random.random() < 0.85:
            return ""
        return f" @{self._random.choice(['include', 'skip'])}(if: {self._random.choice(_CONDITIONS)})"

    def _name(self) -> str:
        self._names += 1
        return f"n{self._names}"
