"""SDK keys: made, revoked, and their use written down."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from app import credentials
from app.announcing import Announcer
from app.domain.access import Principal, Role, require_role
from app.domain.credentials import hash_of
from app.domain.problems import ValidationFailed
from app.domain.sdk_keys import PREFIX, SdkKey, sdk_key_problems
from app.engine import Clock, new_id
from app.store.access import SdkKeys
from app.store.documents import StoreUnavailable
from app.store.repositories import Environments

log = structlog.get_logger()


class SdkKeyRegister:
    """The SDK keys of this Slipway."""

    def __init__(self, keys: SdkKeys, environments: Environments, announcer: Announcer, clock: Clock) -> None:
        self._keys = keys
        self._environments = environments
        self._announcer = announcer
        self._clock = clock

    async def create(
        self, name: str, environment: str, lifetime: timedelta | None, by: Principal
    ) -> tuple[SdkKey, str]:
        """Make a key; its secret is given here and never again. Raises PermissionDenied or ValidationFailed."""
        require_role(by, Role.ADMIN, "make an SDK key")
        known = [each.name for each in await self._environments.all()]
        if problems := list(sdk_key_problems(name, environment, lifetime, known)):
            raise ValidationFailed(problems)
        now = self._clock.now()
        secret = credentials.new_secret(PREFIX)
        expires_at = None if lifetime is None else now + lifetime
        key = SdkKey(new_id("sdk", now), name, environment, hash_of(secret), by.actor, now, now, expires_at)
        await self._keys.add(key)
        await self._announcer.announce_other(key.id, key.revision)
        log.info("SDK key made", id=key.id, environment=environment, by=by.actor.id)
        return key, secret

    async def revoke(self, id: str, by: Principal) -> SdkKey:
        """Let a key's holder evaluate no more; revoking twice is once. Raises PermissionDenied or NotFound."""
        require_role(by, Role.ADMIN, "revoke an SDK key")
        key = await credentials.revoke(self._keys, "SDK key", id, self._clock, by)
        await self._announcer.announce_other(key.id, key.revision)
        return key

    async def note_use(self, used: Mapping[str, datetime]) -> None:
        """Write down when the keys of those ids were used last; an absent store costs only the notes."""
        try:
            for key in (await self._keys.get_many(list(used))).values():
                await credentials.note_use(self._keys, key, used[key.id])
        except StoreUnavailable:
            log.warning("SDK key use not noted", ids=sorted(used))
