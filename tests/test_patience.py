"""What hangs is waited for once in a while, not by everybody."""

import asyncio
from contextlib import suppress

import pytest

from app import patience
from app.patience import Patience


async def hang() -> None:
    await asyncio.Event().wait()


async def test_what_hangs_is_not_waited_for_again_at_once() -> None:
    """After one call that was given up the next ones are not even begun."""
    asked = Patience(0.01)
    with pytest.raises(TimeoutError):
        async with asked.limit():
            await hang()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asked.limit():
                pytest.fail("it was begun")


async def test_one_of_many_tries_whether_it_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is time to try, one call does while the others are given up; once that is answered, all are made."""
    asked = Patience(5)
    monkeypatch.setattr(patience, "AGAIN_SECONDS", 0.0)
    with pytest.raises(TimeoutError):
        async with asked.limit():
            raise TimeoutError
    async with asked.limit():
        with pytest.raises(TimeoutError):
            async with asked.limit():
                pytest.fail("it was begun")
    async with asked.limit(), asked.limit():
        pass


async def test_what_is_refused_is_asked_again() -> None:
    """A refused connection costs nothing, so the next call is made."""
    asked = Patience(5)
    begun = 0
    for _ in range(2):
        with suppress(ConnectionError):
            async with asked.limit():
                begun += 1
                raise ConnectionError
    assert begun == 2
