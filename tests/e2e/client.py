"""What a client asks of a running Slipway: over HTTP with httpx, over a websocket with gql."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

import httpx
from gql import Client, gql
from gql.transport.exceptions import TransportError
from gql.transport.websockets import WebsocketsTransport

Json = dict[str, Any]

RELEASE = """
    id number status revision
    feature { key }
    currentPhase { id name }
    history { sequence type at phase { name } }
"""
_SAVE_ENVIRONMENT = """
mutation ($name: String!, $required: Boolean!) {
  saveEnvironment(input: {name: $name, pipelineRequired: $required}) { __typename }
}"""
_CREATE_PIPELINE = """
mutation ($input: CreatePipelineInput!) {
  createPipeline(input: $input) { ... on Problem { message } ... on PipelinePayload { pipeline { id } } }
}"""
_CREATE_FEATURE = """
mutation ($key: String!, $pipeline: ID!) {
  createFeature(input: {key: $key, kind: FEATURE_GATE, spec: {defaultValue: false}, pipelineId: $pipeline}) {
    ... on Problem { message }
    ... on FeaturePayload { feature { key } }
  }
}"""
_UPDATE_FEATURE = f"""
mutation ($input: UpdateFeatureInput!) {{
  updateFeature(input: $input) {{
    __typename
    ... on Problem {{ message }}
    ... on UpdateFeaturePayload {{ release {{ {RELEASE} }} }}
    ... on ReleaseInProgress {{ release {{ id }} }}
  }}
}}"""
_SKIP = f"""
mutation ($release: ID!, $phase: ID!) {{
  skipPhase(input: {{releaseId: $release, phaseId: $phase}}) {{
    __typename
    ... on ReleaseActionPayload {{ release {{ {RELEASE} }} }}
    ... on StalePhase {{ release {{ {RELEASE} }} }}
  }}
}}"""
_EVENTS = """
subscription ($release: ID!, $after: Int!) {
  releaseEvents(releaseId: $release, after: $after) { sequence type at phase { name } }
}"""


class Slipway:
    """A running Slipway, as the client with that token sees it."""

    def __init__(self, url: str, token: str) -> None:
        self._token = token
        self._socket_url = f"ws{url.removeprefix('http')}/graphql"
        self.http = httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30, trust_env=False, verify=False
        )

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.__aexit__(kind, error, trace)

    async def ask(self, document: str, **variables: Any) -> Json:
        """The data that a document answers with, which must be without errors."""
        response = await self.http.post("/graphql", json={"query": document, "variables": variables})
        answer = response.json()
        assert response.status_code == 200, answer
        assert "errors" not in answer, answer["errors"]
        data: Json = answer["data"]
        return data

    # --- what a test needs to begin with ---

    async def make_features(self, keys: Sequence[str], *bakes: str) -> None:
        """Gates of those keys, attached to one new pipeline with a phase A, B, ... for each bake time."""
        await self.ask(_SAVE_ENVIRONMENT, name="production", required=True)
        rules = [{"environments": ["production"]}]
        phases = [{"name": chr(ord("A") + n), "rules": rules, "bakeTime": bake} for n, bake in enumerate(bakes)]
        made = await self.ask(_CREATE_PIPELINE, input={"name": f"Pipeline of {keys[0]}", "phases": phases})
        pipeline = made["createPipeline"]["pipeline"]["id"]
        for key in keys:
            made = await self.ask(_CREATE_FEATURE, key=key, pipeline=pipeline)
            assert "feature" in made["createFeature"], made

    async def update(self, key: str, value: bool = True, idempotency_key: str | None = None) -> Json:
        """What `updateFeature` answers to that default value."""
        change = {"key": key, "spec": {"defaultValue": value}, "idempotencyKey": idempotency_key}
        answer: Json = (await self.ask(_UPDATE_FEATURE, input=change))["updateFeature"]
        return answer

    async def start(self, key: str) -> Json:
        """The release that turns a gate on."""
        answer = await self.update(key)
        assert answer["__typename"] == "UpdateFeaturePayload", answer
        release: Json = answer["release"]
        return release

    async def skip(self, release: Json) -> Json:
        """What `skipPhase` answers to whoever saw the release so."""
        answer: Json = (await self.ask(_SKIP, release=release["id"], phase=release["currentPhase"]["id"]))["skipPhase"]
        return answer

    # --- what it finds ---

    async def release(self, id: str) -> Json:
        """A release as it stands."""
        found: Json = (await self.ask(f"query ($id: ID!) {{ release(id: $id) {{ {RELEASE} }} }}", id=id))["release"]
        return found

    async def releases(self) -> list[Json]:
        """The newest releases, 100 at most."""
        found = await self.ask(f"{{ releases(first: 100) {{ edges {{ node {{ {RELEASE} }} }} }} }}")
        return [edge["node"] for edge in found["releases"]["edges"]]

    async def completed(self, id: str, within: float) -> Json:
        """A release once it is completed."""
        deadline = time.monotonic() + within
        while (release := await self.release(id))["status"] != "COMPLETED":
            assert time.monotonic() < deadline, release
            await asyncio.sleep(0.1)
        return release

    @asynccontextmanager
    async def watching(self, release_id: str, after: int = 0) -> AsyncIterator[list[Json]]:
        """The events of a release as they come in, for the length of the block; what was received stays in the list."""
        transport = WebsocketsTransport(self._socket_url, init_payload={"authorization": f"Bearer {self._token}"})
        received: list[Json] = []

        async def receive() -> None:
            # A server that is killed leaves in the middle of a word.
            with suppress(TransportError):
                async with Client(transport=transport) as session:
                    asked = gql(_EVENTS)
                    asked.variable_values = {"release": release_id, "after": after}
                    async for answer in session.subscribe(asked):
                        received.append(answer["releaseEvents"])  # noqa: PERF401 (others look at the list meanwhile)

        receiving = asyncio.create_task(receive())
        try:
            yield received
        finally:
            receiving.cancel()
            with suppress(asyncio.CancelledError):
                await receiving


async def until(received: list[Json], holds: Callable[[list[Json]], bool], within: float) -> None:
    """Wait until what was received is as it should be."""
    deadline = time.monotonic() + within
    while not holds(received):
        assert time.monotonic() < deadline, received
        await asyncio.sleep(0.01)


def uninterrupted(*phases: str) -> list[tuple[str, str | None]]:
    """The whole history of a release that baked through those phases: what happened, and to which phase."""
    baked = [(type, phase) for phase in phases for type in ("PHASE_RELEASED", "PHASE_COMPLETED")]
    return [("RELEASE_STARTED", None), *baked, ("RELEASE_COMPLETED", None)]


def told(events: Sequence[Json]) -> list[tuple[str, str | None]]:
    """What events say, in the same words."""
    return [(event["type"], event["phase"] and event["phase"]["name"]) for event in events]


def sequences(events: Sequence[Json]) -> list[int]:
    """Their numbers."""
    return [event["sequence"] for event in events]
