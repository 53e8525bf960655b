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


async def page(api: Api, path: str) -> Response:
    return await get(api, re.sub(r"\{\w+\}", "some-thing", path))


async def root(api: Api) -> str:
    """The path below which the files are."""
    found = re.search(r'"(/static/\w+/)style\.css"', (await get(api, "/")).text)
    assert found
    return found[1]


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_the_same_file(api: Api, path: str) -> None:
    """A reload at any page's address finds the page, which names its files by their version; no token is asked for."""
    answer = await page(api, path)

    assert (answer.status_code, answer.headers["content-type"]) == (200, TYPES["html"])
    assert answer.headers["cache-control"] == "no-cache"
    written = (STATIC / "index.html").read_text(encoding="utf-8").replace("/static/", await root(api))
    early = [line for line in written.splitlines() if "first.js" in line]
    assert len(early) == 1
    kept = written if path == "/" else written.replace(f"{early[0]}\n", "")
    assert answer.text == kept, "the list alone asks before its modules are there"

    again = await get(api, answer.url.path, if_none_match=answer.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", FILES)
async def test_every_file_has_its_type_and_is_never_asked_for_again(api: Api, name: str) -> None:
    """A browser keeps a file for good, since another one has another address."""
    answer = await get(api, f"{await root(api)}{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, TYPES[name.rpartition(".")[2]])
    assert answer.content == (STATIC / name).read_bytes()
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_a_file_of_another_version_is_the_one_that_there_is(api: Api) -> None:
    """While servers are replaced a page may name what only the next one has: it is answered, and not kept for good."""
    own = await get(api, f"{await root(api)}style.css")
    answer = await get(api, "/static/0123456789abcdef/style.css")
    assert (answer.status_code, answer.content) == (200, own.content)
    assert answer.headers["cache-control"] == "no-cache"

    etag = answer.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await get(api, "/static/0123456789abcdef/style.css", if_none_match=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await get(api, "/static/0123456789abcdef/style.css", if_none_match='"other"')).status_code == 200


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


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/static/", "/static/0/no.js", "/static/0/..%2fserving.py", "/features/a/b"],
)
async def test_what_is_not_there_is_404(api: Api, path: str) -> None:
    """Unknown paths are as they were."""
    assert (await get(api, path)).status_code == 404


async def test_pages_are_for_reading(api: Api) -> None:
    """GET and HEAD, and nothing else."""
    assert (await api.http.head("/")).status_code == 200
    assert (await api.http.post("/")).status_code == 405


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_small(api: Api, path: str, record_property: Callable[[str, object], None]) -> None:
    """What a page loads, a release's dialog too, is below 60,000 bytes as it is written; what all do is on record."""
    files, html = read_files(), (await page(api, path)).text
    named = re.findall(r'"/static/\w+/([^"]+)"', html)
    later = ["js/components/action-dialog.js"] if path.startswith("/releases/") else []
    loaded = {*named, *imported(files, *named, PAGES[path], *later)}
    record_property("bytes of all files", sum(len(file.body) for file in files.values()))
    assert len(html) + sum(len(files[name].body) for name in loaded) < MOST_BYTES


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_names_its_modules(api: Api, path: str) -> None:
    """Its modules are told with it, those that the list needs to ask for its rows first: none waits for another."""
    files = read_files()
    link = (await page(api, path)).headers["link"]
    told = re.findall(rf"<{await root(api)}([^>]+)>; rel=modulepreload", link)
    first = imported(files, "js/first.js") if path == "/" else set()

    assert set(told[: len(first)]) == first
    assert set(told) == imported(files, "js/main.js", PAGES[path])
    assert len(told) == len(set(told))


async def test_nothing_is_from_elsewhere_and_no_text_becomes_markup() -> None:
    """No file names another origin, and no script uses what takes text for markup or code."""
    for name in FILES:
        text = (STATIC / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|(?<!no )innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
