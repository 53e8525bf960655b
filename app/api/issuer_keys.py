"""The public keys of an OpenID Connect issuer: found by its discovery document, kept for a while.

Whoever sends tokens decides how often a key is missing, so not how often the issuer is asked: once in a few seconds at
most, in one reading that all wait for. An issuer that is away is not missed at once: its last keys serve for an hour.
"""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, TypeVar

import httpx
import msgspec
import structlog
from jwt import PyJWK, PyJWTError
from msgspec import Struct

log = structlog.get_logger()

MAX_AGE_SECONDS = 600.0
# The price of an hour: for as long, a key that the issuer withdrew lets callers in, if they can keep us from asking.
MAX_STALE_SECONDS = 3_600.0
COOLDOWN_SECONDS = 5.0
MAX_RESPONSE_BYTES = 1_000_000
MAX_KEYS = 100

# What a key may verify, by its kty or, where that leaves it open, by its crv.
_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
}
ALGORITHMS = frozenset(algorithm for fitting in _ALGORITHMS.values() for algorithm in fitting)

T = TypeVar("T")


class IssuerUnavailable(Exception):
    """The issuer's keys cannot be had, so that no token can be judged. The message may be shown."""


class Key(Struct, frozen=True):
    """One public key, and the algorithms that it may verify."""

    kid: str | None
    algorithms: frozenset[str]
    public: Any


class IssuerKeys:
    """The keys of one issuer. Raises ValueError unless that is https, or http on loopback."""

    def __init__(self, issuer: str, timeout: float, monotonic: Callable[[], float]) -> None:
        self._issuer = issuer
        self._is_local = _is_on_loopback(checked_issuer(issuer))
        self._timeout = timeout
        self._monotonic = monotonic
        self._http = httpx.AsyncClient(
            timeout=timeout,
            follow_redirects=False,
            trust_env=not self._is_local,  # a proxy would look for the issuer on its own loopback
            headers={"accept": "application/json", "accept-encoding": "identity"},
        )
        self._keys: list[Key] = []
        self._read_at = self._tried_at = float("-inf")
        self._was_away = False
        self._reading: asyncio.Task[None] | None = None

    async def matching(self, algorithm: str, kid: str | None) -> list[Key]:
        """The keys that a token may be signed with, read anew if they are old or there is none.

        Raises IssuerUnavailable if there was no reading them for too long.
        """
        if self._age() > MAX_AGE_SECONDS:
            # An issuer that was away when last asked holds nobody up while its last keys serve.
            await self._refresh(wait=not self._was_away or self._age() > MAX_STALE_SECONDS)
        if not (found := self._find(algorithm, kid)):
            await self._refresh(wait=True)
            found = self._find(algorithm, kid)
        if self._age() > MAX_STALE_SECONDS:
            raise IssuerUnavailable("The issuer of this token cannot be asked for its keys. Try again in a moment.")
        return found

    async def aclose(self) -> None:
        """Stop reading, and let go of connections."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._http.aclose()

    def _age(self) -> float:
        return self._monotonic() - self._read_at

    def _find(self, algorithm: str, kid: str | None) -> list[Key]:
        return [key for key in self._keys if algorithm in key.algorithms and kid in (None, key.kid)]

    async def _refresh(self, *, wait: bool) -> None:
        """Read the keys, unless that was tried a moment ago. One reading serves all, whoever asked and then left."""
        if self._reading is None:
            if self._http.is_closed or self._monotonic() - self._tried_at < COOLDOWN_SECONDS:
                return
            self._reading = asyncio.create_task(self._read())
        if wait:
            await asyncio.wait({self._reading})

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                self._keys = await self._published()
            self._read_at = self._monotonic()
            self._was_away = False
            log.info("issuer's keys read", issuer=self._issuer, keys=len(self._keys))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, _Odd) as error:
            self._was_away = True
            log.warning("issuer's keys not read", issuer=self._issuer, error=f"{type(error).__name__}: {error}")
        finally:
            self._tried_at = self._monotonic()
            self._reading = None

    async def _published(self) -> list[Key]:
        """The keys that the issuer publishes now and that are fit for use."""
        discovery = await self._get(f"{self._issuer.removesuffix('/')}/.well-known/openid-configuration", _Discovery)
        if discovery.issuer != self._issuer:
            raise _Odd("the discovery document is another issuer's")
        url = httpx.URL(discovery.jwks_uri)
        if url.scheme != "https" and not (self._is_local and _is_on_loopback(url)):
            raise _Odd("jwks_uri is not https")
        published = await self._get(url, _KeySet)
        if len(published.keys) > MAX_KEYS:
            raise _Odd(f"there are more than {MAX_KEYS} keys")
        return [key for jwk in published.keys if (key := _usable(jwk)) is not None]

    async def _get(self, url: httpx.URL | str, type: type[T]) -> T:
        async with self._http.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise _Odd(f"{url} answers {response.status_code}")
            body = bytearray()
            # Raw, so that nothing small unpacks to something large.
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_RESPONSE_BYTES:
                    raise _Odd(f"{url} answers with more than {MAX_RESPONSE_BYTES} bytes")
        try:
            return msgspec.json.decode(body, type=type)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _Odd(f"{url} answers with other than is due: {error}") from None


class _Odd(Exception):
    """An answer that no issuer should give."""


class _Discovery(Struct):
    issuer: str
    jwks_uri: str


class _KeySet(Struct):
    keys: list[dict[str, Any]]


def checked_issuer(issuer: str) -> httpx.URL:
    """The issuer as a URL. Raises ValueError for one that may not be asked for keys."""
    try:
        url = httpx.URL(issuer)
    except httpx.InvalidURL as error:
        raise ValueError(f"The issuer is not a URL: {error}") from None
    if not url.host or not (url.scheme == "https" or _is_on_loopback(url)):
        raise ValueError("The issuer must be an https:// URL; http:// is for an issuer on loopback alone.")
    if url.userinfo or "?" in issuer or "#" in issuer:
        raise ValueError("The issuer must be a URL without user, query and fragment.")
    return url


def _is_on_loopback(url: httpx.URL) -> bool:
    """Whether it is plain http to this very machine."""
    if url.scheme != "http":
        return False
    try:
        return url.host == "localhost" or ip_address(url.host).is_loopback
    except ValueError:
        return False


def _usable(jwk: dict[str, Any]) -> Key | None:
    """A published key, if it verifies signatures and is strong enough; None for others."""
    if "d" in jwk or jwk.get("use", "sig") != "sig" or "verify" not in _list(jwk.get("key_ops", ["verify"])):
        return None  # with its private part (d) published, anyone may sign with it
    match jwk:
        case {"kty": "RSA"}:
            kind = "RSA"
        case {"kty": "EC", "crv": "P-256" | "P-384" | "P-521" as kind} | {"kty": "OKP", "crv": "Ed25519" as kind}:
            pass
        case _:
            return None
    algorithms = frozenset(algorithm for algorithm in _ALGORITHMS[kind] if jwk.get("alg", algorithm) == algorithm)
    kid = jwk.get("kid")
    if not algorithms or not isinstance(kid, str | None):
        return None
    try:
        parsed = PyJWK(jwk, min(algorithms))
    except (PyJWTError, ValueError):
        return None
    if parsed.Algorithm.check_key_length(parsed.key) is not None:
        return None  # RSA of less than 2048 bits
    return Key(kid, algorithms, parsed.key)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
