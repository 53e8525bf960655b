"""The schema as clients see it: exported, described, and all that the contract asks for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gql import Client
from gql.transport.httpx import HTTPXAsyncTransport
from graphql import (
    DangerousChangeType,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    find_breaking_changes,
    find_dangerous_changes,
    is_specified_scalar_type,
    lexicographic_sort_schema,
    print_schema,
)
from typer.testing import CliRunner

from app.cli import app
from tests.api.serving import SCHEMA, SDL, Api

CONTRACT = Path(__file__).parents[3] / "shared" / "contract.graphql"


def test_the_exported_schema_is_the_one_that_is_served() -> None:
    """`slipway schema` prints schema.graphql, to the letter."""
    printed = CliRunner().invoke(app, ["schema"])

    assert printed.exit_code == 0
    assert printed.stdout == SDL


def test_the_schema_holds_the_contract() -> None:
    """What clients rely on is there, and nothing that was added can surprise them: an input that they need not give
    does not.
    """
    if not CONTRACT.exists():
        pytest.skip(f"NOT CHECKED: there is no contract at {CONTRACT}")
    contract = build_schema(CONTRACT.read_text(encoding="utf-8"))

    assert find_breaking_changes(contract, SCHEMA) == []
    harmless = DangerousChangeType.OPTIONAL_INPUT_FIELD_ADDED
    assert [each for each in find_dangerous_changes(contract, SCHEMA) if each.type is not harmless] == []


def test_everything_is_described() -> None:
    """Every type, field, argument, input field and enum value says what it is."""
    assert [name for name, description in described(SCHEMA) if not (description or "").strip()] == []


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_introspection_tells_the_same_schema(api: Api) -> None:
    """A client that asks the server for its schema gets the exported one."""
    headers = {"authorization": f"Bearer {api.token}"}
    transport = HTTPXAsyncTransport(api.url, headers=headers, trust_env=False, verify=False)
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        told = session.client.schema

    assert told is not None
    assert print_schema(lexicographic_sort_schema(told)) == print_schema(lexicographic_sort_schema(SCHEMA))


def described(schema: GraphQLSchema) -> Iterator[tuple[str, str | None]]:
    """Everything in the schema that has a description, by its name."""
    for type_ in schema.type_map.values():
        if type_.name.startswith("__") or is_specified_scalar_type(type_):
            continue
        yield type_.name, type_.description
        match type_:
            case GraphQLObjectType() | GraphQLInterfaceType():
                for name, field in type_.fields.items():
                    yield f"{type_}.{name}", field.description
                    for argument, given in field.args.items():
                        yield f"{type_}.{name}({argument})", given.description
            case GraphQLInputObjectType():
                for name, input_field in type_.fields.items():
                    yield f"{type_}.{name}", input_field.description
            case GraphQLEnumType():
                for name, value in type_.values.items():
                    yield f"{type_}.{name}", value.description
