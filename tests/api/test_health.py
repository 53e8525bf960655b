"""Alive, ready, and the page that a browser finds."""

import pytest

from tests.api.serving import Api
from tests.scene import eventually

ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_a_server_whose_stores_answer_is_alive_and_ready(api: Api) -> None:
    """/healthz and /readyz answer 200 in JSON, on either store, and ask for no token."""
    alive = await api.http.get("/healthz")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})

    async def is_ready() -> bool:
        ready = await api.http.get("/readyz")
        if ready.json()["features"] == "being loaded":
            assert ready.status_code == 503
            return False
        assert (ready.status_code, ready.json()) == (200, {"store": "ok", "redis": "ok", "features": "ok"})
        return True

    await eventually(is_ready)


@ON_SQLITE
async def test_a_browser_finds_graphiql(api: Api) -> None:
    """At /graphql a browser is shown GraphiQL, and a program its answer."""
    page = await api.http.get("/graphql", headers=BROWSER)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "GraphiQL" in page.text
    assert api.token not in page.text

    program = await api.http.get(
        "/graphql",
        params={"query": "{ __typename }"},
        headers=BROWSER | {"authorization": f"Bearer {api.token}"},
    )
    assert program.json() == {"data": {"__typename": "Query"}}


@ON_SQLITE
async def test_there_is_nothing_elsewhere(api: Api) -> None:
    """Other paths are 404, and probes are for GET."""
    assert (await api.http.get("/nothing")).status_code == 404
    assert (await api.http.get("/graphql/")).status_code in (307, 404)
    assert (await api.http.post("/healthz")).status_code == 405
