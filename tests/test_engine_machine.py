"""The machine that plays the core at random, run through the engine of two processes on each real store."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from hypothesis import HealthCheck
from hypothesis import settings as examples
from hypothesis.stateful import run_state_machine_as_test
from msgspec import structs

from app.domain.access import Actor, Principal
from app.domain.commands import Command
from app.domain.evaluation import Evaluation, evaluate_feature
from app.domain.pipelines import Pipeline
from app.domain.releases import Release, ReleaseEvent
from app.domain.targeting import Context
from app.services import Services, open_services
from app.settings import Settings
from tests.conftest import Clock
from tests.domain.test_machine import CHANGE, ReleaseMachine

T = TypeVar("T")


class Processes:
    """Two processes on the same stores that take turns, on an event loop that runs while one of them is asked."""

    def __init__(self, settings: Settings) -> None:
        self.clock = Clock()
        self.releases_started = 0
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._turns = [self.run(self._open.enter_async_context(open_services(settings, self.clock))) for _ in range(2)]
        self.run(self._turns[0].store.prepare())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work gives."""
        return self._runner.run(work)

    def next(self) -> Services:
        """The one whose turn it is."""
        self._turns.reverse()
        return self._turns[0]

    def close(self) -> None:
        """Let go of everything."""
        self.run(self._open.aclose())
        self._runner.close()


class EngineMachine(ReleaseMachine):
    """The machine on an engine. Nobody else writes, so what was read stays true until the next write."""

    def __init__(self, processes: Processes) -> None:
        super().__init__()
        self.processes = processes
        processes.releases_started += 1
        key = f"f{processes.releases_started}"
        self.feature = structs.replace(self.feature, id=key, key=key)
        self.read: Release | None = None

    def asked(self) -> Services:
        """The process whose turn it is, at the machine's time, about to write."""
        self.processes.clock.moment = self.now
        self.read = None
        return self.processes.next()

    def begin(self, through: Pipeline, by: Actor) -> None:
        """Start the release of CHANGE through a pipeline."""
        engine = self.asked().engine
        self.release = self.processes.run(engine.start(self.feature, None, CHANGE, through, by))

    def load(self) -> Release:
        """The feature's latest release on record, which is the one that was started."""
        if self.read is None:
            self.read = self.processes.run(self.processes.next().releases.latest_of(self.feature.key))
        assert self.read is not None
        assert self.read.id == self.release.id
        return self.read

    def perform(self, command: Command, by: Principal) -> tuple[ReleaseEvent, ...]:
        """Carry the action out."""
        return self.processes.run(self.asked().engine.act(self.release.id, command, by)).events

    def settle(self) -> None:
        """Sweep."""
        self.processes.run(self.asked().engine.settle_due())

    def evaluate(self, environment: str, context: Context) -> Evaluation:
        """What a context gets from the record."""
        return evaluate_feature(self.feature, self.load(), environment, context)


def test_the_machine_finds_no_fault_with_the_engine(settings: Settings) -> None:
    """Random pipelines, people, actions and times: what holds for the core holds for what is on record."""
    processes = Processes(settings)
    try:
        run_state_machine_as_test(
            lambda: EngineMachine(processes),
            settings=examples(
                max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
            ),
        )
    finally:
        processes.close()
