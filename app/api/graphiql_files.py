"""GraphiQL's own files: which they are, and where they lie once `slipway graphiql` has put them there."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec
from strawberry.http.ides import get_graphql_ide_html

CDN: Final = "https://unpkg.com"

_TAG = re.compile(r"<(?:script|link)\s[^>]*>")
_ADDRESS = re.compile(rf'\s(src|href)="{re.escape(CDN)}/([^"]+)"')
_INTEGRITY = re.compile(r'\sintegrity="(sha384-[^"]+)"')
_PACKAGE = re.compile(r"((?:@[^/@]+/)?[^/@]+@\d+\.\d+\.\d+)/(.+)")


class File(msgspec.Struct, frozen=True):
    """A file that the page loads, in a version that never changes."""

    path: str  # as on the CDN: graphiql@3.8.3/graphiql.min.js
    integrity: str  # sha384-...
    kind: Literal["script", "style"]

    @property
    def package(self) -> str:
        """The npm package that it is part of: graphiql@3.8.3."""
        return self._parts[0]

    @property
    def within(self) -> str:
        """Where it is in the package: graphiql.min.js."""
        return self._parts[1]

    @property
    def media_type(self) -> str:
        """What a browser is told that it is."""
        return "text/javascript" if self.kind == "script" else "text/css"

    @property
    def address(self) -> str:
        """Where the CDN has it."""
        return f"{CDN}/{self.path}"

    @property
    def _parts(self) -> tuple[str, str]:
        found = _PACKAGE.fullmatch(self.path)
        assert found is not None, f"{self.path} names no package and version"
        return found[1], found[2]

    def is_whole(self, content: bytes) -> bool:
        """Whether the content is what the hash was made of."""
        return self.integrity == f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"


@cache
def files() -> tuple[File, ...]:
    """Those that Strawberry's page loads, in its order: a newer Strawberry brings newer ones."""
    found = []
    for tag in _TAG.findall(get_graphql_ide_html(graphql_ide="graphiql")):
        address, integrity = _ADDRESS.search(tag), _INTEGRITY.search(tag)
        if address is not None:
            assert integrity is not None, f"{address[2]} has no hash"
            found.append(File(address[2], integrity[1], "script" if address[1] == "src" else "style"))
    return tuple(found)


def compressed(folder: Path, file: File) -> Path:
    """Where the file lies in the folder, gzipped: 1.1 MB in all instead of 4.1."""
    return folder / f"{file.path}.gz"


def are_in(folder: Path) -> bool:
    """Whether all of them are there. Asked for each page, so a server need not be restarted."""
    return all(compressed(folder, file).is_file() for file in files())
