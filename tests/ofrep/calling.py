"""Applications that evaluate over OFREP, and what they evaluate, in as few words as a test needs."""

from typing import Any

import httpx
import msgspec

from app.domain.sdk_keys import SdkKey
from app.domain.targeting import Context
from app.services import Services
from tests.api.serving import Api
from tests.domain.builders import ADMIN
from tests.scene import eventually

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


async def application(api: Api, environment: str = "production", by: Services | None = None) -> Application:
    """An application of an environment, whose key was made on any process and is known at `api`."""
    key, secret = await (by or api.services).sdk_keys.create("Shop", environment, None, ADMIN)
    made = Application(api.http, key, secret)
    await eventually(lambda: admitted(made))
    return made


async def admitted(application: Application) -> bool:
    """Whether the application's key lets it in."""
    return (await application.all()).status_code == 200
