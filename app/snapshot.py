"""What every feature gives, in the memory of one process: evaluating touches no store.

The snapshot is loaded once and then fed by the live path: each changed release as the hub offers it, each new feature
and each SDK key as it is announced. A light poll finds what was never announced. While the stores are away it serves
what it knew last.

For each environment it keeps a version, which names the state of all features there: it changes when somebody could be
answered differently, and is the same on every process that holds the same state.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import structlog
from msgspec import structs

from app.domain.credentials import hash_of
from app.domain.evaluation import Evaluation, Plan, state_in
from app.domain.features import Feature
from app.domain.releases import Release
from app.domain.sdk_keys import SdkKey
from app.live import Hub, Lookback
from app.store.access import SdkKeys
from app.store.documents import StoreUnavailable
from app.store.repositories import Features, Releases

log = structlog.get_logger()

T = TypeVar("T")

_PAGE = 200
_MOST = 10_000
_RETRY_SECONDS = 1.0
_REMEMBERED = 10_000
_WAIT_AT_MOST = 200


class Served(Generic[T]):
    """A feature as it is served: what decides its value, made ready for each environment that asks."""

    def __init__(self, feature: Feature, latest: Release | None, show: Callable[[Feature, Evaluation], T]) -> None:
        self.feature = feature
        # History and approvals decide nothing, and a history may be long.
        self.latest = None if latest is None else structs.replace(latest, history=())
        self._show = show
        self._plans: dict[str, Plan[T]] = {}

    def plan(self, environment: str) -> Plan[T]:
        """What decides in an environment."""
        plan = self._plans.get(environment)
        if plan is None:
            # No way back to this object: with a cycle it would stay until the collector comes, if it does.
            show, feature = self._show, self.feature
            plan = self._plans[environment] = Plan(
                feature, self.latest, environment, lambda found: show(feature, found)
            )
        return plan

    def is_older_than(self, release: Release) -> bool:
        """Whether a release of the feature is news."""
        if self.latest is None or self.latest.number < release.number:
            return True
        return self.latest.number == release.number and self.latest.revision < release.revision


class EnvironmentView(Generic[T]):
    """The features in one environment, and the version of their state there."""

    def __init__(self, name: str, served: dict[str, Served[T]]) -> None:
        self._name = name
        self._served = served
        self._marks = {key: _mark(each, name) for key, each in served.items()}
        self._number = 0
        for mark in self._marks.values():
            self._number ^= mark
        self._in_order: list[Plan[T]] | None = None
        self._changed = asyncio.Event()
        self.last_change = ""

    @property
    def version(self) -> str:
        """Names the state of all features in the environment."""
        return f"{self._number:032x}"

    @property
    def plans(self) -> list[Plan[T]]:
        """What decides, of every feature, by key."""
        if self._in_order is None:
            self._in_order = [self._served[key].plan(self._name) for key in sorted(self._served)]
        return self._in_order

    def prepare(self) -> None:
        """Make ready what decides, which the first request would wait for."""
        _ = self.plans

    def follow(self, key: str, change: str) -> None:
        """Take in that a feature is served differently, and the change that made it so."""
        self._in_order = None
        mark = _mark(self._served[key], self._name)
        before = self._marks.get(key, 0)
        if before == mark:
            return
        self._marks[key] = mark
        self._number ^= before ^ mark
        self.last_change = change
        self.wake()

    def changed(self) -> Coroutine[Any, Any, object]:
        """What returns when, from now on, the version is another or there is another reason to look."""
        return self._changed.wait()  # of the event of this moment, however late it is awaited

    def wake(self) -> None:
        """Let those who wait look."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Snapshot(Generic[T]):
    """The features of this Slipway and the keys that may evaluate them. `show` makes an answer of an evaluation."""

    def __init__(
        self,
        hub: Hub,
        features: Features,
        releases: Releases,
        sdk_keys: SdkKeys,
        poll_seconds: float,
        show: Callable[[Feature, Evaluation], T],
    ) -> None:
        self._hub = hub
        self._features = features
        self._releases = releases
        self._sdk_keys = sdk_keys
        self._poll_seconds = poll_seconds
        self._show = show
        self._served: dict[str, Served[T]] = {}
        self._views: dict[str, EnvironmentView[T]] = {}
        self._keys: dict[str, SdkKey] = {}
        self._key_ids: dict[str, str] = {}
        self._taken: OrderedDict[str, int] = OrderedDict()
        self._took = asyncio.Event()
        self._waiting = 0
        self._wanted: dict[str, None] = {}
        self._wanted_features: dict[str, None] = {}
        self._wanted_some = asyncio.Event()
        self._loaded = asyncio.Event()

    # --- what is asked of it ---

    @property
    def is_loaded(self) -> bool:
        """Whether it serves."""
        return self._loaded.is_set()

    async def loaded(self) -> None:
        """Return when it serves."""
        await self._loaded.wait()

    def served(self, feature_key: str) -> Served[T] | None:
        """The feature of that key."""
        return self._served.get(feature_key)

    def view(self, environment: str) -> EnvironmentView[T]:
        """All features in an environment."""
        view = self._views.get(environment)
        if view is None:
            view = self._views[environment] = EnvironmentView(environment, self._served)
        return view

    def key_of(self, secret: str) -> SdkKey | None:
        """The SDK key of that secret, valid or not."""
        return self.key(self._key_ids.get(hash_of(secret), ""))

    async def find_key(self, secret: str) -> SdkKey | None:
        """The SDK key of a secret that is not known here: one that was made a moment ago. It is read from the store.

        None if there is none, or if the store does not answer.
        """
        try:
            key = await self._sdk_keys.by_secret_hash(hash_of(secret))
        except StoreUnavailable:
            return None
        if key is not None:
            self._take_key(key)
        return key

    def key(self, id: str) -> SdkKey | None:
        """The SDK key of that id, valid or not."""
        return self._keys.get(id)

    def wake(self) -> None:
        """Let all those who wait for a change look."""
        for view in self._views.values():
            view.wake()

    async def caught_up(self, change: str, within: float) -> None:
        """Return when a change that another process told of (`EnvironmentView.last_change`) is taken in here.

        Returns after `within` seconds all the same: who asked is better served late than never.
        """
        id, _, revision = change.partition(".")
        if self._taken.get(id, 0) >= int(revision) or self._waiting >= _WAIT_AT_MOST:
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(within):
                while self._taken.get(id, 0) < int(revision):
                    await self._took.wait()
        except TimeoutError:
            return
        finally:
            self._waiting -= 1

    # --- how it is kept ---

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load and follow, to the end of the block. The hub must be running."""
        # Told before it is loaded, so that nothing is missed in between.
        with self._hub.telling(self):
            task = asyncio.create_task(self._keep())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def release_changed(self, release: Release) -> None:
        """Serve a feature as its release now has it."""
        known = self._served.get(release.feature_key)
        if known is None:
            self._wanted_features[release.feature_key] = None
            self._wanted_some.set()
        elif known.is_older_than(release):
            self._serve(known.feature, release)

    def other_changed(self, id: str) -> None:
        """Read a new feature, or an SDK key that is new or revoked."""
        self._wanted[id] = None
        self._wanted_some.set()

    async def _keep(self) -> None:
        look = Lookback(self._poll_seconds)
        while not self.is_loaded:
            try:
                await self._load()
            except Exception as error:  # whatever it is, the next attempt must come
                log.warning("features not loaded, trying again", error=str(error) or type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._loaded.set()
        log.info("features loaded", features=len(self._served), keys=len(self._keys))
        await asyncio.gather(self._read(), self._poll(look))

    async def _load(self) -> None:
        async for key in self._sdk_keys.all():
            self._take_key(key)
        features: list[Feature] = []
        async for feature in self._features.all():
            features.append(feature)
            if len(features) == _PAGE:
                await self._take_features(features)
                features = []
        await self._take_features(features)
        for key in self._keys.values():
            self.view(key.environment).prepare()

    async def _read(self) -> None:
        """Read what was announced, however often it was."""
        while True:
            await self._wanted_some.wait()
            ids, self._wanted = self._wanted, {}
            feature_keys, self._wanted_features = self._wanted_features, {}
            self._wanted_some.clear()  # before the read: what is announced during it is read anew
            try:
                await self._take_all(list(ids), list(feature_keys))
            except Exception as error:  # whatever it is, the next reading must come
                log.warning("features and keys not read, trying again", error=str(error) or type(error).__name__)
                self._wanted.update(ids)
                self._wanted_features.update(feature_keys)
                self._wanted_some.set()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _poll(self, look: Lookback) -> None:
        """Look for features and keys that no announcement told of. Releases are polled by the hub."""
        while True:
            await asyncio.sleep(self._poll_seconds)
            begun = look.begin()
            try:
                features = await self._features.created_since(look.since, _MOST)
                keys = await self._sdk_keys.changed_since(look.since, _MOST)
            except Exception as error:  # whatever it is, the next look must come
                log.warning("features and keys not polled", error=str(error) or type(error).__name__)
                continue
            look.done(begun)
            for id, revision in (*features, *keys):
                if self._taken.get(id, 0) < revision and (id not in self._keys or self._keys[id].revision < revision):
                    self.other_changed(id)

    async def _take_all(self, ids: list[str], feature_keys: list[str]) -> None:
        for key in (await self._sdk_keys.readable([id for id in ids if id.startswith("sdk_")])).values():
            self._take_key(key)
        features = await self._features.readable([id for id in ids if id.startswith("fea_")])
        by_key = await self._features.by_keys(feature_keys)
        await self._take_features([*features.values(), *by_key.values()])

    async def _take_features(self, features: list[Feature]) -> None:
        """Serve features that are new, with their latest releases."""
        latest = await self._releases.latest_readable_of([feature.key for feature in features])
        for feature in features:
            if feature.key not in latest:
                continue  # what it gives cannot be told: the last that is known is served, or nothing
            known, release = self._served.get(feature.key), latest[feature.key]
            if known is None or (release is not None and known.is_older_than(release)):
                self._serve(feature, release)
            self._note(feature.id, feature.revision)

    def _serve(self, feature: Feature, latest: Release | None) -> None:
        self._served[feature.key] = Served(feature, latest, self._show)
        id, revision = (feature.id, feature.revision) if latest is None else (latest.id, latest.revision)
        for view in self._views.values():
            view.follow(feature.key, f"{id}.{revision}")
        self._note(id, revision)

    def _take_key(self, key: SdkKey) -> None:
        known = self._keys.get(key.id)
        if known is None or known.revision < key.revision:
            self._keys[key.id] = key
            self._key_ids[key.secret_hash] = key.id
            if key.environment in self._views:
                self._views[key.environment].wake()

    def _note(self, id: str, revision: int) -> None:
        self._taken[id] = revision
        self._taken.move_to_end(id)
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)
        took, self._took = self._took, asyncio.Event()
        took.set()


def _mark(served: Served[T], environment: str) -> int:
    state = state_in(served.feature, served.latest, environment)
    return int.from_bytes(hashlib.sha256(state).digest()[:16])
