"""What a document is measured to ask for."""

import pytest
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    SelectionSetNode,
    build_schema,
    parse,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.api.connections import MAX_FIRST, page_size
from app.api.limits import SATURATED, Measures
from app.api.measures import LIST_LENGTH, MAX_PAGE, NULL_PAGE, measure
from tests.api.serving import SCHEMA


def measured(source: str, operation_name: str | None = None, **variables: object) -> Measures:
    return measure(parse(source), operation_name, SCHEMA, variables)


def node_count(document: DocumentNode) -> int:
    """How many nodes a document has in all."""
    return str(document.to_dict()).count("'kind': ")


def test_counts_what_is_written():
    """One document, counted by hand."""
    assert measured(
        """
        query Q($f: ReleaseFilter = {status: [PAUSED]} @a, $n: Int) @b {
          one: serverTime @include(if: true)
          releases(filter: $f, first: 3) { edges { node { ...R ... on Release @c { two: id } } } }
          releases(filter: {status: [PAUSED, ABORTED], featureKey: "f"}, first: $n) { __typename }
        }
        fragment R on Release @d { number feature { key } ...S }
        fragment S on Release { three: revision }
        """,
        f={"status": ["IN_PROGRESS"], "featureKey": "g"},
    ) == Measures(
        depth=5,
        fields=11,
        aliases=3,
        # serverTime, releases, then edges, node, id, number, feature, key and revision thrice, and a page of 20
        cost=1 + 1 + 3 * 7 + 1 + 20,
        # The variable holds a list, its element and a string; the literal one element more.
        list_items=3 + 4,
        value_depth=2,
        directives=5,
        operations=1,
        fragments=2,
        variables=2,
        visited=31,
    )


@pytest.mark.parametrize(
    ("declared", "argument", "variables", "size"),
    [
        ("", "", {}, 20),
        ("", "first: null", {}, NULL_PAGE),
        ("", "first: 7", {}, 7),
        ("", "first: 0", {}, 1),
        ("", "first: -5", {}, 1),
        ("", "first: 100", {}, 100),
        ("", "first: 101", {}, MAX_PAGE),
        ("", f"first: {'9' * 5_000}", {}, MAX_PAGE),
        ("", 'first: "7"', {}, MAX_PAGE),
        ("", "first: $n", {"n": 7}, 7),
        ("($n: Int)", "first: $n", {"n": 7}, 7),
        ("($n: Int)", "first: $n", {"n": None}, NULL_PAGE),
        ("($n: Int)", "first: $n", {"n": -(10**5_000)}, 1),
        ("($n: Int)", "first: $n", {"n": 10**5_000}, MAX_PAGE),
        ("($n: Int)", "first: $n", {"n": [7]}, MAX_PAGE),
        ("($n: Int)", "first: $n", {}, 20),
        ("($n: Int = 9)", "first: $n", {}, 9),
        ("($n: Int = null)", "first: $n", {}, NULL_PAGE),
        ("($n: Int = 9)", "first: $n", {"n": 7}, 7),
    ],
)
def test_cost_goes_by_first(declared, argument, variables, size):
    """What is under a page counts as often as `first` says, however it says it, and never less than once."""
    assert (
        measured(
            f"query {declared} {{ releases(after: null {argument}) {{ edges {{ node {{ id }} }} }} }}", **variables
        ).cost
        == 1 + 3 * size
    )


def test_sizes_of_pages_are_those_that_resolvers_know():
    """The measures know pages by the same numbers as the resolvers."""
    assert page_size(None) == NULL_PAGE
    assert MAX_FIRST == MAX_PAGE


@pytest.mark.parametrize(
    ("source", "cost"),
    [
        ("{ serverTime }", 1),
        ("{ serverTime serverTime }", 2),
        ("{ environments { name } }", 1 + LIST_LENGTH),
        ("{ release(id: 1) { phases { rules { environments } } } }", 2 + LIST_LENGTH * (1 + LIST_LENGTH)),
        (
            "{ features(first: 10) { edges { node { releases(first: 3) { edges { cursor } } } } } }",
            1 + 10 * (3 + 3 * 2),
        ),
        ("subscription { releases { id phases { id } } }", 3 + LIST_LENGTH),
        ("{ node(id: 1) { ... on Release { number } ... on Pipeline { name } id } }", 4),
        ("{ ...A ...A } fragment A on Query { environments { name } }", 2 * (1 + LIST_LENGTH)),
        ("{ environments { ...A } } fragment A on Environment { name }", 1 + LIST_LENGTH),
        ("{ __schema { types { name } } __typename }", 3 + LIST_LENGTH),
        ("{ nothing(first: 50) { at { all } } }", 3),
        ("{ ... on Nothing { environments { name } } }", 2),
        ("mutation { a: skipPhase { __typename } b: skipPhase { __typename } }", 4),
    ],
)
def test_cost_multiplies_lists(source, cost):
    """Fields are added up, and multiplied by the lists that they are in."""
    assert measured(source).cost == cost


def test_lists_of_connections_are_left_out_only_below_first():
    """Only what `first` alone leads to is a connection; any other list has a length of its own."""
    schema = build_schema(
        """
        type Query { page(first: Int): Page, both(first: Int): Both, things(first: Int = 3): [Thing], all: [[Thing]] }
        type Page { things: [Thing] }
        type Both { things: [Thing] }
        union Any = Both | Thing
        type Thing { name: String, page: Page2, more(first: Int): Page2 }
        type Page2 { things: [Thing] }
        """
    )

    def cost(source):
        return measure(parse(source), None, schema, None).cost

    assert cost("{ page { things { name } } }") == 1 + NULL_PAGE * 2
    assert cost("{ things { name } }") == 1 + 3
    assert cost("{ all { name } }") == 1 + LIST_LENGTH**2
    assert cost("{ both(first: 2) { things { name } } }") == 1 + 2 * (1 + LIST_LENGTH)
    assert cost("{ things(first: 1) { page { things { name } } } }") == 1 + 1 + 1 + LIST_LENGTH


def doubling(levels: int) -> str:
    """Fragments that each spread the one before twice."""
    fragments = (f"fragment F{n} on Query{{...F{n - 1} ...F{n - 1}}}" for n in range(1, levels + 1))
    return f"{{...F{levels}}}fragment F0 on Query{{a:serverTime}}" + "".join(fragments)


@pytest.mark.parametrize("levels", [1, 18, 500])
def test_fragments_are_multiplied_not_expanded(levels):
    """Each node is looked at once, though the fields are as many as two to the power of the fragments."""
    document = parse(doubling(levels))
    measures = measure(document, None, SCHEMA, None)
    many = min(2**levels, SATURATED)
    assert (measures.fields, measures.aliases, measures.cost) == (many, many, many)
    assert measures.depth == 1
    assert measures.visited == 1 + 1 + 2 * levels


def test_chains_of_fragments_do_not_overflow_the_stack():
    """A chain of 1,000 fragments is measured to its end."""
    chain = "".join(f"fragment F{n} on Release{{feature{{activeRelease{{...F{n + 1}}}}}}}" for n in range(1_000))
    assert measured(f"{{release(id:1){{...F0}}}}{chain}fragment F1000 on Release{{id}}").depth == 2_002


@pytest.mark.parametrize(
    ("source", "fields", "depth"),
    [
        ("{ serverTime ...Unknown }", 1, 1),
        ("{ ...A } fragment A on Query { serverTime ...A }", 1, 1),
        ("{ ...A } fragment A on Query { serverTime ...B } fragment B on Query { viewer { role } ...A }", 3, 2),
        ("{ ...A ...B } fragment A on Query { ...B } fragment B on Query { ...A serverTime }", 2, 1),
        ("fragment A on Query { serverTime }", 0, 0),
        ("type Query { a: Int }", 0, 0),
        ("{ serverTime { impossible { fields } } }", 3, 3),
        ("{ node(id: 1) { } }", 1, 1),
    ],
)
def test_what_is_wrong_is_left_to_validation(source, fields, depth):
    """Cycles, and what is unknown, add what there is of them, and nothing raises."""
    measures = measured(source)
    assert (measures.fields, measures.depth) == (fields, depth)


def test_the_operation_that_runs_is_measured():
    """The chosen operation counts, with its own defaults; where none is chosen, the largest."""
    page = "releases(first: $n) { edges { node { id } } }"
    source = f"query A($n: Int = 2) {{ {page} }} query B($n: Int = 50) {{ {page} }} query C {{ a: serverTime }}"
    assert measured(source, "A").cost == 7
    assert measured(source, "B").cost == 151
    assert measured(source, "C") == measured(source, "C", n=99)
    assert measured(source, "C").aliases == 1
    assert measured(source, "A").aliases == 0
    for none in (None, "", "D"):
        assert measured(source, none, n=3).cost == 10
        assert measured(source, none).aliases == 1


def test_a_variable_counts_wherever_it_is_used():
    """A list that is sent once and used thirty times counts thirty times, through fragments too."""
    uses = "".join(f"a{n}: releases(filter: {{status: $s}}) {{ __typename }} " for n in range(10))
    source = f"query ($s: [ReleaseStatus!]) {{ ...A ...A ...A }} fragment A on Query {{ {uses} }}"
    assert measured(source, s=["PAUSED"] * 1_000).list_items == 30 * 1_001
    assert measured(source.replace("!]", f"!] = [{'PAUSED ' * 9}]")).list_items == 30 * 10


FIELDS = ["id", "x: id @include(if: $a) @skip", "y: phases(first: $b, a: [$a [1 {b: $c}] null])"]
OPENINGS = ["feature {", "__schema {", "x: releases(first: $a) {", "features(first: null) @a(if: {a: [1]}) {", "... {"]
OPENINGS += ["... on Release @skip {", "... on ReleaseActionResult {", "... on Unknown {"]
DECLARED = ["", "($a: Int = 3, $b: [Int] = [1, [2]])", "($b: Int = null @skip, $c: JSON)"]
TYPES = st.sampled_from(["Query", "Release", "Node", "ReleaseConnection", "ReleaseActionResult", "JSON", "Unknown"])


def selection_sets(spreads: list[str]) -> st.SearchStrategy[str]:
    """Selection sets that spread those fragments."""
    parts = st.sampled_from(FIELDS) | st.sampled_from([*OPENINGS, "}", "}"])
    if spreads:
        parts |= st.sampled_from([f"...{name}" for name in spreads])

    def balanced(parts: list[str]) -> str:
        written = "{"
        for part in parts:
            if part != "}" or written.count("{") > written.count("}") + 1:
                written += f" {part}"
        return written + "}" * (written.count("{") - written.count("}"))

    return st.lists(parts, max_size=20).map(balanced)


@st.composite
def documents(draw: st.DrawFn, *, acyclic: bool) -> str:
    """Documents of an operation or more and four fragments."""
    names = ["F0", "F1", "F2", "F3"]
    source = "".join(
        f"{draw(st.sampled_from(['query', 'mutation', 'subscription']))} Q{n} {draw(st.sampled_from(DECLARED))} "
        f"{draw(selection_sets(names))} "
        for n in range(1 if acyclic else draw(st.integers(1, 3)))
    )
    for n, name in enumerate(names):
        body = selection_sets(names[:n] if acyclic else [*names, "F9"])
        source += f"fragment {name} on {draw(TYPES)} {draw(body)} "
    return source


def expanded(
    selection_set: SelectionSetNode | None, fragments: dict[str, FragmentDefinitionNode]
) -> tuple[int, int, int]:
    """Depth, fields and aliases as they come out when fragments are put in the place of spreads."""
    depth = fields = aliases = 0
    for node in selection_set.selections if selection_set else ():
        within = fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
        below = expanded(within.selection_set, fragments)
        is_field = isinstance(node, FieldNode)
        depth = max(depth, below[0] + is_field)
        fields += below[1] + is_field
        aliases += below[2] + (is_field and node.alias is not None)
    return depth, fields, aliases


@settings(deadline=None)
@given(documents(acyclic=True))
def test_measures_agree_with_expansion(source):
    """Depth, fields and aliases are those of the document with its fragments written out."""
    document = parse(source)
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    measures = measure(document, None, SCHEMA, {})
    assert (measures.depth, measures.fields, measures.aliases) == expanded(
        document.definitions[0].selection_set, fragments
    )


@settings(deadline=None)
@given(
    documents(acyclic=False),
    st.sampled_from([None, "", "Q0", "Q1", "Q9"]),
    st.dictionaries(st.sampled_from("abc"), st.none() | st.integers() | st.floats() | st.text() | st.lists(st.none())),
)
@example(doubling(3), None, {})
def test_any_document_is_measured_in_one_pass(source, operation_name, variables):
    """Whatever parses is measured without an error, and no node is looked at twice."""
    document = parse(source)
    measures = measure(document, operation_name, SCHEMA, variables)
    assert measures.visited < node_count(document)
    assert all(0 <= getattr(measures, name) <= SATURATED for name in Measures.__struct_fields__)
