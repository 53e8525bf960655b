"""The files of the status page, as a server sends them."""

import re
from collections.abc import Callable

import pytest
from httpx import Response

from app.web.serving import PAGES, STATIC, imported, read_files
from tests.api.serving import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_BYTES = 60_000
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


async def get(api: Api, path: str, **headers: str) -> Response:
    return await api.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_the_same_file(api: Api, path: str) -> None:
    """A reload at any page's address finds the page, and no token is asked for."""
    answer = await get(api, re.sub(r"\{\w+\}", "some-thing", path))

    assert (answer.status_code, answer.headers["content-type"]) == (200, TYPES["html"])
    assert answer.content == (STATIC / "index.html").read_bytes()


@pytest.mark.parametrize("name", FILES)
async def test_every_file_has_its_type_and_is_sent_once(api: Api, name: str) -> None:
    """A browser that has a file is told that it is the same, and gets another only if it is."""
    answer = await get(api, f"/static/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, TYPES[name.rpartition(".")[2]])
    assert answer.content == (STATIC / name).read_bytes()
    assert answer.headers["cache-control"] == "no-cache"

    etag = answer.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await get(api, f"/static/{name}", if_none_match=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await get(api, f"/static/{name}", if_none_match='"other"')).status_code == 200


async def test_the_policy_lets_nothing_in(api: Api) -> None:
    """Scripts, styles and connections are our own, nothing inline runs, and text never becomes markup."""
    answer = await get(api, "/")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))

    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=|https?://", answer.text)


@pytest.mark.parametrize("path", ["/nothing", "/static/", "/static/no.js", "/static/..%2fserving.py", "/features/a/b"])
async def test_what_is_not_there_is_404(api: Api, path: str) -> None:
    """Unknown paths are as they were."""
    assert (await get(api, path)).status_code == 404


async def test_pages_are_for_reading(api: Api) -> None:
    """GET and HEAD, and nothing else."""
    assert (await api.http.head("/")).status_code == 200
    assert (await api.http.post("/")).status_code == 405


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_small(path: str, record_property: Callable[[str, object], None]) -> None:
    """What a page loads, a release's dialog too, is below 60,000 bytes as it is written; what all do is on record."""
    files = read_files()
    later = ["js/components/action-dialog.js"] if path.startswith("/releases/") else []
    modules = imported(files, "js/main.js", PAGES[path], *later)
    shared = {name for name in files if not name.endswith(".js")}
    record_property("bytes of all files", sum(len(file.body) for file in files.values()))
    assert sum(len(files[name].body) for name in modules | shared) < MOST_BYTES


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_names_its_modules(api: Api, path: str) -> None:
    """Its modules are told with it: none waits for another."""
    modules = imported(read_files(), "js/main.js", PAGES[path])
    link = (await get(api, re.sub(r"\{\w+\}", "some-thing", path))).headers["link"]

    assert set(re.findall(r"</static/([^>]+)>; rel=modulepreload", link)) == modules


async def test_nothing_is_from_elsewhere_and_no_text_becomes_markup() -> None:
    """No file names another origin, and no script uses what takes text for markup or code."""
    for name in FILES:
        text = (STATIC / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|(?<!no )innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
