"""What a Slipway process is told by its environment."""

import json
import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.domain.access import Role
from app.store.sealing import Sealer

_Text = Annotated[str, StringConstraints(min_length=1)]
_ORIGIN = re.compile(r"https?://[^/\s,]+/?", re.IGNORECASE)
_Count = Annotated[int, Field(ge=1)]


def default_graphiql_dir() -> Path:
    """Where a user's programs keep their data: outside of any repository, and without asking for rights."""
    home = Path(os.path.expanduser("~"))  # where there is none, "~" is no reason to fail
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "slipway" / "graphiql"


def _parts(given: Any) -> tuple[Any, ...]:
    """What a variable names, separated by commas; in a program it is given as it is."""
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given


class ChannelSettings(BaseSettings):
    """What channels are kept with and spoken to by: what a command on the store needs too."""

    model_config = SettingsConfigDict(env_prefix="SLIPWAY_", extra="ignore")

    public_url: Annotated[str, StringConstraints(pattern="^https?://.")] = Field(
        default="http://localhost:8000",
        description="Where people reach this Slipway: what links in messages begin with",
    )
    secrets_key: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="The key that channels' secrets are kept with, 32 bytes in base64 (openssl rand -base64 32); to "
        "change it, the new one and after a comma the old one",
    )
    allowed_targets: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Private addresses and networks that channels may reach, by commas: 10.1.0.0/16,127.0.0.1",
    )
    delivery_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        default=10, description="Seconds that one attempt to reach a channel may take"
    )

    @property
    def sealing_keys(self) -> tuple[str, ...]:
        """The secrets' keys as a `Sealer` takes them."""
        return tuple(key.get_secret_value() for key in self.secrets_key)

    @field_validator("secrets_key", mode="before")
    @classmethod
    def _keys(cls, given: object) -> object:
        keys = _parts(given)
        try:
            Sealer(tuple(key if isinstance(key, str) else key.get_secret_value() for key in keys))
        except ValueError:
            raise ValueError("it is not 32 bytes in base64") from None
        return keys

    @field_validator("allowed_targets", mode="before")
    @classmethod
    def _networks(cls, given: object) -> object:
        networks = _parts(given)
        for network in networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(str(error)) from None
        return networks


class Settings(ChannelSettings):
    """Environment variables, each with the prefix SLIPWAY_. Those without a default must be set.

    `slipway dev` sets them itself. A limit is what one client may ask of one process.
    """

    store_url: _Text = Field(
        description="Where releases are stored: mongodb://host:27017/slipway, or sqlite:////absolute/path.db"
    )
    redis_url: Annotated[str, StringConstraints(pattern="^(rediss?|unix)://.")] = Field(
        description="Redis or Valkey for bake timers and announcements: redis://host:6379/0, rediss://, unix:///path"
    )
    admin_token: Annotated[SecretStr, Field(min_length=16)] = Field(
        description="The administrator's bearer token, at least 16 characters"
    )
    sweep_seconds: Annotated[float, Field(ge=1, le=5)] = Field(
        default=1, description="Seconds between two sweeps for due bakes that no job prompted"
    )
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        default=1, description="Seconds between two looks for changes that no announcement told of"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )
    graphiql_dir: Path = Field(
        default_factory=default_graphiql_dir, description="The folder that `slipway graphiql` put GraphiQL's files into"
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins whose pages may call the API, separated by commas: https://ops.example.com"
    )
    trusted_proxies: str = Field(
        default="", description="Addresses of proxies whose X-Forwarded-For is believed, separated by commas; * for all"
    )
    oidc_issuer: str | None = Field(default=None, description="The OpenID Connect issuer whose JWTs let people in")
    oidc_audience: str | None = Field(default=None, description="The audience that those JWTs are made for")
    oidc_role_claim: _Text = Field(
        default="roles", description="The claim that holds roles: groups, realm_access.roles"
    )
    oidc_roles: Annotated[dict[str, Role], NoDecode] = Field(
        default={}, description='What its values stand for, as JSON: {"sre": "APPROVER", "platform": "ADMIN"}'
    )

    max_source_bytes: _Count = Field(default=100_000, description="Bytes of a document")
    max_tokens: _Count = Field(default=2_500, description="Lexical tokens of a document")
    max_comments: _Count = Field(default=1_000, description="Comments of a document")
    max_depth: _Count = Field(default=15, description="Fields within fields")
    max_fields: _Count = Field(default=1_000, description="Fields of an operation, fragments included")
    max_aliases: _Count = Field(default=100, description="Aliases of an operation, fragments included")
    max_cost: _Count = Field(default=100_000, description="Fields of an operation times the elements of their lists")
    max_directives: _Count = Field(default=100, description="Directives of a document")
    max_operations: _Count = Field(default=20, description="Operations of a document")
    max_fragments: _Count = Field(default=100, description="Fragments of a document")
    max_variables: _Count = Field(default=100, description="Variables that a document declares")
    max_variables_bytes: _Count = Field(default=512 * 1024, description="Bytes of the variables")
    max_list_items: _Count = Field(default=20_000, description="Values in lists and objects of arguments")
    max_value_depth: _Count = Field(default=64, description="Nesting of lists and objects in an argument")
    max_comparisons: _Count = Field(default=10_000, description="Work to merge fields of the same name")
    max_body_bytes: _Count = Field(default=1024 * 1024, description="Bytes of a request's body")
    max_message_bytes: _Count = Field(default=256 * 1024, description="Bytes of a websocket message")
    operation_seconds: Annotated[float, Field(gt=0)] = Field(
        default=15, description="Seconds that an operation may take"
    )
    requests_per_minute: Annotated[int, Field(ge=0)] = Field(
        default=1_200, description="HTTP requests of one token a minute; 0 for no limit"
    )
    evaluations_per_minute: Annotated[int, Field(ge=0)] = Field(
        default=120_000, description="OFREP requests of one SDK key a minute; 0 for no limit"
    )
    max_context_bytes: _Count = Field(default=256 * 1024, description="Bytes of an evaluation's body")
    max_event_streams: _Count = Field(default=10_000, description="Event streams of this process")
    max_event_streams_per_key: _Count = Field(default=5_000, description="Event streams of one SDK key on this process")
    init_seconds: Annotated[float, Field(gt=0)] = Field(
        default=10, description="Seconds that a websocket may take to send connection_init"
    )
    max_sockets: _Count = Field(default=20_000, description="Websockets of this process")
    max_sockets_per_token: _Count = Field(default=2_000, description="Websockets of one token on this process")
    max_subscriptions: _Count = Field(default=100, description="Operations under way on one websocket")
    messages_per_second: _Count = Field(default=50, description="Messages on one websocket, twice as many in a burst")

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _separate(cls, given: object) -> object:
        origins = _parts(given)
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is not an origin such as https://ops.example.com")
        return origins

    @field_validator("oidc_roles", mode="before")
    @classmethod
    def _decode(cls, given: object) -> object:
        try:
            return json.loads(given) if isinstance(given, str) else given
        except ValueError:
            raise ValueError("it is not JSON") from None

    @model_validator(mode="after")
    def _whole_sign_on(self) -> Self:
        parts = (self.oidc_issuer, self.oidc_audience, self.oidc_roles)
        if any(parts) and not all(parts):
            raise ValueError("Set SLIPWAY_OIDC_ISSUER, SLIPWAY_OIDC_AUDIENCE and SLIPWAY_OIDC_ROLES together, or none")
        return self
