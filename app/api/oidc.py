"""Single sign-on: who is calling, by a JWT of the OpenID Connect issuer.

Nothing that a token says is believed before its signature is. It does not say where keys are to be had, and which key
verifies what is for the issuer to say: a token can only choose among that.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from jwt.types import Options
from msgspec import Struct

from app.api.issuer_keys import ALGORITHMS, IssuerKeys, IssuerUnavailable, Key
from app.domain.access import Actor, Principal, Role
from app.domain.features import MAX_NAME

__all__ = ["IssuerUnavailable", "NotVerified", "OidcVerifier", "Verified", "looks_like_jwt"]

LEEWAY = timedelta(seconds=30)
MAX_TOKEN_LENGTH = 16 * 1024
MAX_SUBJECT = 255

# A JSON object in base64 begins so. The signature may be empty: `alg: none` is to be refused as the JWT that it is.
_JWT = re.compile(r"e[wy][\w-]*\.[\w-]+\.[\w-]*", re.ASCII)
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
# Keys that a token brings along or points to, and extensions that must be understood.
_FORBIDDEN_HEADERS = frozenset({"crit", "jku", "jwk", "x5c", "x5u"})
# Tokens that are not for whoever bears them: bound to a key that the sender must hold, or telling of a logout.
_FORBIDDEN_CLAIMS = frozenset({"cnf", "events"})
# Times are judged here, by the caller's `now`: PyJWT would read a clock.
_OPTIONS: Options = {
    "require": ["iss", "aud", "exp", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_jti": False,
    "enforce_minimum_key_length": True,
}


class NotVerified(Exception):
    """A token lets nobody in. The message may be shown: it holds nothing of the token and nothing of a key."""


class Verified(Struct, frozen=True):
    """Who a token speaks for, and the moment from which it no longer does."""

    principal: Principal
    expires_at: datetime


def looks_like_jwt(secret: str) -> bool:
    """Whether a bearer token is meant as a JWT. Slipway's own tokens have no dots."""
    return _JWT.fullmatch(secret) is not None


class OidcVerifier:
    """Knows people by the JWTs that one issuer makes for `audience`.

    Their role is the highest that `roles` gives to a value of the claim `role_claim`, a name or a dotted path.
    Raises ValueError for an issuer that is neither https nor http on loopback, and where nobody could get in.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        role_claim: str,
        roles: Mapping[str, Role],
        *,
        timeout: float = 3.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not audience or not role_claim or not roles:
            raise ValueError("Name an audience, the claim that holds roles, and a role for at least one of its values.")
        self._issuer = issuer
        self._audience = audience
        self._role_claim = role_claim
        self._roles = dict(roles)
        self._keys = IssuerKeys(issuer, timeout, monotonic)

    async def verify(self, token: str, now: datetime) -> Verified:
        """Who the token speaks for. Raises NotVerified, or IssuerUnavailable where there is no key to judge it by."""
        algorithm, kid = _unverified_header(token)
        match await self._keys.matching(algorithm, kid):
            case [key]:
                claims = self._claims(token, key, algorithm)
            case []:
                raise NotVerified("The issuer has no key that this token could be signed with. Sign in again.")
            case _:
                raise NotVerified("The token does not say which of the issuer's keys it is signed with (kid).")
        expires_at = _expiry(claims, now)
        return Verified(self._principal(claims), expires_at)

    async def aclose(self) -> None:
        """Let go of connections to the issuer."""
        await self._keys.aclose()

    def _claims(self, token: str, key: Key, algorithm: str) -> dict[str, Any]:
        """What the issuer says in the token; its times are still to be judged."""
        try:
            claims = jwt.decode(
                token, key.public, [algorithm], options=_OPTIONS, audience=self._audience, issuer=self._issuer
            )
        except jwt.InvalidSignatureError:
            raise NotVerified("The token's signature is not the issuer's.") from None
        except jwt.InvalidIssuerError:
            raise NotVerified("The token is another issuer's (iss).") from None
        except jwt.InvalidAudienceError:
            raise NotVerified("The token is not made for Slipway (aud).") from None
        except jwt.MissingRequiredClaimError as missing:
            raise NotVerified(f"The token lacks the claim {missing.claim}.") from None
        except jwt.PyJWTError:
            raise NotVerified("The token's claims are not well formed.") from None
        if not _FORBIDDEN_CLAIMS.isdisjoint(claims):
            raise NotVerified("The token is not for whoever bears it: it has a claim cnf or events.")
        return claims

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        subject = claims["sub"]
        if not subject.strip() or not subject.isprintable() or len(subject) > MAX_SUBJECT:
            raise NotVerified(f"The token's subject (sub) is blank, not printable or above {MAX_SUBJECT} characters.")
        held = {self._roles[value] for value in _strings_at(claims, self._role_claim) if value in self._roles}
        if not held:
            raise NotVerified(
                f"You have no role in Slipway: nothing in the token's claim {self._role_claim!r} stands for one. "
                "Ask for it where your sign-on is managed, then sign in again."
            )
        # Whatever a subject is called, the prefix keeps it apart from tokens, the administrator and Slipway itself.
        return Principal(Actor(f"oidc:{subject}", _name(claims)), max(held, key=list(Role).index))


def _unverified_header(token: str) -> tuple[str, str | None]:
    """The algorithm that a token claims to be signed with, and the id of the key if it names one."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise NotVerified(f"The token has more than {MAX_TOKEN_LENGTH} characters.")
    if not looks_like_jwt(token):
        raise NotVerified("The token is not a JWT.")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise NotVerified("The token is not a well-formed JWT.") from None
    if not _FORBIDDEN_HEADERS.isdisjoint(header):
        raise NotVerified(f"The token has one of the headers {', '.join(sorted(_FORBIDDEN_HEADERS))}.")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise NotVerified("The token is neither an ID token nor an access token (typ).")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise NotVerified(f"The token is not signed with one of {', '.join(sorted(ALGORITHMS))} (alg).")
    return algorithm, header.get("kid")


def _expiry(claims: Mapping[str, Any], now: datetime) -> datetime:
    """When a token that is valid now ends, with leeway for clocks that differ."""
    for claim in ("nbf", "iat"):
        if claim in claims and now < _moment(claims, claim) - LEEWAY:
            raise NotVerified(f"The token is not valid yet ({claim}).")
    expires_at = _moment(claims, "exp") + LEEWAY
    if now >= expires_at:
        raise NotVerified("The token has expired. Sign in again.")
    return expires_at


def _moment(claims: Mapping[str, Any], claim: str) -> datetime:
    match claims[claim]:
        case bool():
            pass
        case int() | float() as seconds if 0 < seconds < 1e11:  # to the year 5138; NaN is not in between either
            return datetime.fromtimestamp(seconds, UTC)
    raise NotVerified(f"The token's claim {claim} is not a time in seconds.")


def _strings_at(claims: object, path: str) -> list[str]:
    """The strings that a claim holds. Its own name may have dots as well: `https://example.com/roles`."""
    if not isinstance(claims, dict):
        return []
    if path in claims:
        found = claims[path]
        return [value for value in (found if isinstance(found, list) else [found]) if isinstance(value, str)]
    head, _, rest = path.partition(".")
    return _strings_at(claims.get(head), rest) if rest else []


def _name(claims: Mapping[str, Any]) -> str:
    """What to call the caller: one line, without characters that could disguise it."""
    for claim in ("name", "preferred_username", "email"):
        if isinstance(told := claims.get(claim), str):
            printable = "".join(character if character.isprintable() else " " for character in told)
            if name := " ".join(printable.split())[:MAX_NAME].strip():
                return name
    return str(claims["sub"])[:MAX_NAME]
