"""The arq workers: the bake job and the sweep, and beside them what tells people and delivers.

The two have a queue each and jobs of their own, so that a channel which hangs never keeps a bake waiting.

Of bakes that end together one job settles all that are due, and takes the jobs of the others out of the queue.

arq does not retry ordinary exceptions, which the sweep heals, and its worker ends when Redis drops, which `run` heals
by starting another one.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from arq import Worker, cron
from arq.typing import WorkerCoroutine
from arq.worker import func
from redis.exceptions import RedisError

from app.domain.channels import MAX_CHANNELS
from app.engine import Contention
from app.logs import configure_logs
from app.services import Services, open_services
from app.settings import Settings
from app.store.documents import StoreUnavailable
from app.timers import DELIVER, END_BAKE, NOTIFY_QUEUE, QUEUE, SERIALIZERS, TELL, connect
from app.worker_health import HEALTH_KEY

log = structlog.get_logger()

_POLL_SECONDS = 0.05
_NOTIFY_POLL_SECONDS = 0.1
_WIDE_EVERY = 15
_HEALTH_SECONDS = 5
_JOB_SECONDS = 60
_DRAIN_SECONDS = 50
_GRACE_SECONDS = 1.0
_CANCEL_AGAIN_SECONDS = 0.5
_BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0)


async def end_bake(context: dict[Any, Any], release_id: str, timer_id: str) -> None:
    """The job of one bake timer."""
    try:
        async with _draining(context):
            await context["services"].engine.end_bake(release_id, timer_id)
    except StoreUnavailable as error:
        log.warning("bake not ended, the sweep will end it", release=release_id, error=str(error))


async def sweep(context: dict[Any, Any]) -> None:
    """End every bake that is due, whether or not a job prompted it."""
    try:
        async with _draining(context):
            await context["services"].engine.settle_due()
    except StoreUnavailable as error:
        log.warning("sweep put off", error=str(error))


@asynccontextmanager
async def _draining(context: dict[Any, Any]) -> AsyncIterator[None]:
    """Pick no further jobs to the end of the block, which leaves them nothing to do.

    Before arq would cut it off it ends by itself; the jobs that are left, and the sweep, go on from there.
    """
    worker: Worker | None = context.get("worker")
    try:
        if worker is not None:
            worker.allow_pick_jobs = False
        async with asyncio.timeout(_DRAIN_SECONDS):
            yield
    except TimeoutError:
        log.info("more bakes are due than end in one go, going on")
    finally:
        if worker is not None and not context["services"].engine.is_draining:
            worker.allow_pick_jobs = True


async def tell(context: dict[Any, Any]) -> None:
    """The job of what has changed: write down who is to be told, and prompt the deliveries."""
    services: Services = context["services"]
    try:
        await services.prompts.deliver(sorted(await services.teller.tell()))
    except StoreUnavailable as error:
        log.warning("changes not told, the sweep will tell of them", error=str(error))


async def deliver(context: dict[Any, Any], channel_id: str) -> None:
    """The job of one channel: attempt all that is due to it."""
    try:
        await context["services"].courier.deliver(channel_id)
    except StoreUnavailable as error:
        log.warning("notifications not delivered, the sweep will deliver them", channel=channel_id, error=str(error))


async def notify_sweep(context: dict[Any, Any]) -> None:
    """Tell of what no job told of, and prompt the deliveries that are due: retries, and what was lost."""
    services: Services = context["services"]
    context["sweeps"] = context.get("sweeps", 0) + 1
    try:
        await services.teller.tell(wide=context["sweeps"] % _WIDE_EVERY == 0)
        await services.prompts.deliver(await services.courier.due_channels())
    except StoreUnavailable as error:
        log.warning("notifications put off", error=str(error))


def make_notifier(services: Services, *, burst: bool = False) -> Worker:
    """An arq worker that tells and delivers; otherwise like `make_worker`. A job for each channel, at most 100."""
    return _make(
        services,
        {TELL: tell, DELIVER: deliver},
        notify_sweep,
        burst,
        queue_name=NOTIFY_QUEUE,
        poll_delay=_NOTIFY_POLL_SECONDS,
        max_jobs=2 * MAX_CHANNELS,
        health_check_interval=_JOB_SECONDS,
    )


def make_worker(services: Services, *, burst: bool = False) -> Worker:
    """An arq worker with Redis connections of its own; `close` ends it. In burst mode it only empties the queue."""
    worker = _make(
        services,
        {END_BAKE: end_bake},
        sweep,
        burst,
        queue_name=QUEUE,
        poll_delay=_POLL_SECONDS,
        # Few: of jobs that are due together the first does the work of all, and the rest only cost their start.
        max_jobs=10,
        health_check_interval=_HEALTH_SECONDS,
        health_check_key=HEALTH_KEY,
    )
    worker.ctx["worker"] = worker
    return worker


def _make(
    services: Services,
    jobs: Mapping[str, Callable[..., Awaitable[None]]],
    swept_by: Callable[..., Awaitable[None]],
    burst: bool,
    **more: Any,
) -> Worker:
    every = round(services.settings.sweep_seconds)
    swept = cron(
        cast(WorkerCoroutine, swept_by),
        second=set(range(0, 60, every)),
        run_at_startup=True,
        max_tries=1,
        keep_result=0,
        timeout=_JOB_SECONDS,
    )
    return Worker(
        functions=[func(cast(WorkerCoroutine, job), name=name, max_tries=1) for name, job in jobs.items()],
        cron_jobs=None if burst else [swept],
        redis_pool=connect(services.settings.redis_url),
        ctx={"services": services},
        burst=burst,
        # arq refuses a job id while its result is kept.
        keep_result=0,
        job_timeout=_JOB_SECONDS,
        log_results=False,
        handle_signals=False,
        **SERIALIZERS,
        **more,
    )


async def run(services: Services) -> None:
    """Work until cancelled; whenever Redis drops, start again with backoff."""
    works = [
        asyncio.create_task(_supervise(services, make_worker, services.engine.settle_due)),
        asyncio.create_task(_supervise(services, make_notifier, lambda: _notify_without_jobs(services))),
    ]
    try:
        await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for work in works:
            work.cancel()
        ends = await asyncio.gather(*works, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _supervise(
    services: Services, make: Callable[[Services], Worker], begin: Callable[[], Awaitable[object]]
) -> None:
    failures = 0
    while True:
        worker = make(services)
        working = asyncio.create_task(_work(services, worker, begin))
        try:
            # Not awaited itself: redis-py sometimes swallows a cancellation (asyncio.wait_for on Python 3.11).
            await asyncio.wait({working})
            working.result()
        except (RedisError, OSError, StoreUnavailable, Contention) as error:
            log.warning("worker stopped, starting again", error=str(error) or type(error).__name__)
            failures = failures + 1 if worker.jobs_complete == 0 else 0
        finally:
            await close(worker, working)
        await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])


async def _work(services: Services, worker: Worker, begin: Callable[[], Awaitable[object]]) -> None:
    await services.store.prepare()  # a worker may be the first to start
    # Whatever Redis does, what is due by now is settled, and told.
    await begin()
    await worker.async_run()


async def _notify_without_jobs(services: Services) -> None:
    await services.teller.tell()
    await asyncio.gather(*(services.courier.deliver(id) for id in await services.courier.due_channels()))


async def close(worker: Worker, *working: asyncio.Task[None]) -> None:
    """End the worker's loop and the jobs that run, and let go of Redis. Of what is cut off, the next sweep takes care.

    arq's own `close` cancels wherever it is, which loses connections, and where Redis is away it lets go of nothing.
    """
    worker.allow_pick_jobs = False
    worker.burst, worker.max_burst_jobs = True, 0  # its loop ends with this round, once the jobs have ended
    tasks: set[asyncio.Task[Any]] = {*working, *worker.tasks.values()}
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
        while running := {task for task in tasks if not task.done()}:
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=_CANCEL_AGAIN_SECONDS)
        # A Redis that goes away fails many jobs at once; `run` tells of it once.
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError):
            await worker.pool.delete(HEALTH_KEY)
    finally:
        with contextlib.suppress(RedisError, OSError):
            await worker.pool.aclose(close_connection_pool=True)


async def serve(settings: Settings) -> None:
    """Run a worker process until SIGINT or SIGTERM."""
    configure_logs(settings.log_level)
    async with open_services(settings) as services:
        log.info("worker is at work", health_key=HEALTH_KEY)
        working = asyncio.create_task(run(services))
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, working.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await working
