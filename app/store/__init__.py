"""Where documents live: the only package that knows MongoDB or SQLite.

`documents.py` says what a store does; `sqlite.py` and `mongo.py` do it; `open_store` chooses by URL.
"""

from pathlib import Path
from urllib.parse import unquote

from app.store.documents import Store

__all__ = ["open_store"]


def open_store(url: str) -> Store:
    """The store that a URL names. Nothing is opened yet: `prepare` or `ping` it to find out whether it is there."""
    scheme, separator, rest = url.partition("://")
    if scheme in ("mongodb", "mongodb+srv") and rest:
        # Imported here: motor takes a third of the time to start `slipway dev`, which has no use for it.
        from app.store.mongo import MongoStore

        return MongoStore(url)
    # As in SQLAlchemy: the third slash ends the (empty) host, so a fourth one begins an absolute path.
    # There are no options; a question mark that belongs to the name is written %3F.
    if scheme == "sqlite" and len(rest) > 1 and rest.startswith("/") and not rest.endswith("/") and "?" not in rest:
        from app.store.sqlite import SqliteStore

        return SqliteStore(Path(unquote(rest[1:])))
    # The URL may hold a password, so no more than its scheme is repeated.
    raise ValueError(
        f"Not the URL of a store{f' ({scheme}://...)' if separator else ''}. Use mongodb://host:27017/database, "
        "mongodb+srv://host/database, sqlite:///relative/path.db or sqlite:////absolute/path.db."
    )
