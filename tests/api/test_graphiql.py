"""GraphiQL: its page with its files and without them, and what the page may load."""

import gzip
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from app.api.graphiql_files import CDN, compressed, files
from app.settings import Settings
from tests.api.serving import Api

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """One store is enough."""
    return f"sqlite:///{tmp_path / 'slipway.db'}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the server looks for GraphiQL's files: there is nothing yet."""
    return tmp_path / "graphiql"


@pytest.fixture
def settings(settings: Settings, folder: Path) -> Settings:
    """The server looks in the test's folder, not in that of whoever runs the test."""
    return settings.model_copy(update={"graphiql_dir": folder})


def put(folder: Path, *, but: int = 0) -> None:
    """Put something in the place of each file, in the last ones nothing."""
    for file in files()[: len(files()) - but]:
        compressed(folder, file).parent.mkdir(parents=True, exist_ok=True)
        compressed(folder, file).write_bytes(gzip.compress(file.path.encode()))


class Loads(HTMLParser):
    """What a page loads, and code within it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[dict[str, str | None]] = []
        self.inline: list[str] = []
        self._script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what it refers to, and handlers."""
        given = dict(attrs)
        self._script = tag in ("script", "style")
        if "src" in given or "href" in given:
            self.links.append(given)
        self.inline += [name for name in given if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag: str) -> None:
        """Leave it."""
        self._script = False

    def handle_data(self, data: str) -> None:
        """Note code."""
        if self._script and data.strip():
            self.inline.append(data)

    @property
    def addresses(self) -> list[str]:
        """All addresses."""
        return [str(link.get("src") or link.get("href")) for link in self.links]


def directives(response: httpx.Response) -> dict[str, set[str]]:
    """The policy, by directive."""
    parts = (part.split() for part in response.headers["content-security-policy"].split(";"))
    return {name: set(values) for name, *values in parts}


async def test_with_its_files_nothing_is_loaded_from_elsewhere(api: Api, folder: Path) -> None:
    """The page, no code within it, names addresses of ours alone, its policy allows no others, and all are served."""
    put(folder)
    page = await api.http.get("/graphql", headers=BROWSER)

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert directives(page) == {
        "default-src": {"'none'"},
        "script-src": {"'self'"},
        "style-src": {"'self'"},
        "img-src": {"'self'", "data:"},
        "font-src": {"data:"},
        "connect-src": {"'self'"},
        "base-uri": {"'none'"},
        "form-action": {"'none'"},
        "frame-ancestors": {"'none'"},
    }
    loads = Loads(page.text)
    assert not loads.inline
    assert "//" not in page.text.replace("</script>", "").replace("<!--", "")
    assert {f"graphiql/{file.path}" for file in files()} < set(loads.addresses)
    hashes = {link["integrity"] for link in loads.links if "integrity" in link}
    assert hashes == {file.integrity for file in files()}
    assert api.token not in page.text
    for address in loads.addresses:
        assert (await api.http.get(f"/{address}")).status_code == 200


async def test_a_query_opened_in_a_browser_is_shown_and_a_program_gets_its_answer(api: Api) -> None:
    """The page is for who takes HTML and brings no token; whoever asks for JSON or brings one gets JSON."""
    token = {"authorization": f"Bearer {api.token}"}
    for headers, status, media_type in (
        (BROWSER, 200, "text/html"),
        (BROWSER | token, 200, "application/json"),
        ({"accept": "application/json, text/html"}, 401, "application/json"),
        ({}, 401, "application/json"),
    ):
        answer = await api.http.get("/graphql", params={"query": "{ __typename }"}, headers=headers)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (status, media_type)


async def test_a_file_is_kept_for_ever_and_sent_as_the_browser_takes_it(api: Api, folder: Path) -> None:
    """Its version is in its path; gzipped or not, its content is the same."""
    put(folder)
    for file in files():
        for accepted, encoding in (("gzip, br", "gzip"), ("identity", None)):
            answer = await api.http.get(f"/graphiql/{file.path}", headers={"accept-encoding": accepted})
            assert answer.status_code == 200
            assert answer.text == file.path
            assert answer.headers.get("content-encoding") == encoding
            assert answer.headers["vary"] == "Accept-Encoding"
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["x-content-type-options"] == "nosniff"
            kind = {"script": "text/javascript", "style": "text/css"}[file.kind]
            assert answer.headers["content-type"] == f"{kind}; charset=utf-8"


@pytest.mark.parametrize("but", [1, len(files())], ids=["one missing", "all missing"])
async def test_without_its_files_they_come_from_the_cdn(api: Api, folder: Path, but: int) -> None:
    """Each by its hash, and the policy allows those seven addresses, not the CDN."""
    put(folder, but=but)
    page = await api.http.get("/graphql", headers=BROWSER)

    assert page.status_code == 200
    loads = Loads(page.text)
    assert not loads.inline
    elsewhere = [link for link in loads.links if str(link.get("src") or link.get("href")).startswith("https://")]
    assert len(elsewhere) == 7
    assert [link["integrity"] for link in elsewhere] == [file.integrity for file in files()]
    assert all("crossorigin" in link for link in elsewhere)
    policy = directives(page)
    scripts = {file.address for file in files() if file.kind == "script"}
    assert policy["script-src"] == {"'self'"} | scripts
    assert policy["style-src"] == {"'self'"} | {file.address for file in files()} - scripts
    assert CDN not in policy["script-src"] | policy["style-src"]
    assert policy["connect-src"] == {"'self'"}
    assert policy["default-src"] == policy["form-action"] == {"'none'"}


async def test_files_that_come_later_are_found_without_a_restart(api: Api, folder: Path) -> None:
    """`slipway graphiql` may be run while a server runs."""
    assert CDN in (await api.http.get("/graphql", headers=BROWSER)).text
    put(folder)
    assert CDN not in (await api.http.get("/graphql", headers=BROWSER)).text


async def test_nothing_else_is_served(api: Api, folder: Path) -> None:
    """Neither what else lies in those folders, nor what lies above them, nor a file that is missing."""
    lies = compressed(folder, files()[0]).with_name("secret.gz")
    put(folder, but=1)
    lies.write_bytes(gzip.compress(b"secret"))
    beside = str(lies.relative_to(folder))
    elsewhere = ["graphiql.html", "", "../graphiql.py", "%2e%2e/graphiql.py", "%00", "graphiql.js%0a"]
    for path in (*elsewhere, beside, beside.removesuffix(".gz"), f"{files()[0].path}.gz", files()[-1].path):
        assert (await api.http.get(f"/graphiql/{path}")).status_code == 404
    assert (await api.http.post("/graphiql/graphiql.js")).status_code == 405
