"""Receivers on loopback."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.notify.receiving import Hooks, Mailbox, hooks, mailbox


@pytest.fixture
async def receiver() -> AsyncIterator[Hooks]:
    """An HTTP server for webhooks."""
    async with hooks() as receiver:
        yield receiver


@pytest.fixture
def post() -> Iterator[Mailbox]:
    """An SMTP server."""
    with mailbox() as box:
        yield box
