"""What an OFREP request says: whose key it brings, and the context to evaluate for."""

import re
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope

from app.domain.targeting import Context
from app.ofrep.answers import ErrorCode, Refusal

_NOT_JSON = "The body is not JSON"
_WANTED = 'Send {"context": {"targetingKey": "..."}}'
_CHANGE = re.compile(r"(?:rel|fea)_[0-9A-Z]{26}\.[0-9]{1,9}", re.ASCII)


class Headers(Struct):
    """The headers that matter."""

    authorization: str | None = None
    api_key: str | None = None
    if_none_match: str | None = None
    last_event_id: str | None = None
    content_length: int = 0

    @property
    def secret(self) -> str | None:
        """What is sent as `X-API-Key`, or as bearer token."""
        if self.api_key is not None:
            return self.api_key.strip()
        scheme, _, given = (self.authorization or "").strip().partition(" ")
        return given.strip() if scheme.lower() == "bearer" else None


def headers_of(scope: Scope) -> Headers:
    """The headers of a request."""
    found = Headers()
    for name, value in scope["headers"]:
        # Compared as bytes: most headers of most requests are none of these.
        if name == b"authorization":
            found.authorization = value.decode("latin-1")
        elif name == b"x-api-key":
            found.api_key = value.decode("latin-1")
        elif name == b"if-none-match":
            found.if_none_match = value.decode("latin-1")
        elif name == b"last-event-id":
            found.last_event_id = value.decode("latin-1")
        elif name == b"content-length" and value[:20].isdigit():
            found.content_length = int(value[:20])
    return found


class _Body(Struct):
    context: dict[str, Any]


_decoder = msgspec.json.Decoder(_Body)


async def read_context(receive: Receive, announced: int, most: int) -> Context:
    """The context of the body. Raises `Refusal` (400)."""
    if announced > most:
        raise _too_large(most)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The body ended early.", ErrorCode.PARSE_ERROR)
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return context_of(bytes(body))


def _too_large(most: int) -> Refusal:
    # The connection stays: one closed on a client that still sends is reset, and the client never reads the answer.
    # What else it sends of this body is thrown away as it comes.
    return Refusal(400, f"Send at most {most} bytes.", ErrorCode.INVALID_CONTEXT)


def context_of(body: bytes) -> Context:
    """The context of a whole body. Raises `Refusal` (400)."""
    try:
        context = _decoder.decode(body).context
    except msgspec.ValidationError as error:
        raise Refusal(400, f"{_WANTED}: {error}.", ErrorCode.INVALID_CONTEXT) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refusal(400, f"{_NOT_JSON}: {error}.", ErrorCode.PARSE_ERROR) from None
    except RecursionError:
        raise Refusal(400, "The context is nested too deeply.", ErrorCode.INVALID_CONTEXT) from None
    targeting_key = context.get("targetingKey")
    if targeting_key is None:
        raise Refusal(400, f"The context has no targetingKey. {_WANTED}.", ErrorCode.TARGETING_KEY_MISSING)
    if not isinstance(targeting_key, str):
        raise Refusal(400, "The targetingKey is not a string.", ErrorCode.INVALID_CONTEXT)
    return context


def change_of(scope: Scope) -> str | None:
    """The change that a client was told of (`flagConfigEtag`), if it is one of ours. Raises `Refusal` (400)."""
    query = scope["query_string"]
    if not query:
        return None
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    for modified in given.get("flagConfigLastModified", ()):
        if not _is_moment(modified):
            raise Refusal(
                400, "flagConfigLastModified: use seconds since 1970 or an ISO 8601 date-time.", ErrorCode.PARSE_ERROR
            )
    told = given.get("flagConfigEtag", [""])[-1]
    return told if _CHANGE.fullmatch(told) else None


def _is_moment(given: str) -> bool:
    if given.isascii() and given.isdigit():
        return True
    try:
        return "T" in given.upper() and datetime.fromisoformat(given).tzinfo is not None
    except ValueError:
        return False


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether one of the tags of If-None-Match is the ETag (RFC 9110, section 13.1.2: compared weakly)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]
