"""What the resolvers of one operation share: who asks, the process's services, and loaders that batch reads."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import strawberry
from graphql import GraphQLError
from starlette.requests import Request
from starlette.websockets import WebSocket
from strawberry.dataloader import DataLoader

from app.api.auth import Session
from app.api.limits import Limits
from app.domain.access import Principal, Role
from app.domain.environments import Environment
from app.domain.pipelines import Pipeline
from app.domain.releases import Release
from app.services import Services

T = TypeVar("T")


def _loader(read: Callable[[Sequence[str]], Awaitable[dict[str, T]]]) -> DataLoader[str, T | None]:
    async def load(keys: list[str]) -> list[T | None]:
        found = await read(keys)
        return [found.get(key) for key in keys]

    # Never cached: a socket lives long, and a subscriber must not see yesterday's feature.
    return DataLoader(load_fn=load, cache=False)


@dataclass
class Context:
    """The context of one request, of one websocket, or (without either) of what is executed for many sockets."""

    services: Services
    request: Request | WebSocket | None
    limits: Limits
    session: Session | None = None
    connection_params: dict[str, Any] | None = None

    # Made when they are first used: most operations use none.

    @cached_property
    def pipelines(self) -> DataLoader[str, Pipeline | None]:
        """Pipelines by id."""
        return _loader(self.services.pipelines.get_many)

    @cached_property
    def latest_releases(self) -> DataLoader[str, Release | None]:
        """The latest releases of features, by their keys.

        What is asked of a feature in one go is answered from one read: a revision newer than the spec beside it would
        let a change of that spec overwrite one that its author has not seen.
        """
        return DataLoader(load_fn=self._read_latest, cache=False)

    async def _read_latest(self, keys: list[str]) -> list[Release | BaseException | None]:
        distinct = list(dict.fromkeys(keys))
        found = await asyncio.gather(*map(self.services.releases.latest_of, distinct), return_exceptions=True)
        latest = dict(zip(distinct, found, strict=True))
        return [latest[key] for key in keys]

    @cached_property
    def _environments(self) -> DataLoader[str, list[Environment] | None]:
        return _loader(self._all_environments)

    async def _all_environments(self, keys: Sequence[str]) -> dict[str, list[Environment]]:
        return dict.fromkeys(keys, await self.services.environments.all())

    async def environment_names(self) -> list[str]:
        """The names of all environments, in the order of creation."""
        return [environment.name for environment in await self._environments.load("all") or ()]

    @property
    def is_http(self) -> bool:
        """Whether the caller awaits one answer, not a socket's many."""
        return isinstance(self.request, Request)

    @property
    def caller(self) -> Principal:
        """Who asks; the view lets nobody else in."""
        return self.caller_session.principal

    @property
    def caller_session(self) -> Session:
        """What the caller was let in with."""
        if self.session is None:
            raise GraphQLError(UNAUTHENTICATED, extensions={"code": "UNAUTHENTICATED"})
        return self.session

    @property
    def address(self) -> str | None:
        """Where the caller sends from, as far as the proxy tells."""
        return self.request.client.host if self.request and self.request.client else None


UNAUTHENTICATED = (
    "Send a token: the header `Authorization: Bearer <token>`, or over a websocket the connection_init payload "
    '{"authorization": "Bearer <token>"}.'
)

NOT_LET_IN = (
    "This token lets nobody in: it is not one of ours, has expired or was revoked. "
    "It goes into the header as `Authorization: Bearer <token>`."
)

ONLY_EVALUATES = (
    "This is an SDK key: it only evaluates features, over `/ofrep/v1/...`. "
    "An API token is needed here (`slw_...`), as `Authorization: Bearer <token>`."
)

Info: TypeAlias = strawberry.Info[Context, None]


def bad_input(message: str, argument: str) -> GraphQLError:
    """The error for an argument that is wrong where no union of problems can say so."""
    return GraphQLError(f"{argument}: {message}", extensions={"code": "BAD_USER_INPUT", "argument": argument})


def require_admin(context: Context, to_do: str) -> None:
    """Refuse all but administrators where no union of problems can say so."""
    if not context.caller.role.includes(Role.ADMIN):
        raise GraphQLError(
            f"You need the role ADMIN to {to_do}; yours is {context.caller.role.value}.",
            extensions={"code": "FORBIDDEN", "requiredRole": "ADMIN"},
        )


def not_found(message: str) -> GraphQLError:
    """The error for something that does not exist where no union of problems can say so."""
    return GraphQLError(message, extensions={"code": "NOT_FOUND"})
