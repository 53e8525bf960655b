"""Which of the issuer's keys verify what, and how seldom the issuer is asked for them, whatever anybody sends."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.api.issuer_keys import COOLDOWN_SECONDS, MAX_AGE_SECONDS
from app.api.oidc import OidcVerifier
from tests.api.issuer import NOW, Issuer, Ticks, compact, encoded, issuing, refusal, signing_key, verifying

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = signing_key("ES256")
NEXT = signing_key("ES256", 2)
SECRET = encoded(KEY.private.private_numbers().private_value.to_bytes(32, "big"))
SPKI = PublicFormat.SubjectPublicKeyInfo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Issuer]:
    """One issuer for all tests of this file that do not stop it."""
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
def issuer(server: Issuer) -> Issuer:
    """The issuer with one key, as if nobody had asked it yet."""
    server.keys = [KEY.jwk()]
    server.asked.clear()
    server.answers.clear()
    return server


@pytest.fixture
def ticks() -> Ticks:
    """The clock by which keys grow old."""
    return Ticks()


@pytest_asyncio.fixture(loop_scope="module")
async def verifier(issuer: Issuer, ticks: Ticks) -> AsyncIterator[OidcVerifier]:
    """A verifier that knows no key yet."""
    async with verifying(issuer, ticks) as verifier:
        yield verifier


def strangers(issuer: Issuer) -> list[str]:
    """Tokens under 500 ids of keys that do not exist."""
    return [KEY.token(issuer.claims(), kid=f"stranger-{number}") for number in range(500)]


# --- which key verifies what ---


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
@pytest.mark.parametrize("shape", ["pem", "der", "jwk", "published", "n", "empty"])
async def test_key_confusion(issuer: Issuer, verifier: OidcVerifier, algorithm: str, shape: str) -> None:
    """The public key, which anyone knows, is no shared secret, in whatever shape and under whichever algorithm."""
    key = signing_key("RS256")
    issuer.keys = [key.jwk()]
    public = key.private.public_key()
    secret = {
        "pem": public.public_bytes(Encoding.PEM, SPKI),
        "der": public.public_bytes(Encoding.DER, SPKI),
        "jwk": json.dumps(key.jwk()).encode(),
        "published": json.dumps({"keys": [key.jwk()]}).encode(),
        "n": str(key.jwk()["n"]).encode(),
        "empty": b"",
    }[shape]
    header = {"alg": algorithm, "kid": key.kid, "typ": "JWT"}
    claims = issuer.claims(roles=["admins"])
    token = compact(header, claims, lambda message: hmac.digest(secret, message, hashlib.sha256))
    await verifier.verify(key.token(issuer.claims()), NOW)
    assert ("(alg)" if algorithm == "HS256" else "signature") in await refusal(verifier, token)


async def test_token_of_another_key(issuer: Issuer, verifier: OidcVerifier) -> None:
    """A key that is not the issuer's signs for nobody, even under the id of one that is."""
    stranger = signing_key("ES256", 2).named(KEY.kid)
    assert "signature" in await refusal(verifier, stranger.token(issuer.claims()))


async def test_one_key_needs_no_id(issuer: Issuer, verifier: OidcVerifier) -> None:
    """A token without kid is good where one key alone fits its algorithm, and is refused where several do."""
    issuer.keys = [KEY.jwk(), signing_key("RS256").jwk(), signing_key("ES384").jwk()]
    await verifier.verify(KEY.token(issuer.claims(), kid=None), NOW)
    await verifier.verify(signing_key("RS256").token(issuer.claims(), kid=None), NOW)
    assert "no key" in await refusal(verifier, signing_key("EdDSA").token(issuer.claims(), kid=None))


async def test_several_keys_need_one(issuer: Issuer, verifier: OidcVerifier) -> None:
    """A token without kid is refused where several keys fit its algorithm: none is tried in turn."""
    issuer.keys = [KEY.jwk(), NEXT.jwk()]
    assert "(kid)" in await refusal(verifier, KEY.token(issuer.claims(), kid=None))
    issuer.keys = [KEY.jwk(), NEXT.jwk(kid=KEY.kid)]
    await verifier.verify(KEY.token(issuer.claims()), NOW)


async def test_an_id_shared_by_types(issuer: Issuer, verifier: OidcVerifier) -> None:
    """Keys of different types may share an id: the algorithm tells them apart."""
    keys = [signing_key(algorithm).named("same") for algorithm in ("ES256", "RS256", "EdDSA")]
    issuer.keys = [key.jwk() for key in keys]
    for key in keys:
        await verifier.verify(key.token(issuer.claims()), NOW)


async def test_keys_without_id(issuer: Issuer, verifier: OidcVerifier) -> None:
    """A key that is published without id verifies tokens without, and none that name one."""
    issuer.keys = [KEY.jwk(kid=None)]
    await verifier.verify(KEY.token(issuer.claims(), kid=None), NOW)
    assert "no key" in await refusal(verifier, KEY.token(issuer.claims()))


@pytest.mark.parametrize(
    ("published", "claimed"),
    [
        ("RS256", "PS256"), ("RS256", "RS512"), ("RS256", "ES256"), ("PS256", "RS256"), ("ES256", "RS256"),
        ("ES256", "ES384"), ("ES384", "ES256"), ("ES512", "ES256"), ("EdDSA", "ES256"), ("ES256", "EdDSA"),
    ],
)  # fmt: skip
async def test_algorithm_of_another_key(issuer: Issuer, verifier: OidcVerifier, published: str, claimed: str) -> None:
    """A key verifies the algorithm that it is published for and no other, not even one that its type could."""
    issuer.keys = [signing_key(published).jwk()]
    signer = signing_key(claimed) if published[:2] not in "RSPS" or claimed[:2] not in "RSPS" else None
    signer = signer or signing_key(published).signing(claimed)
    assert "no key" in await refusal(verifier, signer.named(signing_key(published).kid).token(issuer.claims()))


@pytest.mark.parametrize(
    "jwk",
    [
        KEY.jwk(use="enc"), KEY.jwk(use=["sig"]), KEY.jwk(key_ops=["sign"]), KEY.jwk(key_ops="verify"),
        KEY.jwk(d=SECRET), KEY.jwk(kid=7), KEY.jwk(alg="HS256"), KEY.jwk(alg=["ES256"]), KEY.jwk(kty="RSA"),
        KEY.jwk(kty=["EC"]), KEY.jwk(kty=None), KEY.jwk(crv="P-384"), KEY.jwk(crv=None), KEY.jwk(x=None), KEY.jwk(x=7),
        KEY.jwk(y="AA"), KEY.jwk(y="é"), KEY.jwk(x=KEY.jwk()["y"], y=KEY.jwk()["x"]), {},
        signing_key("RS256").jwk(n=None), signing_key("RS256").jwk(e="AQ"), signing_key("RS256").jwk(n=[]),
        signing_key("EdDSA").jwk(x="AA"), signing_key("EdDSA").jwk(crv="X25519"), signing_key("EdDSA").jwk(crv="Ed448"),
        {"kty": "oct", "k": encoded(b"k" * 32), "alg": "HS256", "use": "sig"},
        signing_key("RS256", bits=1024).jwk(), signing_key("ES256K").jwk(alg=None),
    ],
)  # fmt: skip
async def test_unfit_keys(issuer: Issuer, verifier: OidcVerifier, jwk: dict[str, Any]) -> None:
    """A key for encryption, with its secret, too short, of another curve or garbled is passed over for the next."""
    issuer.keys = [jwk | {"kid": jwk.get("kid", "unfit")}, NEXT.jwk()]
    await verifier.verify(NEXT.token(issuer.claims()), NOW)
    for key in (KEY, signing_key("RS256"), signing_key("EdDSA"), signing_key("RS256", bits=1024)):
        assert "no key" in await refusal(verifier, key.named(str(jwk.get("kid", "unfit"))).token(issuer.claims()))


# --- how often the issuer is asked ---


async def test_keys_are_kept(issuer: Issuer, verifier: OidcVerifier, ticks: Ticks) -> None:
    """Keys are read once for many tokens, by all that come first together, and again when they are ten minutes old."""
    token = KEY.token(issuer.claims())
    await asyncio.gather(*(verifier.verify(token, NOW) for _ in range(50)))
    ticks.advance(MAX_AGE_SECONDS)
    await verifier.verify(token, NOW)
    assert issuer.readings == 1
    ticks.advance(1)
    await asyncio.gather(*(verifier.verify(token, NOW) for _ in range(50)))
    assert issuer.readings == 2


async def test_rotation(issuer: Issuer, verifier: OidcVerifier, ticks: Ticks) -> None:
    """A key that is new is read once, at the first token that names it; the one that is gone verifies nothing then."""
    old, new = KEY.token(issuer.claims()), NEXT.token(issuer.claims())
    await verifier.verify(old, NOW)
    issuer.keys = [KEY.jwk(), NEXT.jwk()]
    ticks.advance(COOLDOWN_SECONDS)
    await asyncio.gather(*(verifier.verify(token, NOW) for token in (new, old) for _ in range(20)))
    assert issuer.readings == 2
    issuer.keys = [NEXT.jwk()]
    ticks.advance(MAX_AGE_SECONDS + 1)
    await verifier.verify(new, NOW)
    assert "no key" in await refusal(verifier, old)
    assert issuer.readings == 3


async def test_withdrawn_keys(issuer: Issuer, verifier: OidcVerifier, ticks: Ticks) -> None:
    """An issuer that withdraws all keys is taken at its word."""
    await verifier.verify(KEY.token(issuer.claims()), NOW)
    issuer.keys = []
    ticks.advance(MAX_AGE_SECONDS + 1)
    assert "no key" in await refusal(verifier, KEY.token(issuer.claims()))


async def test_flood_of_unknown_ids(issuer: Issuer, verifier: OidcVerifier, ticks: Ticks) -> None:
    """A thousand made-up ids cost one reading in five seconds, at once or in turn, and hold up nobody who is known."""
    known = KEY.token(issuer.claims())
    await verifier.verify(known, NOW)
    ticks.advance(COOLDOWN_SECONDS)
    await asyncio.gather(*(refusal(verifier, token) for token in strangers(issuer)), verifier.verify(known, NOW))
    assert issuer.readings == 2
    for token in strangers(issuer):
        await refusal(verifier, token)
    await verifier.verify(known, NOW)
    assert issuer.readings == 2
    ticks.advance(COOLDOWN_SECONDS)
    await asyncio.gather(*(refusal(verifier, token) for token in strangers(issuer)))
    assert issuer.readings == 3
