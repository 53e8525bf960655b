"""The clients of OpenFeature, unmodified, against a real server: what they give while releases go their way.

Every value must be the one that the rules of releases give, at every step, by each client: Python's and Node's for
servers, which ask anew each time, and the one for browsers, which asks when the event stream tells it to.
"""

import time

from app.domain.releases import ReleaseAction
from app.services import Services
from tests.api.serving import Api
from tests.conftest import Clock
from tests.domain.builders import HOUR
from tests.ofrep.clients.conftest import Connect
from tests.ofrep.clients.sdks import Client
from tests.ofrep.clients.shop import (
    EVERYONE,
    FLAGS,
    GATE,
    GERMANY,
    NEW,
    NORWAY,
    OLD,
    PEOPLE,
    Given,
    on_each,
    open_shop,
    start,
    start_all,
    turns,
)
from tests.scene import skip


class Watch:
    """People who look at the flags, step by step."""

    def __init__(self, client: Client, kind: str) -> None:
        self._client = client
        self._kind = kind
        self._seen = OLD

    async def sees(self, after: Given, what: str) -> None:
        """They get what they got before, until all get what they must."""
        asked = time.monotonic()
        for flag in FLAGS:
            await turns(self._client, flag, self._seen, after)
        took = f"after {(time.monotonic() - asked) * 1000:.0f} ms " if after != self._seen else ""
        self._seen = after
        print(f"{self._kind} client, {what}: {took}{after}")  # for the report: pytest -rP


async def test_values_change_as_a_release_does(
    services: Services, api: Api, secret: str, connect: Connect, kind: str, clock: Clock
) -> None:
    """Exposure grows phase by phase, waits for review, ends with an abort, and begins anew to the end of a release."""
    async with connect(api.base_url, secret, PEOPLE) as client:
        watch = Watch(client, kind)
        await watch.sees(OLD, "nothing under way")

        releases = await start_all(services)
        await watch.sees(NORWAY, "started")
        await on_each(services, releases, ReleaseAction.PAUSE)
        await watch.sees(NORWAY, "paused")
        await on_each(services, releases, ReleaseAction.UNPAUSE, ReleaseAction.SKIP)
        await watch.sees(NORWAY, "Germany waits for review")
        await on_each(services, releases, ReleaseAction.APPROVE)
        await watch.sees(GERMANY, "Germany approved")
        await skip(services, clock, HOUR)
        await watch.sees(EVERYONE, "Germany has baked")
        await on_each(services, releases, ReleaseAction.ABORT)
        await watch.sees(OLD, "aborted")

        releases = await start_all(services)
        await watch.sees(NORWAY, "started again")
        await on_each(services, releases, ReleaseAction.SKIP, ReleaseAction.APPROVE)
        await watch.sees(GERMANY, "Germany approved")
        await on_each(services, releases, ReleaseAction.SKIP)
        await watch.sees(EVERYONE, "Germany skipped")
        await on_each(services, releases, ReleaseAction.SKIP)
        await watch.sees(NEW, "completed")


async def test_an_abort_through_one_process_is_seen_by_clients_of_another(
    services: Services, neighbour: Services, api: Api, secret: str, connect: Connect, kind: str
) -> None:
    """Whichever process answers the abort, no client is given the new value for longer than announcing it takes."""
    async with open_shop(neighbour) as there, connect(there.base_url, secret, PEOPLE) as client:
        await turns(client, GATE, OLD, OLD)
        for attempt in range(3):
            release = await start(services, GATE)
            await turns(client, GATE, OLD, NORWAY)
            answer = await api.mutate("abortRelease", input={"releaseId": release.id})
            answered = time.time()
            assert answer["__typename"] == "ReleaseActionPayload"
            await turns(client, GATE, NORWAY, OLD)
            took = (time.time() - answered) * 1000
            print(f"{kind} client, abort {attempt + 1} through another process: seen after {took:.0f} ms")
