"""An issuer that is away, slow, or answers as no issuer should."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from structlog.typing import EventDict

from app.api.issuer_keys import COOLDOWN_SECONDS, MAX_AGE_SECONDS, MAX_KEYS, MAX_STALE_SECONDS, IssuerUnavailable
from app.api.oidc import OidcVerifier
from app.domain.access import Role
from tests.api.issuer import DISCOVERY, KEYS, NOW, Issuer, Ticks, issuing, refusal, signing_key, verifying

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = signing_key("ES256")


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


async def test_away_from_the_start() -> None:
    """Without keys nobody is judged, the issuer is tried once in five seconds, and is found when it comes."""
    ticks = Ticks()
    async with issuing() as issuer, verifying(issuer, ticks) as verifier:
        issuer.keys = [KEY.jwk()]
        issuer.answer(DISCOVERY, lambda: Response(status_code=503))
        token = KEY.token(issuer.claims())
        for _ in range(20):
            with pytest.raises(IssuerUnavailable, match="Try again"):
                await verifier.verify(token, NOW)
        assert issuer.readings == 1
        await issuer.stop()
        ticks.advance(COOLDOWN_SECONDS)
        with pytest.raises(IssuerUnavailable):
            await verifier.verify(token, NOW)
        issuer.answers.clear()
        await issuer.start()
        with pytest.raises(IssuerUnavailable):
            await verifier.verify(token, NOW)
        ticks.advance(COOLDOWN_SECONDS)
        await verifier.verify(token, NOW)


async def test_away_later(logs: list[EventDict]) -> None:
    """The last keys serve for an hour after they were read and not longer; the log says that they could not be read."""
    ticks = Ticks()
    async with issuing() as issuer, verifying(issuer, ticks) as verifier:
        issuer.keys = [KEY.jwk()]
        token = KEY.token(issuer.claims())
        await verifier.verify(token, NOW)
        await issuer.stop()
        for seconds in (MAX_AGE_SECONDS, 1, MAX_STALE_SECONDS - MAX_AGE_SECONDS - 1):
            ticks.advance(seconds)
            await verifier.verify(token, NOW)
            assert "no key" in await refusal(verifier, KEY.token(issuer.claims(), kid="stranger"))
        ticks.advance(1)
        with pytest.raises(IssuerUnavailable):
            await verifier.verify(token, NOW)
        await issuer.start()
        ticks.advance(COOLDOWN_SECONDS)
        await verifier.verify(token, NOW)
    warned = [entry for entry in logs if entry["log_level"] == "warning"]
    assert {(entry["event"], entry["issuer"]) for entry in warned} == {("issuer's keys not read", issuer.url)}


async def test_slow(issuer: Issuer) -> None:
    """An issuer that says nothing, or drips, is given up."""
    done = asyncio.Event()

    async def dripping() -> Response:
        async def drops() -> AsyncIterator[bytes]:
            while not done.is_set():
                yield b" "
                await asyncio.sleep(0.01)

        return StreamingResponse(drops())

    async def silent() -> Response:
        await done.wait()
        return Response()

    ticks = Ticks()
    async with verifying(issuer, ticks, patience=0.1) as verifier:
        for path, answer in ((DISCOVERY, silent), (KEYS, silent), (KEYS, dripping)):
            issuer.answers = {path: answer}
            with pytest.raises(IssuerUnavailable):
                await verifier.verify(KEY.token(issuer.claims()), NOW)
            ticks.advance(COOLDOWN_SECONDS)
    done.set()


async def test_slow_later(issuer: Issuer) -> None:
    """An issuer that becomes slow is waited for once; then it holds up nobody whose key is known."""
    ticks, token = Ticks(), KEY.token(issuer.claims())
    async with verifying(issuer, ticks, patience=1) as verifier:
        await verifier.verify(token, NOW)
        arrived, answer = pausing(issuer, KEYS, Response)
        ticks.advance(MAX_AGE_SECONDS + 1)
        await verifier.verify(token, NOW)
        assert arrived.is_set()
        arrived.clear()
        ticks.advance(COOLDOWN_SECONDS)
        await verifier.verify(token, NOW)
        assert issuer.readings == 2, "it was not waited for"
        await arrived.wait()
        answer.set()


async def test_whoever_leaves_ends_no_reading(issuer: Issuer) -> None:
    """A caller that goes away while keys are read does not take them from the others."""
    arrived, answer = pausing(issuer, KEYS, lambda: JSONResponse({"keys": [KEY.jwk()]}))
    async with verifying(issuer, Ticks()) as verifier:
        first, second = (asyncio.create_task(verifier.verify(KEY.token(issuer.claims()), NOW)) for _ in range(2))
        await arrived.wait()
        first.cancel()
        await asyncio.wait({first})
        answer.set()
        await second
    assert issuer.readings == 1


async def test_closing_while_reading(issuer: Issuer) -> None:
    """A verifier that is closed, perhaps while keys are read, tells callers that they cannot be had."""
    ticks, token = Ticks(), KEY.token(issuer.claims())
    arrived, answer = pausing(issuer, DISCOVERY, Response)
    async with verifying(issuer, ticks) as verifier:
        caller = asyncio.create_task(verifier.verify(token, NOW))
        await arrived.wait()
    with pytest.raises(IssuerUnavailable):
        await caller
    ticks.advance(COOLDOWN_SECONDS)
    with pytest.raises(IssuerUnavailable):
        await verifier.verify(token, NOW)
    assert issuer.readings == 1
    answer.set()


def pausing(issuer: Issuer, path: str, response: Callable[[], Response]) -> tuple[asyncio.Event, asyncio.Event]:
    """Two events: that somebody asked for a path, and that the answer may be given."""
    arrived, may_answer = asyncio.Event(), asyncio.Event()

    async def answer() -> Response:
        arrived.set()
        await may_answer.wait()
        return response()

    issuer.answers[path] = answer
    return arrived, may_answer


def _discovery(**changes: object) -> Callable[[Issuer], Response]:
    return lambda issuer: JSONResponse({"issuer": issuer.url, "jwks_uri": issuer.url + KEYS} | changes)


def _endless(issuer: Issuer) -> Response:
    async def megabytes() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 100_000
            await asyncio.sleep(0)  # the server says nothing of a client that left

    return StreamingResponse(megabytes())


def _zipped(issuer: Issuer) -> Response:
    content = gzip.compress(JSONResponse({"keys": [KEY.jwk()]}).body + b" " * 100_000_000, compresslevel=1)
    return Response(content, headers={"content-encoding": "gzip"})


ODD = {
    "away": (DISCOVERY, lambda _: Response(status_code=404), "answers 404"),
    "broken": (DISCOVERY, lambda _: Response(status_code=500), "answers 500"),
    "other issuer": (DISCOVERY, _discovery(issuer="https://issuer.example"), "another issuer's"),
    "slash": (DISCOVERY, lambda issuer: _discovery(issuer=issuer.url + "/")(issuer), "another issuer's"),
    "no issuer": (
        DISCOVERY,
        lambda _: JSONResponse({"jwks_uri": "https://localhost/keys"}),
        "required field `issuer`",
    ),
    "no jwks_uri": (DISCOVERY, lambda issuer: JSONResponse({"issuer": issuer.url}), "required field `jwks_uri`"),
    "http elsewhere": (DISCOVERY, _discovery(jwks_uri="http://192.0.2.1/keys"), "not https"),
    "http by name": (DISCOVERY, _discovery(jwks_uri="http://localhost.example/keys"), "not https"),
    "file": (DISCOVERY, _discovery(jwks_uri="file:///etc/passwd"), "not https"),
    "relative": (DISCOVERY, _discovery(jwks_uri=KEYS), "not https"),
    "no host": (DISCOVERY, _discovery(jwks_uri="https://"), "UnsupportedProtocol"),
    "no URL": (DISCOVERY, _discovery(jwks_uri="https://\0"), "InvalidURL"),
    "discovery moved": (DISCOVERY, lambda issuer: RedirectResponse(issuer.url + "/elsewhere"), "answers 307"),
    "keys moved": (KEYS, lambda issuer: RedirectResponse(issuer.url + "/elsewhere"), "answers 307"),
    "no JSON": (KEYS, lambda _: Response("<html>"), "malformed"),
    "no text": (KEYS, lambda _: Response(b'{"keys": [{"kid": "\xff"}]}'), "utf-8"),
    "deep": (KEYS, lambda _: Response('{"keys": [{"kty": ' + "[" * 500_000), "recursion"),
    "no keys": (KEYS, lambda _: JSONResponse({}), "required field `keys`"),
    "keys of text": (KEYS, lambda _: JSONResponse({"keys": ["key"]}), "Expected `object`"),
    "many keys": (KEYS, lambda _: JSONResponse({"keys": [KEY.jwk()] * (MAX_KEYS + 1)}), "more than 100 keys"),
    "huge": (KEYS, lambda _: JSONResponse({"keys": [KEY.jwk(pad="x" * 1_000_000)]}), "more than 1000000 bytes"),
    "endless": (KEYS, _endless, "more than 1000000 bytes"),
    "zipped": (KEYS, _zipped, "malformed"),
}


@pytest.mark.parametrize("odd", ODD)
async def test_odd_answers(issuer: Issuer, logs: list[EventDict], odd: str) -> None:
    """What no issuer should answer gives no key and is not followed; the log says why, the caller is not told."""
    path, answer, reason = ODD[odd]
    issuer.answer(path, lambda: answer(issuer))
    async with verifying(issuer, Ticks()) as verifier:
        with pytest.raises(IssuerUnavailable) as unavailable:
            await verifier.verify(KEY.token(issuer.claims()), NOW)
    assert issuer.readings == 1
    (entry,) = logs
    assert entry["log_level"] == "warning"
    assert reason in entry["error"]
    assert reason not in str(unavailable.value)


@pytest.mark.parametrize("path", ["/", "/realms/acme", "/realms/acme/"])
async def test_issuer_below_a_path(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The issuer may have a path, with or without a slash at its end; on loopback it is asked past any proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with issuing(path) as issuer, verifying(issuer, Ticks()) as verifier:
        issuer.keys = [KEY.jwk()]
        await verifier.verify(KEY.token(issuer.claims()), NOW)
        assert issuer.readings == 1


async def test_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: list[EventDict]) -> None:
    """An https issuer is known by its certificate, and may not send on to http, not even on loopback."""
    ticks, certificate = Ticks(), _certificate(tmp_path)
    async with issuing(tls=certificate) as issuer:
        issuer.keys = [KEY.jwk()]
        token = KEY.token(issuer.claims())
        async with verifying(issuer, ticks) as verifier:
            with pytest.raises(IssuerUnavailable):
                await verifier.verify(token, NOW)
        monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
        async with verifying(issuer, ticks) as verifier:
            await verifier.verify(token, NOW)
            plain = issuer.origin.replace("https", "http") + KEYS
            issuer.answer(DISCOVERY, lambda: JSONResponse({"issuer": issuer.url, "jwks_uri": plain}))
            ticks.advance(MAX_STALE_SECONDS + 1)
            with pytest.raises(IssuerUnavailable):
                await verifier.verify(token, NOW)
    untrusted, sent_on = [entry["error"] for entry in logs if "error" in entry]
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted
    assert "jwks_uri is not https" in sent_on


def _certificate(folder: Path) -> tuple[str, str]:
    """The files of a certificate for localhost that only vouches for itself, and of its key."""
    key = signing_key("ES256", 9).private
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    (folder / "cert").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(folder / "cert"), str(folder / "key")


@pytest.mark.parametrize(
    "issuer",
    [
        "", "issuer.example", "ftp://issuer.example", "http://issuer.example", "http://localhost.example", "https://",
        "http://127.0.0.1.example", "http://[::2]", "https://u:p@issuer.example", "https://issuer.example?a",
        "https://issuer.example/#a", "https://\0", "https://issuer.example:port",
    ],
)  # fmt: skip
async def test_issuers_that_are_refused(issuer: str) -> None:
    """An issuer that is no plain https URL, nor http on loopback, is refused when Slipway starts."""
    with pytest.raises(ValueError, match="issuer"):
        OidcVerifier(issuer, "slipway", "roles", {"admins": Role.ADMIN})


@pytest.mark.parametrize(("audience", "claim", "roles"), [("", "a", {"a": Role.ADMIN}), ("a", "", {}), ("a", "a", {})])
async def test_settings_that_let_nobody_in(audience: str, claim: str, roles: dict[str, Role]) -> None:
    """Without audience, claim or roles nobody could get in, or too many: that is refused when Slipway starts."""
    with pytest.raises(ValueError, match="audience"):
        OidcVerifier("https://issuer.example", audience, claim, roles)
