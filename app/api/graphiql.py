"""GraphiQL for a browser: a page of ours, under a Content-Security-Policy of its own, and what it loads.

Its own files come from the folder that `slipway graphiql` fills, through us, and so without internet; where they are
not, from a public CDN, held to their hashes.
"""

import asyncio
import gzip
from functools import cache
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from app.api.graphiql_files import File, are_in, compressed, files

_OURS: Final = Path(__file__).parent / "static"
_TYPES: Final = {"graphiql.js": "text/javascript", "graphiql.css": "text/css"}
# The version is in the path: what is there never changes.
_FOR_EVER: Final = "public, max-age=31536000, immutable"


def wants_page(request: Request) -> bool:
    """Whether a person looks, not a program: a browser that opens the address, with a query to be shown or without.

    A browser that only opens an address sends no token, and so would get no answer to the query.
    """
    accepted = request.headers.get("accept", "")
    if request.method != "GET" or "text/html" not in accepted:
        return False
    return "query" not in request.query_params or ("json" not in accepted and "authorization" not in request.headers)


def page(folder: Path) -> Response:
    """The page. It holds no data and no token; its addresses are relative, for proxies that serve us below a path."""
    ours = are_in(folder)
    return HTMLResponse(_html(ours), headers={"content-security-policy": _policy(ours)})


@cache
def _html(ours: bool) -> str:
    html = (_OURS / "graphiql.html").read_text(encoding="utf-8")
    return html.replace("<!-- FILES -->", "\n    ".join(_tag(file, ours) for file in files()))


def _tag(file: File, ours: bool) -> str:
    # Ours are held to their hashes too: a folder may be changed by others.
    address = f"graphiql/{file.path}" if ours else file.address
    checked = f'integrity="{file.integrity}"' if ours else f'integrity="{file.integrity}" crossorigin'
    if file.kind == "style":
        return f'<link rel="stylesheet" href="{address}" {checked}>'
    return f'<script defer src="{address}" {checked}></script>'


@cache
def _policy(ours: bool) -> str:
    """What the page may do: run and load what we serve, and, without the files, those seven by their whole addresses.

    (The CDN serves whatever anybody publishes.) Beyond that GraphiQL needs data: for its fonts and for the marks of its
    editor, which are within its style sheet. The one style element that it writes, so that nothing scrolls behind a
    menu or dialog, is refused, as the console says: our page does not scroll.
    """
    elsewhere = {"script": "", "style": ""}
    if not ours:
        for file in files():
            elsewhere[file.kind] += f" {file.address}"
    return (
        f"default-src 'none'; script-src 'self'{elsewhere['script']}; "
        f"style-src 'self'{elsewhere['style']}; img-src 'self' data:; font-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


async def asset(request: Request) -> Response:
    """A file that the page loads: one of ours, or one of GraphiQL's. There are no others, whatever the path."""
    path = request.path_params["path"]
    if path in _TYPES:
        return FileResponse(_OURS / path, media_type=_TYPES[path], headers={"cache-control": "no-cache"})
    for file in files():
        if file.path == path:
            return await _theirs(request, file)
    raise HTTPException(404)


async def _theirs(request: Request, file: File) -> Response:
    lies = compressed(request.app.state.services.settings.graphiql_dir, file)
    if not lies.is_file():
        raise HTTPException(404)
    headers = {"cache-control": _FOR_EVER, "vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return FileResponse(lies, media_type=file.media_type, headers=headers | {"content-encoding": "gzip"})
    content = await asyncio.to_thread(lambda: gzip.decompress(lies.read_bytes()))
    return Response(content, media_type=file.media_type, headers=headers)
