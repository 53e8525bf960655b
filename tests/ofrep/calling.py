"""Applications that evaluate over OFREP, and what they evaluate, in as few words as a test needs."""

from datetime import timedelta
from typing import Any

import httpx
import msgspec

from app.domain.features import FeatureKind, FeatureSpec
from app.domain.pipelines import Phase
from app.domain.releases import Release
from app.domain.sdk_keys import SdkKey
from app.domain.targeting import Context
from tests.api.serving import Api
from tests.domain.builders import ADMIN, OFF
from tests.scene import eventually, make_feature, start_release

FLAGS = "/ofrep/v1/evaluate/flags"
ANN: Context = {"targetingKey": "ann"}


def body_of(context: object) -> bytes:
    """The body of a request."""
    return msgspec.json.encode({"context": context})


class Application:
    """Who holds an SDK key and evaluates with it."""

    def __init__(self, http: httpx.AsyncClient, key: SdkKey, secret: str) -> None:
        self.http = http
        self.key = key
        self.secret = secret

    async def post(self, path: str, content: bytes, **headers: str) -> httpx.Response:
        """The response to a body; headers are named with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(
            path, content=content, headers={"x-api-key": self.secret, "content-type": "application/json"} | sent
        )

    async def one(self, context: object = ANN, feature: str = "checkout", **headers: str) -> httpx.Response:
        """The response to the evaluation of one feature."""
        return await self.post(f"{FLAGS}/{feature}", body_of(context), **headers)

    async def all(self, context: object = ANN, query: str = "", **headers: str) -> httpx.Response:
        """The response to the evaluation of all features."""
        return await self.post(FLAGS + query, body_of(context), **headers)

    async def value(self, context: object = ANN, feature: str = "checkout") -> Any:
        """What the context gets from a feature."""
        response = await self.one(context, feature)
        assert response.status_code == 200, response.text
        return response.json()["value"]

    async def etag(self, context: object = ANN) -> str:
        """The ETag of all features."""
        response = await self.all(context)
        assert response.status_code == 200, response.text
        return str(response.headers["etag"])


async def application(api: Api, environment: str = "production", lifetime: timedelta | None = None) -> Application:
    """An application of an environment, whose key lets it in."""
    key, secret = await api.services.sdk_keys.create("Shop", environment, lifetime, ADMIN)
    made = Application(api.http, key, secret)
    await eventually(lambda: admitted(made))
    return made


async def admitted(application: Application) -> bool:
    """Whether the application's key lets it in."""
    return (await application.all()).status_code == 200


async def make_gate(api: Api, key: str = "checkout", spec: FeatureSpec = OFF) -> None:
    """A gate, which is served from now on."""
    await make_feature(api.services, None, key, spec)
    await serves(api, key)


async def make_config(api: Api, key: str, spec: FeatureSpec) -> None:
    """A config, which is served from now on."""
    await api.services.catalog.create_feature(key, FeatureKind.DYNAMIC_CONFIG, None, spec, None, ADMIN)
    await serves(api, key)


async def serves(api: Api, key: str) -> None:
    """Return when a feature is served: a new one is read a moment after it was made."""
    asking = await application(api)

    async def is_found() -> bool:
        return (await asking.one(feature=key)).status_code == 200

    await eventually(is_found)


async def start_release_at(api: Api, *phases: Phase) -> Release:
    """A release of the new gate `checkout`, which is served from now on."""
    release = await start_release(api.services, *phases)
    await serves(api, "checkout")
    return release
