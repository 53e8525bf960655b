"""One feature and all features over the wire: answers, refusals, environments, ETags and origins."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from app.domain.access import Role
from app.domain.releases import ReleaseAction
from app.services import Services, open_services
from app.settings import Settings
from tests.api.serving import Api, serving
from tests.api.test_outages import gone
from tests.conftest import Clock
from tests.domain.builders import ADMIN, HOUR, ON, condition, member_of, person, phase, review, rule, spec
from tests.ofrep.calling import (
    ANN,
    FLAGS,
    Application,
    admitted,
    application,
    body_of,
    make_config,
    make_gate,
    start_release_at,
)
from tests.scene import act, eventually, make_environments, make_feature, stored

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

NOBODY = "slk_" + "x" * 32
ORIGIN = "https://shop.example.com"


@pytest.fixture
async def shop(api: Api) -> Application:
    """An application in production."""
    await make_environments(api.services)
    return await application(api)


@pytest.fixture
def told() -> dict[str, object]:
    """What a test's process is told besides."""
    return {}


@pytest.fixture
def settings(settings: Settings, told: dict[str, object]) -> Settings:
    """As ever, but for what the test says."""
    return settings.model_copy(update=told)


def refused(response: httpx.Response, status: int, code: str | None = None, key: str | None = None) -> str:
    """The details of a refusal, whose body is wholly OFREP's."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    body = response.json()
    details = body.pop("errorDetails")
    expected = {"key": key, "errorCode": code}
    assert body == {name: value for name, value in expected.items() if value is not None}
    assert isinstance(details, str)
    assert details
    return details


Ask = Callable[..., Awaitable[httpx.Response]]


def both(shop: Application) -> tuple[tuple[Ask, str | None], ...]:
    """Ways to evaluate, and the key that a refusal of each names."""
    return ((shop.one, "checkout"), (shop.all, None))


# --- what is given ----------------------------------------------------------------------------------------------------


async def test_a_success_has_all_that_clients_read(shop: Application, api: Api) -> None:
    """Value, variant, a reason of the protocol and flat metadata, for gates and configs, from rules and by default."""
    vip = condition("vip", "EQUALS", True)
    await make_gate(api, "plain", ON)
    await make_gate(api, "gate", spec(False, rule(True, vip, name="Vips")))
    await make_gate(api, "share", spec(False, rule(True, percentage=99.99, name="Nearly all")))
    config = spec({"n": 1}, rule({"n": 2, "of": [None]}, vip, name="Vips"))
    await make_config(api, "config", config)

    async def got(feature: str, context: object) -> dict[str, Any]:
        response = await shop.one(context, feature)
        assert response.status_code == 200
        bulk = (await shop.all(context)).json()["flags"]
        assert next(flag for flag in bulk if flag["key"] == feature) == response.json()
        return dict(response.json())

    def success(key: str, value: object, why: str, variant: str, **metadata: str) -> dict[str, object]:
        return {"key": key, "value": value, "reason": why, "variant": variant, "metadata": metadata}

    vips = ANN | {"vip": True}
    assert await got("plain", ANN) == success("plain", True, "STATIC", "on")
    assert await got("gate", ANN) == success("gate", False, "UNKNOWN", "off", reason="DEFAULT")
    assert await got("gate", vips) == success("gate", True, "TARGETING_MATCH", "on", ruleName="Vips")
    assert await got("share", ANN) == success("share", True, "SPLIT", "on", ruleName="Nearly all")
    assert await got("config", ANN) == success("config", {"n": 1}, "UNKNOWN", "default", reason="DEFAULT")
    assert await got("config", vips) == success(
        "config", {"n": 2, "of": [None]}, "TARGETING_MATCH", "Vips", ruleName="Vips"
    )


async def test_all_features_come_by_key_with_a_stream_to_hear_of_changes(shop: Application, api: Api) -> None:
    """A bulk answer holds every feature once, the environment, and the address of one event stream."""
    for key in ("b", "c", "a"):
        await make_gate(api, key)
    response = await shop.all()
    body = response.json()
    assert response.status_code == 200
    assert [flag["key"] for flag in body["flags"]] == ["a", "b", "c"]
    assert body["metadata"] == {"environment": "production"}
    (stream,) = body["eventStreams"]
    assert stream.keys() == {"type", "endpoint", "inactivityDelaySec"}
    assert (stream["type"], stream["inactivityDelaySec"]) == ("sse", 120)
    assert stream["endpoint"]["requestUri"].startswith("/ofrep/v1/events?")
    assert shop.secret not in response.text
    assert shop.key.secret_hash not in response.text


async def test_before_there_is_a_feature_the_list_is_empty(shop: Application) -> None:
    """An empty Slipway answers with no flags, and is no error."""
    assert (await shop.all()).json()["flags"] == []


async def test_whom_a_phase_admits_is_told_by_which(shop: Application, api: Api) -> None:
    """Metadata names release and phase to whom a phase admits, and to nobody else, nor after the release is over."""
    release = await start_release_at(api, phase("canary"), phase("most"))
    admitted = (await shop.one(member_of("canary"))).json()
    assert admitted["value"] is True
    assert admitted["metadata"]["releaseId"] == release.id
    assert admitted["metadata"]["phaseName"] == "canary"
    other = (await shop.one(member_of("most"))).json()
    assert other["value"] is False
    assert not other["metadata"].keys() & {"releaseId", "phaseName"}

    release = (await act(api.services, release, ReleaseAction.SKIP)).release
    assert (await shop.one(member_of("most"))).json()["metadata"]["phaseName"] == "most"
    await act(api.services, release, ReleaseAction.ABORT)
    over = (await shop.one(member_of("canary"))).json()
    assert (over["value"], over["reason"], over["metadata"]) == (False, "STATIC", {})


async def test_the_environment_is_the_key_s(shop: Application, api: Api) -> None:
    """Two keys get what their environments give, whatever environment a context names."""
    only = spec(False, rule(True, environments=("staging",)))
    await make_gate(api, spec=only)
    staging = await application(api, "staging")
    for named in ("staging", "production", None):
        context = ANN | {"environment": named, "targetingEnvironment": named}
        assert [await shop.value(context), await staging.value(context)] == [False, True]
    assert (await staging.all()).json()["metadata"] == {"environment": "staging"}


async def test_either_header_lets_a_key_in(shop: Application) -> None:
    """`X-API-Key: slk_...` and `Authorization: Bearer slk_...`, whose scheme may be written in any case."""
    for name, value in (
        ("x-api-key", shop.secret),
        ("X-API-KEY", shop.secret),
        ("authorization", f"Bearer {shop.secret}"),
        ("Authorization", f"bearer {shop.secret}"),
        ("AUTHORIZATION", f"BEARER  {shop.secret}"),
    ):
        response = await shop.http.post(FLAGS, content=body_of(ANN), headers={name: value})
        assert response.status_code == 200


async def test_the_content_type_does_not_matter(shop: Application) -> None:
    """The body is read as JSON, whatever it is said to be: browsers send simple requests as text/plain."""
    for content_type in ("application/json; charset=utf-8", "text/plain", ""):
        assert (await shop.all(content_type=content_type)).status_code == 200


# --- refusals ---------------------------------------------------------------------------------------------------------


BAD_BODIES = [
    (b"", "PARSE_ERROR"),
    (b"{", "PARSE_ERROR"),
    (b"{}", "INVALID_CONTEXT"),
    (b"[]", "INVALID_CONTEXT"),
    (b'{"context": null}', "INVALID_CONTEXT"),
    (b'{"context": "ann"}', "INVALID_CONTEXT"),
    (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
    (b'{"context": {}}', "TARGETING_KEY_MISSING"),
    (b'{"context": {"targetingKey": null}}', "TARGETING_KEY_MISSING"),
]


async def test_a_body_that_cannot_be_evaluated_is_a_bad_request(shop: Application) -> None:
    """400 with OFREP's code and what to send, for one feature (whether it exists or not) and for all."""
    for content, code in BAD_BODIES:
        refused(await shop.post(f"{FLAGS}/checkout", content), 400, code, "checkout")
        refused(await shop.post(FLAGS, content), 400, code)


async def test_an_empty_targeting_key_is_one(shop: Application, api: Api) -> None:
    """The protocol asks for a string: an empty one is let in, and counted to no share."""
    await make_gate(api, spec=spec(False, rule(True, percentage=99.99)))
    assert await shop.value({"targetingKey": ""}) is False


async def test_an_unknown_feature_is_not_found(shop: Application, api: Api) -> None:
    """404 FLAG_NOT_FOUND with the key that was asked for, whatever characters it has."""
    await make_gate(api)
    for feature in ("nope", "", "a/b", "check%20out", "checkout%0A", "a%0Ab", "%F0%9F%9A%80", "%FF"):
        named = httpx.URL(f"http://x/{feature}").path.removeprefix("/")
        refused(await shop.one(feature=feature), 404, "FLAG_NOT_FOUND", named)


async def test_a_key_of_any_length_is_told_in_short(shop: Application) -> None:
    """The details repeat no more than 200 characters of it."""
    assert len(refused(await shop.one(feature="x" * 9_000), 404, "FLAG_NOT_FOUND", "x" * 9_000)) < 300


async def test_who_brings_no_valid_key_is_not_let_in(shop: Application, api: Api, clock: Clock) -> None:
    """401 without a key, and with an unknown, a revoked or an expired one, before the body is looked at."""
    revoked, expired = await application(api), await application(api, lifetime=HOUR)
    await api.services.sdk_keys.revoke(revoked.key.id, ADMIN)
    clock.advance(HOUR)
    for gone_key in (revoked, expired):
        await eventually(lambda gone_key=gone_key: is_refused(gone_key))
    sent: dict[str, dict[str, str]] = {
        "revoked": {"x-api-key": revoked.secret},
        "expired": {"x-api-key": expired.secret},
        "none": {},
        "unknown": {"x-api-key": NOBODY},
        "empty": {"x-api-key": ""},
        "of strange letters": {"x-api-key": "slk_\xff\xfe"},
        "basic": {"authorization": f"Basic {shop.secret}"},
        "only the scheme": {"authorization": "Bearer"},
        "no scheme": {"authorization": shop.secret},
        "an id": {"x-api-key": shop.key.id},
        "a hash": {"x-api-key": shop.key.secret_hash},
        "in capitals": {"x-api-key": shop.secret.upper()},
    }
    for case, headers in sent.items():
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        for path, named in ((FLAGS, None), (f"{FLAGS}/checkout", "checkout")):
            response = await api.http.post(path, content=b"{", headers=encoded)
            details = refused(response, 401, key=named)
            assert "slk_" in details, case
            assert response.headers["www-authenticate"] == "Bearer"


async def is_refused(application: Application) -> bool:
    """Whether the application's key does not let it in any more."""
    return not await admitted(application)


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_tokens_of_the_api_do_not_evaluate(shop: Application, api: Api, header: str) -> None:
    """403 for the administrator's token and for any other, and says what to send."""
    _, token = await api.services.tokens.create("CI", Role.ADMIN, None, ADMIN)
    for secret in (token, api.token):
        value = f"Bearer {secret}" if header == "authorization" else secret
        response = await api.http.post(f"{FLAGS}/checkout", content=body_of(ANN), headers={header: value})
        assert "SDK key" in refused(response, 403, key="checkout")


async def test_evaluating_is_a_post(shop: Application) -> None:
    """405 with the method to use, for every other, key or not."""
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for path in (FLAGS, f"{FLAGS}/checkout"):
            response = await shop.http.request(method, path)
            assert (response.status_code, response.headers["allow"]) == (405, "POST")
            if method != "HEAD":
                assert response.json()["errorDetails"] == "Use POST."


@pytest.mark.parametrize("told", [{"evaluations_per_minute": 6}])
async def test_a_key_may_evaluate_so_often(shop: Application, api: Api) -> None:
    """429 with whole seconds to wait beyond `evaluations_per_minute`, which counts no other key."""
    other = await application(api)
    started = time.time()
    answers = [await shop.all() for _ in range(7)]
    for ask, named in both(shop):
        response = await ask()
        refused(response, 429, key=named)
        assert response.headers["retry-after"].isascii()
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert int(response.headers["retry-after"]) >= 55 - (time.time() - started)
    assert answers[0].status_code == 200
    assert (await other.all()).status_code == 200


@pytest.mark.parametrize("told", [{"requests_per_minute": 3}])
async def test_guesses_are_counted_by_address(shop: Application, api: Api) -> None:
    """429 with whole seconds to wait for whoever tries keys, while those who hold one go on."""
    for _ in range(3):
        refused(await api.http.post(FLAGS, content=body_of(ANN), headers={"x-api-key": NOBODY}), 401)
    response = await api.http.post(FLAGS, content=body_of(ANN), headers={"x-api-key": NOBODY})
    refused(response, 429)
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert (await shop.all()).status_code == 200


async def test_before_the_features_are_loaded_there_is_no_answer(
    services: Services, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After rather than an empty list, which clients would take for all there is; then it is served."""
    await make_environments(services)
    await make_feature(services)
    key, secret = await services.sdk_keys.create("Shop", "production", None, ADMIN)
    for patience in ("_LOADED_WITHIN_SECONDS", "_STREAM_WITHIN_SECONDS"):
        monkeypatch.setattr(f"app.ofrep.endpoints.{patience}", 0.05)
    with gone(store_url):
        async with open_services(services.settings, services.clock) as late, serving(late) as api:
            shop = Application(api.http, key, secret)
            for ask, named in both(shop):
                response = await ask()
                refused(response, 503, key=named)
                assert int(response.headers["retry-after"]) >= 1
            stream = await api.http.get("/ofrep/v1/events")
            refused(stream, 503)
            assert int(stream.headers["retry-after"]) >= 1
            assert (await api.http.get("/readyz")).json()["features"] == "being loaded"


@pytest.mark.parametrize("how", ["post", "get"])
async def test_an_sdk_key_is_of_no_use_at_graphql(shop: Application, api: Api, how: str) -> None:
    """Whoever takes a key out of an application reads and changes nothing with it."""
    headers = {"authorization": f"Bearer {shop.secret}", "x-api-key": shop.secret, "content-type": "application/json"}
    if how == "post":
        response = await api.http.post("/graphql", json={"query": "{ features { edges { cursor } } }"}, headers=headers)
    else:
        response = await api.http.get("/graphql", params={"query": "{ viewer { role } }"}, headers=headers)
    assert response.status_code in (401, 403)
    assert response.json().get("data") is None


# --- ETags ------------------------------------------------------------------------------------------------------------


async def test_an_etag_names_context_environment_and_state(shop: Application, api: Api) -> None:
    """It is quoted, the same for the same question, and another for another context, key or state."""
    await make_gate(api, spec=spec(False, rule(True, condition("vip", "EXISTS"))))
    etag = await shop.etag()
    assert etag[0] == etag[-1] == '"'
    assert etag.count('"') == 2
    assert await shop.etag({"b": 1, "a": {"d": 2, "c": 3}} | ANN) == await shop.etag(
        ANN | {"a": {"c": 3, "d": 2}, "b": 1}
    )
    others = [ANN | {"vip": True}, {"targetingKey": "bob"}, ANN | {"vip": 1}, ANN | {"vip": "1"}, ANN | {"vip": None}]
    tags = [etag, *[await shop.etag(context) for context in others], await (await application(api, "staging")).etag()]
    assert len(set(tags)) == len(tags)
    await make_gate(api, "another")
    assert await shop.etag() != etag


async def test_an_etag_changes_with_what_is_served_alone(shop: Application, api: Api) -> None:
    """A phase, an approval that releases one, and an abort change it; a pause and a first of two approvals do not."""
    release = await start_release_at(api, phase("canary"), review("most", 2))
    tags = [await shop.etag()]
    for action, by in (
        (ReleaseAction.PAUSE, "Ada"),
        (ReleaseAction.UNPAUSE, "Ada"),
        (ReleaseAction.SKIP, "Ada"),
        (ReleaseAction.APPROVE, "Ada"),
    ):
        release = (await act(api.services, release, action, person(by, Role.ADMIN))).release
        tags.append(await shop.etag())
    assert len(set(tags)) == 1
    release = (await act(api.services, release, ReleaseAction.APPROVE, person("Ben", Role.ADMIN))).release
    released = await shop.etag()
    await act(api.services, release, ReleaseAction.ABORT)
    assert released != tags[0]
    # Everybody gets what they got before the release, and the state is the one of before the first phase.
    assert await shop.etag() not in {released, tags[0]}


async def test_only_who_has_something_new_to_hear_is_answered(shop: Application, api: Api) -> None:
    """304 with no body and the same ETag if If-None-Match has it: alone, in a list, weak, or as `*`; else 200."""
    await make_gate(api)
    etag = await shop.etag()
    for sent in (etag, f"W/{etag}", f'"x", {etag}', f'"x",W/{etag} ,"y"', "*", f"{etag},"):
        response = await shop.all(if_none_match=sent)
        assert (response.status_code, response.headers["etag"], response.content) == (304, etag, b""), sent
        assert "content-type" not in response.headers
    for sent in ("", '"x"', etag.strip('"'), f'"x{etag[1:]}', f"{etag}x", '"*"', ",,,", 'W/"', "\xff"):
        headers = {"x-api-key": shop.secret.encode(), "if-none-match": sent.encode("latin-1")}
        response = await api.http.post(FLAGS, content=body_of(ANN), headers=headers)
        assert (response.status_code, response.headers["etag"]) == (200, etag), sent
    assert (await shop.all(ANN | {"vip": True}, if_none_match=etag)).status_code == 200


async def test_two_processes_give_one_etag(shop: Application, api: Api, neighbour: Services) -> None:
    """Behind a load balancer a client is not answered anew by each process that holds the same state."""
    release = await start_release_at(api, phase("canary"), phase("most"))
    async with serving(neighbour) as there:
        same = Application(there.http, shop.key, shop.secret)
        await eventually(lambda: admitted(same))
        for number in range(2):

            async def is_same(number: int = number) -> bool:
                here, other = await shop.one(member_of("most")), await same.one(member_of("most"))
                return here.content == other.content and (here.json()["value"] is True) is bool(number)

            await eventually(is_same)
            assert await same.etag() == await shop.etag()
            assert (await same.all(if_none_match=await shop.etag())).status_code == 304
            release = (await act(api.services, release, ReleaseAction.SKIP)).release


async def test_a_refetch_waits_for_the_change_that_it_was_told_of(shop: Application, api: Api) -> None:
    """`flagConfigEtag` of a change that is here or is not Slipway's holds nothing up; any other is answered late."""
    release = await start_release_at(api, phase("canary"))
    for told in (f"{release.id}.{(await stored(api.services, release)).revision}", "x", "", "rel_1.9", "é"):
        async with asyncio.timeout(5):
            assert (await shop.all(query=f"?flagConfigEtag={told}")).status_code == 200
    late = f"{release.id}.999"
    assert (await shop.all(query=f"?flagConfigEtag={late}")).status_code == 200


async def test_a_moment_of_change_is_taken(shop: Application) -> None:
    """`flagConfigLastModified` as seconds or as a date-time, as the protocol has it."""
    for value in ("0", "1771622898", "2026-02-20T21:28:18Z", "2026-02-20T21:28:18.5%2B01:00"):
        assert (await shop.all(query=f"?flagConfigLastModified={value}")).status_code == 200


async def test_what_is_no_moment_is_refused(shop: Application) -> None:
    """400 PARSE_ERROR, naming the parameter."""
    for value in ("", "x", "-1", "1.5", "2026-02-20", "2026-02-20T21:28:18", "%00", "٣", "null"):
        assert "flagConfigLastModified" in refused(
            await shop.all(query=f"?flagConfigLastModified={value}"), 400, "PARSE_ERROR"
        )


# --- browsers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def abroad(settings: Settings, clock: Clock) -> AsyncIterator[Api]:
    """A server that pages of `ORIGIN` may call."""
    told = settings.model_copy(update={"allowed_origins": (ORIGIN,)})
    async with open_services(told, clock) as services:
        await services.store.prepare()
        await make_environments(services)
        async with serving(services) as api:
            yield api


async def test_a_page_of_an_allowed_origin_evaluates(abroad: Api) -> None:
    """The preflight allows the headers that clients send, and the page reads ETag and Retry-After."""
    shop = await application(abroad)
    wanted = "authorization,content-type,if-none-match,x-api-key"
    asked = {"origin": ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": wanted}
    for path in (FLAGS, f"{FLAGS}/checkout"):
        preflight = await abroad.http.options(path, headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in preflight.headers["access-control-allow-methods"]
        allowed = preflight.headers["access-control-allow-headers"].lower()
        assert set(wanted.split(",")) <= set(allowed.replace(" ", "").split(","))
    for response in (await shop.all(origin=ORIGIN), await shop.one(origin=ORIGIN), await shop.all(0, origin=ORIGIN)):
        assert response.headers["access-control-allow-origin"] == ORIGIN
        exposed = response.headers["access-control-expose-headers"].lower()
        assert {"etag", "retry-after"} <= set(exposed.replace(" ", "").split(","))


async def test_a_page_of_another_origin_reads_nothing(abroad: Api) -> None:
    """No answer and no preflight names it, so the browser keeps the answer from the page."""
    shop = await application(abroad)
    for origin in ("https://evil.example.com", "null", ORIGIN + ".evil.example.com", ORIGIN.replace("https", "http")):
        asked = {"origin": origin, "access-control-request-method": "POST"}
        assert "access-control-allow-origin" not in (await abroad.http.options(FLAGS, headers=asked)).headers
        assert "access-control-allow-origin" not in (await shop.all(origin=origin)).headers
