"""How much a document and its variables may ask for. In the order of use:

    document = parse_bounded(source, limits)
    errors = (
        check_variables(variables, limits)
        or check(measure(document, operation_name, schema, variables), limits)
        or validate(schema, document, bounded_rules(specified_rules, limits))
    )

Each step takes time in proportion to what the one before let through; where validation would not, a budget ends it.
Each error has the code LIMIT_EXCEEDED and says which limit it is, what was found, what is allowed and what to do now.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from graphql import (
    BREAK,
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSyntaxError,
    OverlappingFieldsCanBeMergedRule,
    SelectionSetNode,
    ValidationContext,
    VisitorAction,
    parse,
)
from graphql.validation.validate import ValidationAbortedError
from msgspec import Struct

SATURATED = 10**15
"""Where sums stop: far above any limit, and still a number that JavaScript reads exactly."""


class Limits(Struct, frozen=True):
    """The most that one request may ask for."""

    max_source_bytes: int = 100_000
    max_tokens: int = 2_500
    max_comments: int = 1_000
    max_depth: int = 15
    max_fields: int = 1_000
    max_aliases: int = 100
    max_cost: int = 100_000
    max_directives: int = 100
    max_operations: int = 20
    max_fragments: int = 100
    max_variables: int = 100
    max_variables_bytes: int = 512 * 1024
    max_list_items: int = 20_000
    max_value_depth: int = 64
    max_comparisons: int = 10_000


class Measures(Struct, frozen=True):
    """What a document asks for.

    Depth, fields, aliases, cost and list items are those of the operation that is to run, fragments included; of the
    largest operation where none is chosen. The others are of the whole document as it is written.
    """

    depth: int  # of fields within fields
    fields: int
    aliases: int
    cost: int
    list_items: int  # values within lists and objects; a variable's wherever it is used
    value_depth: int  # of lists and objects within each other
    directives: int
    operations: int
    fragments: int
    variables: int
    visited: int  # nodes that were looked at, which shows that none was looked at twice


_WORDS = {
    "source_bytes": ("size of the document in bytes", "Send a shorter one, values as variables."),
    "tokens": ("number of tokens", "Send a shorter document, values as variables."),
    "comments": ("number of comments", "Leave comments out."),
    "depth": ("nesting of fields", "Ask for what lies deeper in an operation of its own."),
    "fields": ("number of fields, fragments included,", "Ask for fewer, or in several operations."),
    "aliases": ("number of aliases, fragments included,", "Ask for lists instead, or in several operations."),
    "cost": ("cost (fields, times the elements of lists)", "Ask for fewer fields, or smaller pages with `first`."),
    "directives": ("number of directives", "Use fewer."),
    "operations": ("number of operations", "Send those that are not to run in documents of their own."),
    "fragments": ("number of fragments", "Leave out those that are not needed."),
    "variables": ("number of variables", "Put values together in one input object."),
    "variables_bytes": ("size of the variables in bytes", "Send smaller values."),
    "list_items": ("number of values in lists and objects", "Send shorter lists, in several operations."),
    "value_depth": ("nesting of lists and objects in a value", "Send flatter values."),
    "comparisons": ("work to merge fields of the same name", "Ask for each field once per selection set."),
    "subscriptions": ("number of operations under way on this websocket", "Complete one, or open another websocket."),
}


def exceeded(name: str, value: int, allowed: int, *, at_least: bool = False) -> GraphQLError:
    """The error for a limit that is exceeded."""
    what, advice = _WORDS[name]
    return GraphQLError(
        f"The {what} is {'at least ' if at_least else ''}{value}; {allowed} is the most. {advice}",
        extensions={"code": "LIMIT_EXCEEDED", "limit": f"max_{name}", "value": value, "allowed": allowed},
    )


def check(measures: Measures, limits: Limits) -> list[GraphQLError]:
    """An error for each limit that is exceeded."""
    named = [(name, getattr(measures, name)) for name in Measures.__struct_fields__ if name != "visited"]
    return [
        exceeded(name, value, allowed) for name, value in named if value > (allowed := getattr(limits, f"max_{name}"))
    ]


def parse_bounded(source: str, limits: Limits) -> DocumentNode:
    """The document; raises a GraphQLError with the code LIMIT_EXCEEDED, or a syntax error, without reading on."""
    # graphql-core would refuse a long source too, but looks through all of it for the place in its error: 1 s for
    # 50 MiB. Encoding takes time as well, so it waits until the length in code points, never larger, is found good.
    size = len(source)
    if size <= limits.max_source_bytes:
        size = len(source.encode("utf-8", "surrogatepass"))
    if size > limits.max_source_bytes:
        raise exceeded("source_bytes", size, limits.max_source_bytes)
    try:
        return parse(source, max_lexical_tokens=limits.max_tokens, max_comments=limits.max_comments)
    except GraphQLSyntaxError as error:
        # graphql-core has no other sign of these than their words. It stops at 200 levels of braces and brackets.
        limit = {
            f"Syntax Error: Document contains more than {limits.max_tokens} tokens. Parsing aborted.": "tokens",
            f"Syntax Error: Document contains more than {limits.max_comments} comments. Parsing aborted.": "comments",
            "Syntax Error: Document is nested too deeply. Parsing aborted.": "depth",
        }.get(error.message)
        if limit is None:
            raise
    allowed = getattr(limits, f"max_{limit}")
    raise exceeded(limit, allowed + 1, allowed, at_least=True)


class Weight(NamedTuple):
    """The size of a JSON value."""

    bytes: int  # about as many as it has as JSON
    items: int  # values within lists and objects
    depth: int  # of lists and objects within each other


def weigh(value: object, most: Weight = Weight(SATURATED, SATURATED, SATURATED)) -> Weight:  # noqa: B008
    """The size of a JSON value; of one that exceeds the most, as much as was seen until then."""
    size = items = depth = 0
    level = [value]  # values that are equally deep
    while level and depth <= most.depth:
        deeper: list[object] = []
        nested = False
        for value in level:
            children: Collection[object] = ()
            if isinstance(value, str):
                size += 3 + _bytes(value)
            elif isinstance(value, int):
                size += 2 + value.bit_length() * 3 // 10  # digits, without writing them: they may be thousands
            elif isinstance(value, list):
                nested, children = True, value
            elif isinstance(value, dict):
                nested, children = True, value.values()
                size += 4 * len(value) + _bytes("".join(value))
            else:
                size += 5 if value is None else 20
            items += len(children)
            # Checked before the children are copied, of which there may be millions.
            if size > most.bytes or items > most.items:
                return Weight(size, items, depth)
            deeper += children
        level, depth = deeper, depth + nested
    return Weight(size, items, depth)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def check_variables(variables: Mapping[str, object] | None, limits: Limits) -> list[GraphQLError]:
    """An error for each limit that the variables were found to exceed when looking stopped."""
    # The variables together are an object too, which is not counted as a level.
    most = Weight(limits.max_variables_bytes, limits.max_list_items, limits.max_value_depth + 1)
    found = weigh(dict(variables or {}), most)
    return [
        exceeded(name, value, allowed, at_least=True)
        for name, value, allowed in (
            ("variables_bytes", found.bytes, limits.max_variables_bytes),
            ("list_items", found.items, limits.max_list_items),
            ("value_depth", found.depth - 1, limits.max_value_depth),
        )
        if value > allowed
    ]


MAX_ERRORS = 20
"""How many errors of validation are looked for. The names that one suggests take a millisecond or two to find."""


def bounded_rules(rules: Iterable[type[ASTValidationRule]], limits: Limits) -> tuple[type[ASTValidationRule], ...]:
    """The validation rules, with that for fields of the same name bounded, and the errors of all of them."""
    bounded = (_bounded_merging(limits) if rule is OverlappingFieldsCanBeMergedRule else rule for rule in rules)
    return (_FewErrorsRule, *bounded)


class _FewErrorsRule(ASTValidationRule):
    """Ends validation at a number of errors, graphql-core's own being fixed by who calls it."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._found = 0
        self._told = context.on_error
        context.on_error = self._counted  # type: ignore[method-assign]

    def _counted(self, error: GraphQLError) -> None:
        self._found += 1
        if self._found > MAX_ERRORS:
            raise ValidationAbortedError("Too many validation errors, error limit reached. Validation aborted.")
        self._told(error)


@lru_cache(maxsize=8)
def _bounded_merging(limits: Limits) -> type[ASTValidationRule]:
    """The rule that fields of the same name can be merged, which compares each with each, with a budget of our own.

    graphql-core's own, 500,000 units, lasts for seconds; what people write needs less than 1,000.
    """

    class BoundedMergingRule(OverlappingFieldsCanBeMergedRule):
        def __init__(self, context: ValidationContext) -> None:
            super().__init__(context)
            self.rule_context.remaining_complexity_budget = limits.max_comparisons

        def enter_selection_set(self, node: SelectionSetNode, *args: Any) -> VisitorAction:  # type: ignore[override]
            try:
                super().enter_selection_set(node, *args)
            except ValidationAbortedError:
                left = self.rule_context.remaining_complexity_budget
                if left >= 0:
                    raise  # too many errors, which ends the validation as a whole
                allowed = limits.max_comparisons
                self.report_error(exceeded("comparisons", allowed - left, allowed, at_least=True))
                return BREAK  # ends this rule
            return None

    return BoundedMergingRule
