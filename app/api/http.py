"""GraphQL over HTTP, as its specification says (graphql.github.io/graphql-over-http, draft of 2025).

Strawberry's schema executes; reading requests and writing responses is here, since Strawberry's view answers neither
with the status codes nor with the media types of the specification.
"""

import asyncio
from functools import lru_cache
from typing import Any

import msgspec
from graphql import GraphQLError, OperationType
from msgspec import Struct
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from app.api.context import Context
from app.api.schema import schema

GRAPHQL_JSON = "application/graphql-response+json"
JSON = "application/json"
ALLOW = "GET, POST"

_OVER_GET = {OperationType.QUERY}
_OVER_POST = {OperationType.QUERY, OperationType.MUTATION}


class HttpError(Exception):
    """A request that is answered without executing anything; the message is for whoever sent it."""

    def __init__(self, status: int, message: str, code: str = "BAD_REQUEST", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.extensions: dict[str, object] = {"code": code}
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class RateLimited(HttpError):
    """Too many requests; `wait` is for how many whole seconds to wait."""

    def __init__(self, wait: int) -> None:
        super().__init__(429, f"Too many requests; wait {wait} s.", "RATE_LIMITED", retry_after=str(wait))
        self.extensions["retryAfter"] = wait


class Params(Struct, rename="camel", frozen=True):
    """What a request asks for."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    extensions: dict[str, Any] | None = None


def response_type(headers: Headers) -> str:
    """The media type to answer with, by the Accept header. Raises 406 if the client takes none of ours.

    application/json where nothing is said, as clients older than the specification expect.
    """
    accept = headers.get("accept")
    if accept is None or not accept.strip():
        return JSON
    best = _best_of(accept)
    if best is None:
        raise HttpError(406, f"Accept {GRAPHQL_JSON} or {JSON}.", "NOT_ACCEPTABLE")
    return best


@lru_cache(maxsize=100)
def _best_of(accept: str) -> str | None:
    """Which of our media types an Accept header takes most willingly."""
    best, quality = None, 0.0
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = _weight(parameters)
        offered = {GRAPHQL_JSON: GRAPHQL_JSON, JSON: JSON, "application/*": JSON, "*/*": JSON}.get(media)
        if offered is not None and _is_utf8(parameters) and weight > quality:
            best, quality = offered, weight
    return best


async def read_params(request: Request, max_body_bytes: int) -> Params:
    """What the request asks for. Raises 400, 405, 413 or 415."""
    if request.method == "GET":
        return _params_of_get(request)
    if request.method != "POST":
        raise HttpError(405, "Use GET or POST.", "METHOD_NOT_ALLOWED", allow=ALLOW)
    if not _is_json(request.headers.get("content-type", "")):
        # A form would reach us from any page without a preflight; JSON does not.
        raise HttpError(415, f"Send JSON in UTF-8, with the header `Content-Type: {JSON}`.", "UNSUPPORTED_MEDIA_TYPE")
    body = await _bounded_body(request, max_body_bytes)
    try:
        given = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise HttpError(400, f"The body is not JSON: {error}.") from None
    if isinstance(given, list):
        raise HttpError(400, "Send one operation a request; batches are not taken.")
    return _params(given)


async def execute(params: Params, context: Context, method: str, seconds: float) -> ExecutionResult:
    """The result of the operation. Raises 405 for what the method may not do and 503 when it takes too long.

    A mutation that takes too long is done to its end all the same (see `mutations`), but no further one is begun.
    """
    allowed = _OVER_GET if method == "GET" else _OVER_POST
    try:
        prepared = schema.prepare(params.query, params.variables, params.operation_name, context, allowed)
    except InvalidOperationTypeError:
        raise HttpError(405, "Use POST: only queries go over GET.", "METHOD_NOT_ALLOWED", allow="POST") from None
    if isinstance(prepared, list):
        return PreExecutionError(data=None, errors=prepared)
    try:
        async with asyncio.timeout(seconds):
            return await prepared.execute(None, context)
    except TimeoutError:
        raise HttpError(503, f"The operation took more than {seconds:g} s.", "TIMEOUT") from None


def result_response(result: ExecutionResult, media_type: str) -> Response:
    """A result on the wire. With the new media type a request that was not executed is 400; with the old one, 200."""
    # Variables are coerced as the execution begins; an error without a path is of the request all the same.
    is_of_request = result.data is None and all(error.path is None for error in result.errors or ())
    executed = not isinstance(result, PreExecutionError) and not is_of_request
    body: dict[str, object] = {"data": result.data} if executed else {}
    if result.errors:
        body["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        body["extensions"] = result.extensions
    status = 200 if executed or media_type == JSON else 400
    return Response(msgspec.json.encode(body), status, media_type=f"{media_type}; charset=utf-8")


def error_response(error: HttpError, media_type: str) -> Response:
    """An answer to a request of which nothing was executed."""
    formatted = GraphQLError(error.message, extensions=error.extensions).formatted
    return Response(
        msgspec.json.encode({"errors": [formatted]}),
        error.status,
        error.headers,
        media_type=f"{media_type}; charset=utf-8",
    )


def _params_of_get(request: Request) -> Params:
    given: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if name in given:
            try:
                given[name] = msgspec.json.decode(given[name]) if given[name] else None
            except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
                raise HttpError(400, f"{name} is not JSON: {error}.") from None
    if given.get("operationName") == "":
        del given["operationName"]
    return _params(given)


def _params(given: object) -> Params:
    if not isinstance(given, dict):
        raise HttpError(400, 'Send a JSON object: {"query": "...", "variables": {...}}.')
    if not given.get("query"):
        raise HttpError(400, "Send the document as `query`.")
    try:
        return msgspec.convert(given, Params)
    except msgspec.ValidationError as error:
        raise HttpError(400, f"The request is malformed: {error}.") from None


async def _bounded_body(request: Request, most: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_large(most)
    except ClientDisconnect:  # nobody hears it, and nobody is to read a traceback of ours for it
        raise HttpError(400, "The body ended early.") from None
    return bytes(body)


def _too_large(most: int) -> HttpError:
    return HttpError(413, f"Send at most {most} bytes.", "PAYLOAD_TOO_LARGE", connection="close")


@lru_cache(maxsize=100)
def _is_json(content_type: str) -> bool:
    media, *parameters = (piece.strip().lower() for piece in content_type.split(";"))
    return media == JSON and _is_utf8(parameters)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _is_utf8(parameters: list[str]) -> bool:
    charsets = [value.strip('" ') for name, _, value in (p.partition("=") for p in parameters) if name == "charset"]
    return all(charset in ("utf-8", "utf8") for charset in charsets)
