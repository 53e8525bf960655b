"""A real OpenID Connect issuer on a loopback port: discovery, keys, and tokens signed with RSA, EC and Ed25519 keys."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api.oidc import NotVerified, OidcVerifier
from app.domain.access import Role

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AUDIENCE = "slipway"
DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"

_CURVES: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1, "ES256K": ec.SECP256K1}


@dataclass(frozen=True)
class SigningKey:
    """A key with which the issuer, or someone who would like to be taken for it, signs tokens."""

    kid: str | None
    algorithm: str
    private: Any

    def named(self, kid: str | None) -> "SigningKey":
        """The same key under another id."""
        return replace(self, kid=kid)

    def signing(self, algorithm: str) -> "SigningKey":
        """The same key for another algorithm."""
        return replace(self, algorithm=algorithm)

    def jwk(self, **changes: object) -> dict[str, object]:
        """The key as it is published; members that are changed to None are left out."""
        published: dict[str, Any] = dict(
            jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        )
        return _without_none(published | {"kid": self.kid, "alg": self.algorithm, "use": "sig"} | changes)

    def token(self, claims: object, **header: object) -> str:
        """A token; what the header says of algorithm and key may be changed, and is left out where it is None."""
        signer = jwt.get_algorithm_by_name(self.algorithm)
        said = {"typ": "JWT", "alg": self.algorithm, "kid": self.kid} | header
        return compact(said, claims, lambda message: signer.sign(message, self.private))


@cache
def signing_key(algorithm: str, number: int = 1, bits: int = 2048) -> SigningKey:
    """A key for an algorithm. The same one for the same arguments, as RSA keys take long to make."""
    private: object
    match algorithm:
        case "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
        case "ES256" | "ES384" | "ES512" | "ES256K":
            private = ec.generate_private_key(_CURVES[algorithm]())
        case "RS256":
            private = rsa.generate_private_key(65_537, bits)
        case _:
            private = signing_key("RS256", number, bits).private
    return SigningKey(f"{algorithm}-{number}-{bits}", algorithm, private)


def compact(header: Mapping[str, object], claims: object, sign: Callable[[bytes], bytes]) -> str:
    """A JWT of any header and claims, these as JSON or, if they are bytes, as they are."""
    message = ".".join(map(encoded, (_without_none(header), claims))).encode()
    return f"{message.decode()}.{encoded(sign(message))}"


def encoded(part: object) -> str:
    """One part of a JWT."""
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _without_none(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


class Issuer:
    """The issuer. It publishes `keys`, counts what it is asked in `asked`, and answers otherwise where told to."""

    def __init__(self, path: str = "", tls: tuple[str, str] | None = None) -> None:
        self.path = path
        self.keys: list[object] = []
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, Callable[[], Awaitable[Response]]] = {}
        self._tls = tls
        self._port = 0
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"https://localhost:{self._port}" if self._tls else f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """What it calls itself."""
        return self.origin + self.path

    @property
    def readings(self) -> int:
        """How often someone came for the keys. Fails if more came for them than for the discovery document."""
        discoveries = self.asked[self.path.removesuffix("/") + DISCOVERY]
        assert self.asked[KEYS] <= discoveries
        assert self.asked.total() == self.asked[KEYS] + discoveries
        return discoveries

    def claims(self, **changes: object) -> dict[str, object]:
        """What it says of someone at NOW; claims that are changed to None are left out."""
        now = int(NOW.timestamp())
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 3_600, "roles": ["operators"]}
        return _without_none(said | changes)

    def answer(self, path: str, response: Callable[[], Response]) -> None:
        """Answer so at a path from now on."""

        async def answer() -> Response:
            return response()

        self.answers[path] = answer

    async def start(self) -> None:
        """Listen: on a free port, and later on the same one again."""
        app = Starlette(routes=[Route("/{path:path}", self._answer)])
        certificate, key = self._tls or (None, None)
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=self._port,
            log_level="warning",
            lifespan="off",
            ssl_certfile=certificate,
            ssl_keyfile=key,
            timeout_graceful_shutdown=2,  # a test that fails may leave an answer unsaid
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            assert not self._serving.done(), "the issuer did not start"
            await asyncio.sleep(0.002)
        self._port = self._server.servers[0].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no longer."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    async def _answer(self, request: Request) -> Response:
        self.asked[request.url.path] += 1
        if told := self.answers.get(request.url.path):
            return await told()
        match request.url.path:
            case path if path == self.path.removesuffix("/") + DISCOVERY:
                return JSONResponse({"issuer": self.url, "jwks_uri": self.origin + KEYS})
            case "/keys":
                return JSONResponse({"keys": self.keys})
        return Response(status_code=404)


@asynccontextmanager
async def issuing(path: str = "", tls: tuple[str, str] | None = None) -> AsyncIterator[Issuer]:
    """An issuer that runs to the end of the block."""
    issuer = Issuer(path, tls)
    await issuer.start()
    try:
        yield issuer
    finally:
        await issuer.stop()


@asynccontextmanager
async def verifying(issuer: Issuer, ticks: "Ticks", patience: float = 3.0) -> AsyncIterator[OidcVerifier]:
    """A verifier that knows no key yet, by whose clock keys grow old."""
    roles = {"operators": Role.OPERATOR}
    verifier = OidcVerifier(issuer.url, AUDIENCE, "roles", roles, timeout=patience, monotonic=ticks)
    try:
        yield verifier
    finally:
        await verifier.aclose()


class Ticks:
    """A monotonic clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


async def refusal(verifier: OidcVerifier, token: str) -> str:
    """What a verifier says at NOW of a token that lets nobody in. Nothing of the token may be in it."""
    with pytest.raises(NotVerified) as refused:
        await verifier.verify(token, NOW)
    message = str(refused.value)
    assert refused.value.__cause__ is None
    assert not any(part in message for part in token.split(".") if len(part) > 8)
    return message


def at(seconds: float) -> int:
    """A claim's time, that long after NOW."""
    return int((NOW + timedelta(seconds=seconds)).timestamp())


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are for pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
