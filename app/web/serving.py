"""The files of the status page, held in memory: at every path of a page the same index.html, which routes by itself."""

import hashlib
import posixpath
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"

# Each page's path, and the module that shows it.
PAGES = {
    "/": "js/views/releases.js",
    "/releases/{id}": "js/views/release.js",
    "/features": "js/views/features.js",
    "/features/{key}": "js/views/features.js",
    "/pipelines": "js/views/pipelines.js",
    "/pipelines/{id}": "js/views/pipelines.js",
}

_MAIN = "js/main.js"
_IMPORT = re.compile(r'^(?:import|export) .*?from "(\.[^"]+)";$', re.MULTILINE | re.DOTALL)

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# No inline code or style, nothing from elsewhere, and no text is ever taken for markup (trusted types).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class File(Struct, frozen=True):
    """A file as it is served."""

    body: bytes
    etag: str
    media_type: str


def routes() -> list[Route]:
    """The routes of the page and of its files."""
    files = read_files()

    def page(view: str) -> Endpoint:
        # Told with the page, so that a module is not asked for only once the one that imports it has come.
        link = ", ".join(f"</static/{name}>; rel=modulepreload" for name in sorted(imported(files, _MAIN, view)))

        async def index(request: Request) -> Response:
            return _answer(request, files["index.html"], link=link)

        return index

    async def static(request: Request) -> Response:
        file = files.get(request.path_params["path"])
        return Response("Not Found", 404, media_type="text/plain") if file is None else _answer(request, file)

    return [
        *(Route(path, page(view), methods=["GET"]) for path, view in PAGES.items()),
        Route("/static/{path:path}", static, methods=["GET"]),
    ]


def read_files() -> dict[str, File]:
    """All files by their path."""
    return {path.relative_to(STATIC).as_posix(): _read(path) for path in STATIC.rglob("*") if path.suffix in _TYPES}


def _read(path: Path) -> File:
    body = path.read_bytes()
    return File(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', _TYPES[path.suffix])


def imported(files: Mapping[str, File], *names: str) -> set[str]:
    """Those modules that there are, and all that they import at once."""
    found, left = set[str](), set(files).intersection(names)
    while left:
        found.add(name := left.pop())
        there = (
            posixpath.normpath(posixpath.join(posixpath.dirname(name), each))
            for each in _IMPORT.findall(files[name].body.decode())
        )
        left.update(set(there) - found)
    return found


def _answer(request: Request, file: File, **more: str) -> Response:
    """The file; only that it is the same where the browser has it. It asks each time, so an update shows at once."""
    headers = {"etag": file.etag, "cache-control": "no-cache", "content-security-policy": _POLICY} | more
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)
