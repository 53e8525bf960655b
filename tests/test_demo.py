"""The demo as it is loaded, more than once and after an accident."""

from datetime import timedelta

from app.demo import load_demo
from app.domain.releases import ReleaseStatus
from app.services import Services
from tests.conftest import Clock
from tests.domain.builders import ADMIN, phase
from tests.scene import make_environments, make_feature, make_pipeline


async def test_the_demo_once_more_leaves_what_is_there(services: Services, clock: Clock) -> None:
    """Loaded again, later and with an environment edited meanwhile, it changes and starts nothing."""
    releases = await load_demo(services, ADMIN)
    assert [release.status for release in releases] == [ReleaseStatus.IN_PROGRESS] * 2
    await services.catalog.save_environment("development", True, ADMIN)
    before = await services.environments.all()

    clock.advance(timedelta(hours=1))
    assert await load_demo(services, ADMIN) == []

    assert await services.environments.all() == before
    assert [await services.releases.get(release.id) for release in releases] == releases


async def test_a_demo_that_was_cut_off_is_loaded_to_its_end(services: Services, clock: Clock) -> None:
    """A process that is killed while it loads the demo leaves a part of it; the next one adds what is missing."""
    (whole, _) = await load_demo(services, ADMIN)
    assert whole.pipeline_id is not None
    missing = await services.features.by_key("search-tuning")
    assert missing is not None
    for release in await services.releases.under_way_in(whole.pipeline_id):
        if release.feature_key == missing.key:
            await services.releases.remove(release)
    await services.features.remove(missing)

    (added,) = await load_demo(services, ADMIN)

    assert (added.feature_key, added.pipeline_id) == ("search-tuning", whole.pipeline_id)


async def test_somebodys_own_things_go_before_the_demos(services: Services) -> None:
    """A pipeline of the demo's name, in other letters, and a feature of its key are used as they are or left alone."""
    await make_environments(services)
    own = await make_pipeline(services, phase("a"), name="PROGRESSIVE production")
    mine = await make_feature(services, own, "search-tuning")

    (started,) = await load_demo(services, ADMIN)

    assert (started.feature_key, started.pipeline_id) == ("new-checkout", own.id)
    assert await services.features.by_key("search-tuning") == mine
    assert await services.releases.latest_of("search-tuning") is None
