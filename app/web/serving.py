"""The files of the status page, held in memory: at every path of a page there is index.html, which routes by itself."""

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

_LIST = "js/views/releases.js"
# Each page's path, and the module that shows it.
PAGES = {
    "/": _LIST,
    "/releases/{id}": "js/views/release.js",
    "/features": "js/views/features.js",
    "/features/{key}": "js/views/features.js",
    "/pipelines": "js/views/pipelines.js",
    "/pipelines/{id}": "js/views/pipelines.js",
}

_FIRST, _MAIN, _STYLE = "js/first.js", "js/main.js", "style.css"
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

_KEPT = "public, max-age=31536000, immutable"
_ASKED = "no-cache"  # each time, so an update shows at once

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class File(Struct, frozen=True):
    """A file as it is served."""

    body: bytes
    etag: str
    media_type: str


def routes() -> list[Route]:
    """The routes of the page and of its files.

    The files are below a path that names them all by their content, so that a browser never has to ask for one again.
    """
    files = read_files()
    version = hashlib.sha256("".join(f"{name} {files[name].etag}\n" for name in sorted(files)).encode()).hexdigest()[
        :16
    ]
    root = f"/static/{version}/"

    def index_of(view: str) -> Endpoint:
        page = _page(files["index.html"].body.decode(), root, view)
        # Told with the page, so that a module is not asked for only once the one that imports it has come.
        first = sorted(imported(files, _FIRST)) if view == _LIST else []
        modules = first + sorted(imported(files, _MAIN, view) - set(first))
        links = [
            f"<{root}{_STYLE}>; rel=preload; as=style",
            *(f"<{root}{each}>; rel=modulepreload" for each in modules),
        ]

        async def index(request: Request) -> Response:
            return _answer(request, page, _ASKED, link=", ".join(links))

        return index

    async def static(request: Request) -> Response:
        file = files.get(request.path_params["path"])
        if file is None:
            return Response("Not Found", 404, media_type="text/plain")
        # Of another version, which another process of ours may have named, it is the file that there is now.
        return _answer(request, file, _KEPT if request.path_params["version"] == version else _ASKED)

    return [
        *(Route(path, index_of(view), methods=["GET"]) for path, view in PAGES.items()),
        Route("/static/{version}/{path:path}", static, methods=["GET"]),
    ]


def _page(html: str, root: str, view: str) -> File:
    """index.html with the files' path; only the list is to ask for its rows before its modules are there."""
    lines = (line for line in html.splitlines(keepends=True) if view == _LIST or _FIRST not in line)
    return _file("".join(lines).replace('"/static/', f'"{root}').encode(), ".html")


def read_files() -> dict[str, File]:
    """All files by their path."""
    paths = (path for path in STATIC.rglob("*") if path.suffix in _TYPES)
    return {path.relative_to(STATIC).as_posix(): _file(path.read_bytes(), path.suffix) for path in paths}


def _file(body: bytes, suffix: str) -> File:
    return File(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', _TYPES[suffix])


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


def _answer(request: Request, file: File, cache_control: str, **more: str) -> Response:
    """The file; only that it is the same where the browser has it."""
    headers = {"etag": file.etag, "cache-control": cache_control, "content-security-policy": _POLICY} | more
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)
