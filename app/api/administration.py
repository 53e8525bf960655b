"""Tokens, SDK keys and the audit log in the schema: for administrators."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import strawberry

from app.api import enums  # noqa: F401  (describes the enums before a type names them)
from app.api.connections import PageInfo
from app.api.fields import plain
from app.api.parts import Actor
from app.api.scalars import JSON
from app.domain.access import Role
from app.domain.audit import Outcome
from app.store.access import AuditFilter


@strawberry.type(description="An API token; its secret was shown once, when it was made.")
class Token:
    """A token."""

    id: strawberry.ID = plain("What `revokeToken` names it by, and its holder's actor id.")
    name: str = plain("Whose it is, or what for: the name that stays on record for what is done with it.")
    role: Role = plain("What its holder may do.")
    created_by: Actor = plain("Who made it.")
    created_at: datetime = plain("When.")
    expires_at: datetime | None = plain("From when it lets nobody in; null for never.")
    last_used_at: datetime | None = plain("When it was last used, to the minute.")
    revoked_at: datetime | None = plain("When it was revoked.")


@strawberry.type(description="A token on a page.")
class TokenEdge:
    """A token and its cursor."""

    node: Token = plain("The token.")
    cursor: str = plain("Where it stands.")


@strawberry.type(description="A page of tokens, the newest first.")
class TokenConnection:
    """A page of tokens."""

    edges: list[TokenEdge] = plain("The tokens.")
    page_info: PageInfo = plain("Where the page lies.")


@strawberry.type(
    description="An SDK key: its holder may evaluate features of one environment over OFREP, and nothing else. Its "
    "secret was shown once, when it was made."
)
class SdkKey:
    """An SDK key."""

    id: strawberry.ID = plain("What `revokeSdkKey` names it by.")
    name: str = plain("What it is built into.")
    environment: str = plain("The one environment that it evaluates in.")
    created_by: Actor = plain("Who made it.")
    created_at: datetime = plain("When.")
    expires_at: datetime | None = plain("From when it evaluates nothing; null for never.")
    last_used_at: datetime | None = plain("When it was last used, to the minute.")
    revoked_at: datetime | None = plain("When it was revoked.")


@strawberry.type(description="An SDK key on a page.")
class SdkKeyEdge:
    """A key and its cursor."""

    node: SdkKey = plain("The key.")
    cursor: str = plain("Where it stands.")


@strawberry.type(description="A page of SDK keys, the newest first.")
class SdkKeyConnection:
    """A page of keys."""

    edges: list[SdkKeyEdge] = plain("The keys.")
    page_info: PageInfo = plain("Where the page lies.")


@strawberry.type(description="A mutation that somebody sent, refused ones too.")
class AuditEntry:
    """An entry of the audit log."""

    id: strawberry.ID = plain("Its id.")
    at: datetime = plain("When it arrived.")
    mutation: str = plain("The mutation's name.")
    actor: Actor = plain("Who sent it.")
    role: Role = plain("The role that they had.")
    credential: str = plain("With what they were let in: a token's id, `admin-token`, or the subject of a sign-on.")
    address: str | None = plain("From where, as far as proxies tell.")
    input: JSON = plain("What was asked for.")
    outcome: Outcome = plain("What came of it.")
    problem: str | None = plain("The problem that refused it, by its type's name.")
    message: str | None = plain("The refusal's message.")
    feature_key: str | None = plain("The feature that it was about.")
    release_id: strawberry.ID | None = plain("The release that it was about.")


@strawberry.type(description="An entry on a page.")
class AuditEdge:
    """An entry and its cursor."""

    node: AuditEntry = plain("The entry.")
    cursor: str = plain("Where it stands.")


@strawberry.type(description="A page of the audit log, the newest first.")
class AuditConnection:
    """A page of the audit log."""

    edges: list[AuditEdge] = plain("The entries.")
    page_info: PageInfo = plain("Where the page lies.")


@strawberry.input(description="Which entries; what is left out does not matter.")
class AuditLogFilter:
    """A filter of the audit log."""

    actor_id: strawberry.ID | None = strawberry.field(description="Sent by this actor.", default=None)
    feature_key: str | None = strawberry.field(description="About this feature.", default=None)
    after: datetime | None = strawberry.field(description="Arrived later than this.", default=None)
    before: datetime | None = strawberry.field(description="Arrived earlier than this.", default=None)


@strawberry.input(description="A token to make.")
class CreateTokenInput:
    """A new token."""

    name: str = strawberry.field(description="Whose it is, or what for.")
    role: Role = strawberry.field(description="What its holder may do.")
    expires_in: timedelta | None = strawberry.field(
        description="How long it lets its holder in; null for ever.", default=None
    )


@strawberry.input(description="An SDK key to make.")
class CreateSdkKeyInput:
    """A new SDK key."""

    name: str = strawberry.field(description="What it is built into.")
    environment: str = strawberry.field(description="The one environment that it evaluates in.")
    expires_in: timedelta | None = strawberry.field(description="How long it evaluates; null for ever.", default=None)


def audit_filter(given: AuditLogFilter | None) -> AuditFilter:
    """The store's filter."""
    if given is None:
        return AuditFilter()
    return AuditFilter(given.actor_id, given.feature_key, given.after, given.before)


AuditFilterArgument = Annotated[AuditLogFilter | None, strawberry.argument(description="Which entries.")]
