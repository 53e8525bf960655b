"""What is refused for asking too much, and what is not."""

import pytest
from graphql import (
    GraphQLError,
    OverlappingFieldsCanBeMergedRule,
    get_introspection_query,
    parse,
    specified_rules,
    validate,
)
from msgspec.structs import replace

from app.api import limits as module
from app.api.limits import SATURATED, Limits, bounded_rules, check, check_variables, parse_bounded
from app.api.measures import measure
from tests.api.serving import SCHEMA
from tests.api.test_measures import doubling


def refusals(source: str, limits: Limits = Limits(), **variables: object) -> list[GraphQLError]:  # noqa: B008
    """The errors of a request that goes through every step."""
    try:
        document = parse_bounded(source, limits)
    except GraphQLError as error:
        return [error]
    return (
        check_variables(variables, limits)
        or check(measure(document, None, SCHEMA, variables), limits)
        or validate(SCHEMA, document, bounded_rules(specified_rules, limits))
    )


def exceeded(errors: list[GraphQLError]) -> set[str]:
    """The limits that errors name; an error of another kind fails."""
    assert {error.extensions["code"] for error in errors} <= {"LIMIT_EXCEEDED"}
    return {error.extensions["limit"] for error in errors}


def nested(depth: int) -> str:
    """Fields nested that deep."""
    fields = ["release(id: 1)", *["feature", "activeRelease"] * depth][: depth - 1]
    return "".join(f"{{{field}" for field in fields) + "{id}" + "}" * len(fields)


# By limit: a request that asks for exactly so much.
REQUESTS = {
    "max_source_bytes": lambda n: ("{ serverTime } #é".ljust(n - 1, "#"), {}),
    "max_tokens": lambda n: (f"{{ {'serverTime ' * (n - 2)} }}", {}),
    "max_comments": lambda n: ("#\n" * n + "{ serverTime }", {}),
    "max_depth": lambda n: (nested(n), {}),
    "max_fields": lambda n: (f"{{ {'serverTime ' * n} }}", {}),
    "max_aliases": lambda n: (f"{{ {''.join(f'a{i}: serverTime ' for i in range(n))} }}", {}),
    "max_cost": lambda n: (f"{{ {'serverTime ' * n} }}", {}),
    "max_directives": lambda n: (f"{{ {'serverTime @include(if: true) ' * n} }}", {}),
    "max_operations": lambda n: ("".join(f"query Q{i} {{ serverTime }} " for i in range(n)), {}),
    "max_fragments": lambda n: (
        f"{{ {''.join(f'...F{i} ' for i in range(n))} }} "
        + "".join(f"fragment F{i} on Query {{ serverTime }} " for i in range(n)),
        {},
    ),
    "max_variables": lambda n: (
        f"query ({''.join(f'$v{i}: ID! ' for i in range(n))}) {{ "
        + "".join(f"a{i}: release(id: $v{i}) {{ id }} " for i in range(n))
        + "}",
        {},
    ),
    "max_variables_bytes": lambda n: ("{ serverTime }", {"s": "é" * (n // 2 - 4) + "a" * (n % 2)}),
    "max_list_items": lambda n: (f"{{ releases(filter: {{status: [{'PAUSED ' * (n - 1)}]}}) {{ __typename }} }}", {}),
    "max_value_depth": lambda n: (
        f'{{ evaluate(featureKey: "f", environment: "e", context: {"[" * n}{"]" * n}) {{ value }} }}',
        {},
    ),
}


@pytest.mark.parametrize("allowed", [20, 21, 30])
@pytest.mark.parametrize("limit", REQUESTS)
def test_exactly_what_is_allowed_passes(limit, allowed):
    """The most that is allowed passes; one more is refused with how much it is, how much is allowed and what to do."""
    limits = replace(Limits(), **{limit: allowed})
    source, variables = REQUESTS[limit](allowed)
    assert refusals(source, limits, **variables) == []
    source, variables = REQUESTS[limit](allowed + 1)
    (error,) = refusals(source, limits, **variables)
    assert error.extensions == {
        "code": "LIMIT_EXCEEDED",
        "limit": limit,
        "value": allowed + 1,
        "allowed": allowed,
    }
    assert f" {allowed + 1}; {allowed} is the most. " in error.message
    assert error.message[-1] == "."
    assert error.formatted.keys() == {"message", "extensions"}


def test_every_limit_is_tried():
    """No limit is left out above but that of comparisons, which counts what graphql-core counts."""
    assert {*REQUESTS, "max_comparisons"} == set(Limits.__struct_fields__)


MANY = "a{0}: {1} "
DOUBLED: list[object] = [0]
for _ in range(17):
    DOUBLED = [DOUBLED, DOUBLED]


@pytest.mark.parametrize(
    ("source", "variables", "limit"),
    [
        (f"{{ {''.join(f'a{n}: serverTime ' for n in range(3_000))} }}", {}, "max_tokens"),
        (f"{{ {''.join(f'a{n}: serverTime ' for n in range(800))} }}", {}, "max_aliases"),
        (
            f"mutation {{ {''.join(f'a{n}: deletePipeline(id: 1) {{ __typename }} ' for n in range(200))} }}",
            {},
            "max_aliases",
        ),
        (f"{{ serverTime {'@include(if: true) ' * 350} }}", {}, "max_directives"),
        (f"{{ serverTime {'@a ' * 1_000} }}", {}, "max_directives"),
        ("query Q { serverTime } " * 5_000, {}, "max_source_bytes"),
        ("".join(f"query Q{n}{{a}}" for n in range(5_000)), {}, "max_tokens"),
        ("".join(f"query Q{n}{{serverTime}}" for n in range(450)), {}, "max_operations"),
        (f"query({''.join(f'$a{n}:Int ' for n in range(500))}){{serverTime}}", {}, "max_variables"),
        ("{ serverTime }", {f"v{n}": None for n in range(50_000)}, "max_list_items"),
        ("{ serverTime }", {"v": [0] * 100_000}, "max_list_items"),
        ("{ serverTime }", {"v": DOUBLED}, "max_list_items"),
        ("{ serverTime }", {"v": "a" * 2 * 1024 * 1024}, "max_variables_bytes"),
        (f"{{ releases(filter: {{status: [{'0,' * 100_000}]}}) {{ __typename }} }}", {}, "max_source_bytes"),
        ("{a" * 40_000 + "}" * 20_000, {}, "max_depth"),
        ("{a" * 100_000 + "}" * 100_000, {}, "max_source_bytes"),
        ("{a(b:" + "[" * 90_000, {}, "max_depth"),
        ("{a(b:" + "{b:" * 30_000, {}, "max_depth"),
        (doubling(20), {}, "max_fields"),
        (nested(150), {}, "max_depth"),
        ("{ features(first: 100) { edges { node { releases(first: 100) { edges { node {"
         " id number status startedAt endedAt phases { id } } } } } } } }", {}, "max_cost"),
    ],
)  # fmt: skip
def test_attacks_are_refused(source, variables, limit):
    """What was seen to keep a server busy for seconds is refused before it is executed."""
    assert limit in exceeded(refusals(source, **variables))


def test_long_sources_are_not_looked_at(monkeypatch):
    """A comment of 50 MiB is refused by its length, before the first token is read."""
    monkeypatch.setattr(module, "parse", None)
    with pytest.raises(GraphQLError, match="52428800; 100000 is the most"):
        parse_bounded("#" * 50 * 1024 * 1024, Limits())


def test_deep_sources_do_not_overflow_the_stack():
    """A document nested 100,000 deep is refused however much else is allowed."""
    limits = replace(Limits(), max_source_bytes=SATURATED, max_tokens=SATURATED, max_depth=100)
    for source in ("{a" * 100_000 + "}" * 100_000, "{a(b:" + "[" * 100_000, "query($a:" + "[" * 100_000):
        assert exceeded(refusals(source, limits)) == {"max_depth"}


@pytest.mark.parametrize(
    "source",
    [
        "",
        "{",
        "query { serverTime",
        "\ud800",
        '"Syntax Error: Document is nested too deeply. Parsing aborted." 1',
    ],
)
def test_other_syntax_errors_stay_as_they_are(source):
    """What is no GraphQL at all is no matter of limits."""
    with pytest.raises(GraphQLError) as raised:
        parse_bounded(source, Limits())
    assert raised.value.message.startswith("Syntax Error: ")
    assert raised.value.extensions == {}


def test_other_errors_of_validation_stay_as_they_are():
    """Fields that cannot be merged, and too many errors, are told as graphql-core tells them."""
    document = parse("{ serverTime: viewer { role } serverTime }" + "{ nothing }" * 9)
    errors = validate(SCHEMA, document, bounded_rules(specified_rules, Limits()))
    assert any("Fields 'serverTime' conflict because" in error.message for error in errors)
    document = parse(f"{{ {''.join(f'serverTime: release(id: {n}) {{ id }} ' for n in range(9))} }}")
    rules = bounded_rules([OverlappingFieldsCanBeMergedRule], Limits())
    errors = validate(SCHEMA, document, rules, max_errors=3)
    assert [error.extensions for error in errors] == [{}] * 4
    assert errors[-1].message == "Too many validation errors, error limit reached. Validation aborted."


@pytest.mark.parametrize(("same", "comparisons"), [(2, 2), (10, 90), (20, 380)])
def test_merging_is_bounded(same, comparisons):
    """Fields of one name are compared each with each, at two units of the budget, until it is spent."""
    document = parse(f"{{ {'serverTime ' * same} }}")
    enough, little = Limits(max_comparisons=comparisons), Limits(max_comparisons=comparisons - 1)
    assert validate(SCHEMA, document, bounded_rules(specified_rules, enough)) == []
    (error,) = validate(SCHEMA, document, bounded_rules(specified_rules, little))
    assert error.extensions == {
        "code": "LIMIT_EXCEEDED",
        "limit": "max_comparisons",
        "value": comparisons,
        "allowed": comparisons - 1,
    }


@pytest.mark.parametrize(
    "source",
    [
        f"{{ {'viewer { role } ' * 500} }}",
        f"{{ {'viewer { actor { id } } ' * 330} }}",
        f"{{ {'node(id: 1) { ... on Release { feature { activeRelease { feature { id } } } } } ' * 90} }}",
        f"{{ {' '.join(f'...F{n}' for n in range(99))} }}"
        + "".join(f"fragment F{n} on Query {{ viewer {{ role actor {{ id name kind }} }} }} " for n in range(99)),
    ],
)
def test_merging_attacks_are_refused(source):
    """What makes graphql-core compare for seconds is within all other limits, and stopped by that of comparisons."""
    errors = refusals(source)
    assert exceeded(errors) == {"max_comparisons"}
    assert errors[0].extensions["value"] < Limits().max_comparisons + 10


ACTOR = "{ id name kind }"
RELEASE = f"""
    id number status revision pipelineId pipelineName description startedAt endedAt startedBy {ACTOR}
    feature {{ id key kind }} currentPhase {{ id name status }}
    phases {{
        id index name status bakeTime bakeRemaining bakeEndsAt releasedAt endedAt reviewBypassed requiredApprovals
        preventSelfApproval approvals {{ at reason actor {ACTOR} }}
        rules {{ environments conditions {{ attribute operator values }} }}
    }}
    history {{ sequence type at reason fromStatus toStatus actor {ACTOR} phase {{ id name }} }}
    availableActions {{ action allowed reason confirmation bypassesReviewOf {{ id name }} }}
"""
PAGE_INFO = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"


@pytest.mark.parametrize(
    "source",
    [
        get_introspection_query(
            specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
        ),
        f"{{ releases(first: 100) {{ edges {{ cursor node {{ {RELEASE} }} }} {PAGE_INFO} }} }}",
        f"subscription {{ releases {{ {RELEASE} }} }}",
        f"{{ features(first: 100) {{ edges {{ node {{ key activeRelease {{ {RELEASE} }} }} }} {PAGE_INFO} }} }}",
        "{ pipelines(first: 100) { edges { node { id name activeReleases { id number feature { key } } "
        "phases { id name bakeTime rules { environments } } features { edges { node { key } } } } } } }",
    ],
)
def test_what_people_ask_for_passes(source):
    """GraphiQL's introspection and full dashboards of a hundred releases are within every default."""
    assert refusals(source) == []
