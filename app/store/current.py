"""Documents of a SQLite file that are still as they were read: nothing has been committed since.

SQLite tells whether anything was, by us or by any other process, in a few microseconds and without looking at a page:
`PRAGMA data_version`. So a document that is asked for again costs neither a way to the store's thread nor the disk, and
is as current as one that was read anew. After a commit, whatever it was, all are read anew.
"""

import asyncio
import os
import sqlite3
from collections.abc import Hashable
from pathlib import Path

from app.store.documents import Document

_MOST_CHARACTERS = 4 * 1024 * 1024  # of their bodies

Identity = tuple[int, int]


def identity(path: Path) -> Identity | None:
    """Which file is there; None if none is."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


class CurrentDocuments:
    """What was read and is current, for the event loop: it never waits for a lock here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: Identity | None = None
        self._data_version = 0
        self._looked_in: asyncio.AbstractEventLoop | None = None
        self._documents: dict[Hashable, Document] = {}
        self._characters = 0
        self.era = 0
        """Counts how often everything was forgotten: for a commit that was noticed, or with the file."""

    def get(self, question: Hashable) -> Document | None:
        """What was answered to a question, if that is current."""
        self._look()
        return self._documents.get(question)

    def keep(self, question: Hashable, document: Document, era: int) -> None:
        """Keep an answer to what was asked in that era; not if that is over."""
        if self._connection is None or era != self.era or question in self._documents:
            return
        self._documents[question] = document
        self._characters += len(document.body)
        while self._characters > _MOST_CHARACTERS:
            first = next(iter(self._documents))
            self._characters -= len(self._documents.pop(first).body)

    def watch(self) -> None:
        """Begin to look for commits in the file, which somebody has opened for writing."""
        if self._connection is not None:
            return
        self._forget()  # what is being read now may be older than the first look
        file = identity(self._path)
        try:
            # No patience: where SQLite would have to wait, nothing is known to be current.
            self._connection = sqlite3.connect(
                f"{self._path.as_uri()}?mode=ro", uri=True, timeout=0, isolation_level=None, check_same_thread=False
            )
            self._data_version = self._read_data_version(self._connection)
        except sqlite3.Error:
            self.close()
        self._file = file

    def close(self) -> None:
        """Forget everything."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._forget()

    def _look(self) -> None:
        """Look for commits, once for all that is asked at this turn of the loop.

        Nobody who asks later in it can know of a later commit: what they know, they knew when the turn began.
        """
        loop = asyncio.get_running_loop()
        if self._connection is None or self._looked_in is loop:
            return
        self._looked_in = loop
        loop.call_soon(self._end_turn)
        try:
            data_version = self._read_data_version(self._connection)
        except sqlite3.Error:
            self.close()
            return
        if identity(self._path) != self._file:
            self.close()
        elif data_version != self._data_version:
            self._data_version = data_version
            self._forget()

    def _end_turn(self) -> None:
        self._looked_in = None

    def _forget(self) -> None:
        self._documents.clear()
        self._characters = 0
        self.era += 1

    @staticmethod
    def _read_data_version(connection: sqlite3.Connection) -> int:
        # All rows, though there is one: a statement that is not at its end would keep SQLite's log from being cut.
        ((version,),) = connection.execute("PRAGMA data_version").fetchall()
        return int(version)
