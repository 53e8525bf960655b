"""Channels: where people are told, and of what. Secrets are no part of them; they are kept apart, encrypted."""

from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from msgspec import Struct, structs

from app.domain.access import Actor
from app.domain.features import name_problems
from app.domain.notifications import Notice, NotificationType
from app.domain.problems import FieldProblem
from app.domain.releases import Release

MAX_CHANNELS = 100
MAX_TARGET = 4_000
_MOST_LISTED = 100
_LONGEST_PATTERN = 100


class ChannelKind(Enum):
    """How a channel is spoken to."""

    APPRISE = "APPRISE"
    WEBHOOK = "WEBHOOK"


class Channel(Struct, frozen=True):
    """One place that is told. What is empty of types, features and pipelines does not matter.

    `address` is as much of the target as may be shown. `features` are keys, or patterns with `*` and `?`.
    """

    id: str
    name: str
    kind: ChannelKind
    address: str
    created_by: Actor
    created_at: datetime
    types: tuple[NotificationType, ...] = ()
    features: tuple[str, ...] = ()
    pipeline_ids: tuple[str, ...] = ()
    enabled: bool = True
    secret_rotated_at: datetime | None = None
    revision: int = 1

    def wants(self, release: Release, notice: Notice) -> bool:
        """Whether it is told of a notice: it asked for it, and was there already."""
        return (
            self.enabled
            and notice.at >= self.created_at
            and (not self.types or notice.type in self.types)
            and (not self.features or any(fnmatchcase(release.feature_key, pattern) for pattern in self.features))
            and (not self.pipeline_ids or release.pipeline_id in self.pipeline_ids)
        )


class ChannelSecrets(Struct, frozen=True):
    """What a channel is reached with: the target, and of a webhook the secrets that sign, the newest first.

    The second one signs besides the first until `old_until`, so that receivers can change over.
    """

    target: str
    signing: tuple[str, ...] = ()
    old_until: datetime | None = None

    def signing_at(self, now: datetime) -> tuple[str, ...]:
        """The secrets that sign at that moment."""
        return self.signing if self.old_until is not None and now < self.old_until else self.signing[:1]


def rotated(secrets: ChannelSecrets, new: str, old_until: datetime) -> ChannelSecrets:
    """With a new secret that signs, and the one before beside it for a while."""
    return structs.replace(secrets, signing=(new, *secrets.signing[:1]), old_until=old_until)


def channel_problems(
    name: str, features: tuple[str, ...], pipeline_ids: tuple[str, ...], known_pipelines: set[str]
) -> Iterator[FieldProblem]:
    """What is wrong with a channel's name and with what it subscribes to."""
    yield from name_problems(name, ("name",))
    if len(features) > _MOST_LISTED:
        yield FieldProblem(("features",), f"Name at most {_MOST_LISTED}; a pattern such as checkout-* names many.")
    for index, pattern in enumerate(features[:_MOST_LISTED]):
        if not pattern.strip() or len(pattern) > _LONGEST_PATTERN:
            yield FieldProblem(
                ("features", str(index)), f"Give a key, or a pattern such as checkout-*: 1 to {_LONGEST_PATTERN} long."
            )
    for index, id in enumerate(pipeline_ids):
        if id not in known_pipelines:
            yield FieldProblem(("pipelineIds", str(index)), f"There is no pipeline {id!r}.")


def webhook_problems(target: str, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """What is wrong with the URL of a webhook, as far as the text tells."""
    try:
        parts = urlsplit(target)
        port_is_wrong = parts.port == 0
    except ValueError:
        yield FieldProblem(path, "Give an http or https URL.")
        return
    if parts.scheme not in ("http", "https") or not parts.hostname or port_is_wrong or not target.isprintable():
        yield FieldProblem(path, "Give an http or https URL.")
    elif parts.username is not None or parts.fragment:
        yield FieldProblem(path, "Give a URL without user, password or fragment: the signature says who sends.")


def webhook_address(target: str) -> str:
    """As much of a webhook's URL as may be shown: paths and queries often hold secrets."""
    parts = urlsplit(target)
    return f"{parts.scheme}://{parts.netloc}" + ("/…" if parts.path.strip("/") or parts.query else "")
