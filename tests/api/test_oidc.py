"""Who gets in with a JWT of the issuer, and as whom; and every token that lets nobody in."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from app.api.oidc import LEEWAY, MAX_TOKEN_LENGTH, NotVerified, OidcVerifier, Verified, looks_like_jwt
from app.domain.access import Actor, ActorKind, Principal, Role
from tests.api.issuer import AUDIENCE, NOW, Issuer, Ticks, at, compact, encoded, issuing, refusal, signing_key

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROLES = {"viewers": Role.VIEWER, "operators": Role.OPERATOR, "approvers": Role.APPROVER, "admins": Role.ADMIN}
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS = (*RSA, "ES256", "ES384", "ES512", "EdDSA")
KEY = signing_key("ES256")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[Issuer, OidcVerifier, Ticks]]:
    """One issuer and one verifier for all tests of this file: making a client for https takes long."""
    ticks = Ticks()
    async with issuing() as issuer:
        verifier = OidcVerifier(issuer.url, AUDIENCE, "roles", ROLES, monotonic=ticks)
        yield issuer, verifier, ticks
        await verifier.aclose()


@pytest.fixture
def issuer(shared: tuple[Issuer, OidcVerifier, Ticks]) -> Issuer:
    """The issuer with one key, as if nobody had asked it yet."""
    issuer = shared[0]
    issuer.keys = [KEY.jwk()]
    issuer.asked.clear()
    return issuer


@pytest.fixture
def verifier(shared: tuple[Issuer, OidcVerifier, Ticks]) -> OidcVerifier:
    """The verifier, so much later that it must forget the keys that it knew."""
    shared[2].advance(1_000_000)
    return shared[1]


@pytest.mark.parametrize("names_algorithm", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm(issuer: Issuer, verifier: OidcVerifier, algorithm: str, names_algorithm: bool) -> None:
    """A token signed with any of the ten algorithms lets in, whether or not the key names the algorithm."""
    key = signing_key(algorithm)
    issuer.keys = [key.jwk() if names_algorithm else key.jwk(alg=None, use=None, key_ops=None)]
    verified = await verifier.verify(key.token(issuer.claims(name="Ada")), NOW)
    principal = Principal(Actor("oidc:ada", "Ada", ActorKind.USER), Role.OPERATOR)
    assert verified == Verified(principal, NOW + timedelta(hours=1) + LEEWAY)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
async def test_types(issuer: Issuer, verifier: OidcVerifier, typ: str | None) -> None:
    """ID tokens and access tokens let in, and those that do not say what they are."""
    await verifier.verify(KEY.token(issuer.claims(), typ=typ), NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["another", AUDIENCE]},
        {"iat": None},
        {"exp": at(-29)},
        {"exp": at(60) + 0.5},
        {"nbf": at(29), "iat": at(29)},
        {"jti": 7},
        {"sub": "x" * 255},
    ],
)
async def test_claims_that_let_in(issuer: Issuer, verifier: OidcVerifier, changes: dict[str, object]) -> None:
    """Several audiences, missing iat, clocks that differ by less than the leeway and odd but lawful values let in."""
    verified = await verifier.verify(KEY.token(issuer.claims(**changes)), NOW)
    assert verified.expires_at > NOW


async def test_expiry_is_when_it_is_refused(issuer: Issuer, verifier: OidcVerifier) -> None:
    """A token lets in until just before the moment that is given as its end, and not from then on."""
    token = KEY.token(issuer.claims(exp=at(60)))
    end = (await verifier.verify(token, NOW)).expires_at
    await verifier.verify(token, end - timedelta(microseconds=1))
    with pytest.raises(NotVerified, match="expired"):
        await verifier.verify(token, end)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exp": at(-30)}, "has expired"),
        ({"exp": at(-86_400)}, "has expired"),
        ({"nbf": at(31)}, "not valid yet (nbf)"),
        ({"iat": at(31)}, "not valid yet (iat)"),
        *(({claim: None}, f"lacks the claim {claim}") for claim in ("iss", "aud", "exp", "sub")),
        ({"iss": "https://issuer.example"}, "another issuer's"),
        ({"iss": ["a"]}, "another issuer's"),
        ({"aud": "another"}, "not made for Slipway"),
        ({"aud": ["another", "slipway2"]}, "not made for Slipway"),
        ({"aud": {"slipway": 1}}, "not made for Slipway"),
        ({"aud": [["slipway"]]}, "not made for Slipway"),
        ({"aud": []}, "lacks the claim aud"),
        *(({"exp": odd}, "exp is not a time") for odd in ("9999999999", True, 10**12, 10**400, 1e300, -1, [], {})),
        ({"exp": float("nan")}, "exp is not a time"),
        ({"exp": float("inf")}, "exp is not a time"),
        ({"nbf": "now"}, "nbf is not a time"),
        ({"iat": False}, "iat is not a time"),
        ({"sub": 7}, "not well formed"),
        *(({"sub": odd}, "(sub)") for odd in ("", " ", "a\nb", "a\x00", "a\u202eb", "\ud800", "x" * 256)),
        ({"cnf": {"jkt": "x"}}, "not for whoever bears it"),
        ({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, "not for whoever bears it"),
    ],
)
async def test_claims_that_do_not(
    issuer: Issuer, verifier: OidcVerifier, changes: dict[str, Any], message: str
) -> None:
    """A token that is signed well but expired, early, another's, or lacks or garbles a claim lets nobody in."""
    assert message in await refusal(verifier, KEY.token(issuer.claims(**changes)))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        *(({name: value}, "one of the headers") for name, value in {
            "jku": "https://evil.example/keys", "jwk": KEY.jwk(), "x5u": "https://evil.example/cert", "x5c": ["MII"],
            "crit": ["b64"],
        }.items()),
        ({"crit": ["exp"]}, "not a well-formed JWT"),
        ({"crit": []}, "not a well-formed JWT"),
        ({"b64": False}, "not a well-formed JWT"),
        *(({"typ": typ}, "(typ)") for typ in ("logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "", 7, ["JWT"])),
        *(({"alg": alg}, "(alg)") for alg in ("none", "None", "NONE", "HS256", "HS512", "ES256K", "ES521", "rs256")),
        *(({"alg": alg}, "(alg)") for alg in (None, "", 7, ["ES256"], {"ES256": 1})),
        ({"kid": 7}, "not a well-formed JWT"),
        ({"kid": ["ES256-1-2048"]}, "not a well-formed JWT"),
    ],
)  # fmt: skip
async def test_headers_that_do_not(
    issuer: Issuer, verifier: OidcVerifier, header: dict[str, Any], message: str
) -> None:
    """A header that brings a key, asks for extensions, or names another type or algorithm lets nobody in, unasked."""
    if "crit" in header:
        header = {"b64": True} | header
    assert message in await refusal(verifier, KEY.token(issuer.claims(), **header))
    assert issuer.readings == 0


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\0" * 63, b"\xff" * 64, b"0" * 4_000])
@pytest.mark.parametrize("alg", ["none", "ES256"])
async def test_no_signature(issuer: Issuer, verifier: OidcVerifier, alg: str, signature: bytes) -> None:
    """A token whose signature was taken away, or is made up, lets nobody in, with and without `alg: none`."""
    header = {"alg": alg, "kid": KEY.kid, "typ": "JWT"}
    message = await refusal(verifier, compact(header, issuer.claims(), lambda _: signature))
    assert ("(alg)" if alg == "none" else "signature") in message


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_every_changed_character(issuer: Issuer, verifier: OidcVerifier, algorithm: str) -> None:
    """Whichever character of a token is changed, or taken away, it lets nobody in any more."""
    key = signing_key(algorithm)
    issuer.keys = [key.jwk()]
    token = key.token(issuer.claims())
    await verifier.verify(token, NOW)
    for place, character in enumerate(token):
        for other in {"A", "_", ".", "=", " ", "", chr(ord(character) ^ 1)} - {character}:
            await refusal(verifier, token[:place] + other + token[place + 1 :])
    assert issuer.readings == 1


async def test_parts_of_other_tokens(issuer: Issuer, verifier: OidcVerifier) -> None:
    """The signature of one token does not hold for the claims of another."""
    mine, theirs = (KEY.token(issuer.claims(sub=sub)).split(".") for sub in ("ada", "grace"))
    assert "signature" in await refusal(verifier, ".".join([mine[0], theirs[1], mine[2]]))


@pytest.mark.parametrize(
    "token",
    [
        *("", ".", "..", "...", "slw_abc", "ey", "e30..", "e30.e30.e30", "null.null.null", "eyJ.eyJ.eyJ", "é.é.é"),
        *(encoded(header) + ".e30.e30" for header in (
            [], None, "alg", {"alg": 10**4_000}, b'{"":' + b"[" * 9_000, b'{"a":' + b"9" * 5_000 + b"}", b'{"\xff": 1}',
        )),
        ".".join([encoded({"alg": "RSA-OAEP", "enc": "A256GCM"}), *["e30"] * 4]),
        *("e30." * 4_000, "ey" + "A" * MAX_TOKEN_LENGTH, "e30.e30." + "A" * 1_000_000, "\ud800.e30.e30"),
    ],
    ids=lambda token: ascii(token[:12]),
)  # fmt: skip
async def test_garbage(issuer: Issuer, verifier: OidcVerifier, token: str) -> None:
    """What is no JWT at all, nests 9,000 deep or is a megabyte long lets nobody in, and the issuer is not asked."""
    await refusal(verifier, token)
    assert issuer.readings == 0


@pytest.mark.parametrize(
    "claims",
    [[], "claims", None, b"", b"\xff", b"[" * 9_000, b'{"exp":' + b"9" * 5_000 + b"}", b'{"sub":"ada"'],
    ids=str,
)
async def test_garbage_that_is_signed(verifier: OidcVerifier, claims: object) -> None:
    """Even what the issuer itself signed lets nobody in if it is no JSON object."""
    await refusal(verifier, KEY.token(claims))


async def test_length(issuer: Issuer, verifier: OidcVerifier) -> None:
    """A token of 16 kB lets in; of a longer one nothing is read."""
    tokens = (KEY.token(issuer.claims(pad="x" * length)) for length in range(11_800, MAX_TOKEN_LENGTH))
    before, longer = next(pair for pair in pairwise(tokens) if len(pair[1]) > MAX_TOKEN_LENGTH)
    await verifier.verify(before, NOW)
    assert "characters" in await refusal(verifier, longer)


@pytest.mark.parametrize("sub", ["admin", "system", "tok_01", "oidc:ada"])
async def test_nobody_is_mistaken(issuer: Issuer, verifier: OidcVerifier, sub: str) -> None:
    """No subject is taken for the administrator, for Slipway, for a token or for another subject."""
    verified = await verifier.verify(KEY.token(issuer.claims(sub=sub)), NOW)
    assert verified.principal.actor == Actor(f"oidc:{sub}", sub)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Ada Lovelace", "email": "ada@example.com"}, "Ada Lovelace"),
        ({"preferred_username": "ada.l", "email": "ada@example.com"}, "ada.l"),
        ({"email": "ada@example.com"}, "ada@example.com"),
        ({}, "ada"),
        ({"name": "", "preferred_username": " \n", "email": 7}, "ada"),
        ({"name": ["Ada"], "preferred_username": {"a": 1}}, "ada"),
        ({"name": " Ada\r\n\x1b[31m \u202eecalevoL\x00 "}, "Ada [31m ecalevoL"),
        ({"name": "A" * 5_000}, "A" * 100),
        ({"name": "Zoë 李"}, "Zoë 李"),
    ],
)
async def test_names(issuer: Issuer, verifier: OidcVerifier, claims: dict[str, Any], name: str) -> None:
    """People are called by the first name there is, in one printable line of at most 100 characters."""
    verified = await verifier.verify(KEY.token(issuer.claims(**claims)), NOW)
    assert verified.principal.actor.name == name


@pytest.mark.parametrize(
    ("role_claim", "claims", "role"),
    [
        ("roles", {"roles": "admins"}, Role.ADMIN),
        ("roles", {"roles": ["viewers"]}, Role.VIEWER),
        ("roles", {"roles": ["viewers", "approvers", "operators", "strangers"]}, Role.APPROVER),
        ("roles", {"roles": [7, None, ["admins"], {"admins": 1}, "viewers"]}, Role.VIEWER),
        ("realm_access.roles", {"realm_access": {"roles": ["admins"]}}, Role.ADMIN),
        ("a.b.c", {"a": {"b": {"c": "viewers"}}}, Role.VIEWER),
        ("a.b.c", {"a": {"b.c": "viewers"}}, Role.VIEWER),
        ("https://slipway.example/roles", {"https://slipway.example/roles": ["operators"]}, Role.OPERATOR),
        ("roles", {"roles": None}, None),
        ("roles", {"roles": []}, None),
        ("roles", {"roles": "strangers"}, None),
        ("roles", {"roles": "ADMIN"}, None),
        ("roles", {"roles": "Admins"}, None),
        ("roles", {"roles": "viewers admins"}, None),
        ("roles", {"roles": {"admins": True}}, None),
        ("roles", {"roles": [["admins"]]}, None),
        ("roles", {"roles": True}, None),
        ("realm_access.roles", {"realm_access": ["roles"], "roles": ["admins"]}, None),
        ("realm_access.roles", {"realm_access": {"roles": {"roles": "admins"}}}, None),
        ("realm_access.", {"realm_access": {"": "admins"}}, None),
        ("a.b", {"a": None}, None),
    ],
)
async def test_roles(issuer: Issuer, role_claim: str, claims: dict[str, Any], role: Role | None) -> None:
    """The highest role that any value of the claim stands for is the caller's; without one nobody gets in."""
    verifier = OidcVerifier(issuer.url, AUDIENCE, role_claim, ROLES)
    token = KEY.token(issuer.claims(**claims))
    if role is None:
        message = await refusal(verifier, token)
        assert "You have no role in Slipway" in message
        assert role_claim in message
    else:
        assert (await verifier.verify(token, NOW)).principal.role is role
    await verifier.aclose()


@pytest.mark.parametrize(
    ("secret", "looks"),
    [
        ("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", True), ("eyJhbGciOiJub25lIn0.e30.", True), (encoded(b"{ }") + ".e30.x", True),
        (encoded(b"{\n}") + ".e30.x", True), ("slw_abcdef", False), ("x" * 32, False), ("a.b.c", False), ("", False),
        ("eyJ.e30", False), ("eyJ.e30.e30.e30", False), ("eyJ.e30.e30\n", False), ("eyJ.é.e30", False),
    ],
)  # fmt: skip
async def test_looks_like_jwt(secret: str, looks: bool) -> None:
    """JWTs are told from API tokens at sight, signed or not."""
    assert looks_like_jwt(secret) is looks
