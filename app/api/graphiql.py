"""GraphiQL for a browser, under a Content-Security-Policy of its own."""

import base64
import hashlib
import re
from functools import cache

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from strawberry.http.ides import get_graphql_ide_html

_CDN = "https://unpkg.com"


def wants_page(request: Request) -> bool:
    """Whether a person looks, not a program: a browser that opens the address."""
    accepted = request.headers.get("accept", "")
    return request.method == "GET" and "text/html" in accepted and "query" not in request.query_params


def page(request: Request) -> Response:
    """The page. Its scripts come from a public CDN, held to their hashes; it holds no data and no token."""
    html, policy = _page()
    return HTMLResponse(html, headers={"content-security-policy": policy})


@cache
def _page() -> tuple[str, str]:
    html = get_graphql_ide_html(graphql_ide="graphiql")
    html = html.replace("<title>Strawberry GraphiQL</title>", "<title>Slipway GraphiQL</title>")
    inline = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inline
    )
    # By their whole addresses: the CDN serves whatever anybody publishes.
    scripts = " ".join(re.findall(rf'<script[^>]*\ssrc="({_CDN}/[^"]+)"', html))
    policy = (
        f"default-src 'none'; script-src {scripts} {hashes}; style-src {_CDN} 'unsafe-inline'; img-src data:; "
        f"font-src {_CDN} data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy
