"""OpenFeature's SDKs with their OFREP providers, as released, behind one face."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec
from openfeature import api as openfeature
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from tests.node.programs import PATIENCE, Fact, Talk, install, talking

SCRIPTS = Path(__file__).parent / "node"
PACKAGES = (
    "@openfeature/server-sdk@1.23.0",
    "@openfeature/ofrep-provider@0.1.3",
    "@openfeature/web-sdk@1.10.0",
    "@openfeature/ofrep-web-provider@0.4.3",
    "eventsource@4.1.1",
)

# Contexts by the names of those whose they are.
People: TypeAlias = Mapping[str, Mapping[str, Any]]


def install_clients(folder: Path, *more: str) -> Path:
    """Install the clients of npm in an empty folder, and more packages."""
    return install((*PACKAGES, *more), folder, "THE CLIENTS OF OPENFEATURE ARE NOT TRIED")


class Client(Protocol):
    """An SDK, which reads flags for some people."""

    async def read(self, flag: str, otherwise: object) -> dict[str, Fact]:
        """The evaluation details that each of the people gets, with the default that the code gives."""
        ...


class PythonClient:
    """The SDK of Python, in threads."""

    def __init__(self, client: OpenFeatureClient, people: People) -> None:
        self._client = client
        self._people = {name: _context(**context) for name, context in people.items()}

    async def read(self, flag: str, otherwise: object) -> dict[str, Fact]:
        """The evaluation details that each of the people gets."""
        return {
            name: await asyncio.to_thread(self._details, flag, otherwise, context)
            for name, context in self._people.items()
        }

    def _details(self, flag: str, otherwise: Any, context: EvaluationContext) -> Fact:
        kinds = {bool: "boolean", int: "integer", float: "float", str: "string", dict: "object"}
        found = getattr(self._client, f"get_{kinds[type(otherwise)]}_details")(flag, otherwise, context)
        return {
            "value": found.value,
            "reason": found.reason.value,
            "variant": found.variant,
            "flagMetadata": dict(found.flag_metadata),
            "errorCode": found.error_code and found.error_code.value,
            "errorMessage": found.error_message,
        }


def _context(targetingKey: str | None = None, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(targetingKey, attributes)


class NodeClient:
    """An SDK of Node, in a process of its own, which may tell of more than it is asked for."""

    def __init__(self, talk: Talk, told: AsyncGenerator[Fact, None]) -> None:
        self._talk = talk
        self._told = told
        self.heard: list[Fact] = []

    async def read(self, flag: str, otherwise: object) -> dict[str, Fact]:
        """The evaluation details that each of the people gets."""
        return dict(await self.order("read", [flag, otherwise]))

    async def order(self, name: str, given: object = None) -> Any:
        """What comes of an order."""
        self._talk.say({name: given})
        return await self.hear(name)

    async def hear(self, name: str) -> Any:
        """What the client tells under that name next. All else that it tells meanwhile is `heard`."""
        async with asyncio.timeout(PATIENCE):
            async for fact in self._told:
                if name in fact:
                    return fact[name]
                self.heard.append(fact)
        raise AssertionError(f"it ended and told no {name}")

    @property
    def changed_at(self) -> float:
        """When it saw a change last, in milliseconds since 1970."""
        return max(float(fact["at"]) for fact in self.heard if "changed" in fact)

    async def ended(self) -> None:
        """Return when the client has ended; what it still tells is `heard`."""
        async for fact in self._told:
            self.heard.append(fact)


@asynccontextmanager
async def python_client(url: str, secret: str, people: People) -> AsyncIterator[PythonClient]:
    """The SDK of Python with its provider."""
    provider = OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {secret}"})
    openfeature.set_provider_and_wait(provider)
    try:
        yield PythonClient(openfeature.get_client(), people)
    finally:
        openfeature.shutdown()
        provider.session.close()


@asynccontextmanager
async def node_client(packages: Path, script: str, url: str, secret: str, people: People) -> AsyncIterator[NodeClient]:
    """An SDK of Node with its provider; it must come to its end by itself once it is closed."""
    arguments = (msgspec.json.encode(people).decode(),)
    async with talking(packages, SCRIPTS / script, url, secret, *arguments) as talk:
        client = NodeClient(talk, talk.told())
        await client.hear("ready")
        yield client
        talk.hang_up()
        async with asyncio.timeout(PATIENCE):
            await client.ended()
