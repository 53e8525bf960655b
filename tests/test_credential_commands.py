"""`slipway token` and `slipway sdk-key`, as an administrator types them."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.access import Role
from app.domain.credentials import hash_of
from app.domain.notifications import NotificationType
from app.services import Services
from app.settings import Settings
from app.store.access import AuditFilter
from tests.commands import Commands
from tests.scene import make_environments

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SLIPWAY = Path(sys.executable).with_name("slipway")

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


def environment(settings: Settings, more: dict[str, str]) -> dict[str, str]:
    return {"SLIPWAY_STORE_URL": settings.store_url, "COLUMNS": "200"} | more


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run `slipway ...` on the store of `services`."""

    def run(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        given = environment(settings, more)
        return subprocess.run([SLIPWAY, *arguments], env=given, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def quick(settings: Settings, slipway: Commands) -> Run:
    """Run a command that ends at once, on the store of `services`, without its start."""
    return lambda *arguments, **more: slipway.run(arguments, environment(settings, more))


async def test_a_token_is_made_listed_and_revoked(services: Services, run: Run) -> None:
    """Its secret is printed once and lets its holder in until it is revoked; all of it is on the audit log."""
    made = run("token", "create", "Deploy bot", "--role", "operator", "--days", "30")
    assert made.returncode == 0, made.stderr
    id, secret = made.stdout.split()[0], made.stdout.split()[-1]
    token = await services.tokens.recognise(secret)
    assert token is not None
    assert (token.id, token.name, token.role) == (id, "Deploy bot", Role.OPERATOR)
    assert token.expires_at is not None
    listed = run("token", "list")
    assert id in listed.stdout
    assert "Deploy bot" in listed.stdout
    assert secret not in listed.stdout
    assert run("token", "revoke", id).returncode == 0
    assert await services.tokens.valid_among([id]) == set()
    assert "revoked" in run("token", "list").stdout
    entries = (await services.audit_log.page(AuditFilter(), 10, None)).values
    assert [(entry.mutation, entry.outcome.value, entry.credential) for entry in entries] == [
        ("revokeToken", "DONE", "command line"),
        ("createToken", "DONE", "command line"),
    ]


async def test_an_sdk_key_is_made_listed_and_revoked(services: Services, run: Run) -> None:
    """Its secret is printed once; what is kept is bound to its environment and ends; all of it is on the audit log."""
    await make_environments(services)
    made = run("sdk-key", "create", "Shop", "--environment", "production", "--days", "30")
    assert made.returncode == 0, made.stderr
    id, secret = made.stdout.split()[0], made.stdout.split()[-1]
    key = await services.sdk_key_list.get(id)
    assert key is not None
    assert (key.name, key.environment, key.secret_hash) == ("Shop", "production", hash_of(secret))
    assert key.expires_at == key.created_at + timedelta(days=30)
    listed = run("sdk-key", "list").stdout
    assert [line.split() for line in listed.splitlines()] == [
        ["Id", "Environment", "Made", "Last", "used", "Expires", "Name"],
        [id, "production", f"{key.created_at:%Y-%m-%d}", "never", f"{key.expires_at:%Y-%m-%d}", "Shop"],
    ]
    assert run("sdk-key", "revoke", id).stdout == f"{id}  Shop is revoked.\n"
    revoked = await services.sdk_key_list.get(id)
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert "revoked" in run("sdk-key", "list").stdout
    assert run("sdk-key", "create", "Shop", "--environment", "mars").returncode == 2
    entries = (await services.audit_log.page(AuditFilter(), 10, None)).values
    assert [(entry.mutation, entry.outcome.value, entry.credential) for entry in entries] == [
        ("createSdkKey", "REFUSED", "command line"),
        ("revokeSdkKey", "DONE", "command line"),
        ("createSdkKey", "DONE", "command line"),
    ]
    assert entries[-1].input == {"name": "Shop", "environment": "production", "expiresIn": "30 days, 0:00:00"}
    assert secret not in str(entries)


async def test_a_channel_is_made_listed_changed_tried_and_deleted(services: Services, run: Run, quick: Run) -> None:
    """Its secret is printed once and what it is reached with never; all of it is on the audit log."""
    key = services.settings.secrets_key[0].get_secret_value()
    target = "https://hooks.example/T0/very-secret"
    without = quick("channel", "create", "Ops", "--webhook", "--target", target)
    assert (without.returncode, "SLIPWAY_SECRETS_KEY" in without.stderr) == (2, True)
    wanted = ("--type", "REVIEW_REQUESTED", "--feature", "checkout-*")
    made = run("channel", "create", "Ops", "--webhook", "--target", target, *wanted, SLIPWAY_SECRETS_KEY=key)
    assert made.returncode == 0, made.stderr
    id = made.stdout.split()[0]
    (channel,) = await services.channel_list.all()
    assert (channel.id, channel.address, channel.features) == (id, "https://hooks.example/…", ("checkout-*",))
    assert made.stdout.split()[-1].startswith("whsec_")
    assert quick("channel", "list").stdout.splitlines()[1].split() == [
        id,
        "webhook",
        "enabled",
        "https://hooks.example/…",
        "Ops",
    ]
    changed = quick("channel", "update", id, "--name", "Crew", "--disable", "--feature", "*", SLIPWAY_SECRETS_KEY=key)
    assert changed.stdout == f"{id}  disabled  https://hooks.example/…  Crew\n"
    (channel,) = await services.channel_list.all()
    assert (channel.features, channel.types) == (("*",), (NotificationType.REVIEW_REQUESTED,))
    rotated = quick("channel", "rotate", id, SLIPWAY_SECRETS_KEY=key).stdout.split()[-1]
    assert rotated.startswith("whsec_")
    assert quick("channel", "update", id, "--target", "http://127.0.0.1:9/", SLIPWAY_SECRETS_KEY=key).returncode == 0
    tried = quick("channel", "test", id, SLIPWAY_SECRETS_KEY=key)
    assert (tried.returncode, "SLIPWAY_ALLOWED_TARGETS" in tried.stderr) == (2, True)
    assert quick("channel", "delete", id, SLIPWAY_SECRETS_KEY=key).stdout == f"{id} is deleted.\n"
    entries = (await services.audit_log.page(AuditFilter(), 10, None)).values
    assert [(entry.mutation, entry.outcome.value) for entry in entries] == [
        ("deleteChannel", "DONE"),
        ("testChannel", "DONE"),
        ("updateChannel", "DONE"),
        ("rotateChannelSecret", "DONE"),
        ("updateChannel", "DONE"),
        ("createChannel", "DONE"),
        ("createChannel", "REFUSED"),
    ]
    assert "very-secret" not in str(entries)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("token", "create", "", "--role", "VIEWER"), "name: Give it a name."),
        (("token", "create", "x", "--role", "VIEWER", "--days", "9" * 20), "--days"),
        (("token", "revoke", "tok_none"), "There is no token 'tok_none'."),
        (("token", "list", "--data", "/nowhere"), "There is no data in /nowhere"),
        (("sdk-key", "create", "", "--environment", "mars"), "environment: There is no environment 'mars'."),
        (("sdk-key", "create", "x", "--environment", "mars", "--days", "3651"), "--days"),
        (("sdk-key", "create", "x"), "--environment"),
        (("sdk-key", "revoke", "sdk_none"), "There is no SDK key 'sdk_none'."),
        (("sdk-key", "list", "--data", "/nowhere"), "There is no data in /nowhere"),
    ],
)
async def test_what_cannot_be_is_said_in_a_line(
    services: Services, quick: Run, arguments: tuple[str, ...], says: str
) -> None:
    """Exit status 2, and no traceback."""
    ended = quick(*arguments)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("kind", ["token", "sdk-key"])
async def test_it_wants_to_know_which_store(services: Services, quick: Run, kind: str) -> None:
    """Without a store it names both ways to say which."""
    ended = quick(kind, "list", SLIPWAY_STORE_URL="")
    assert ended.returncode == 2
    assert "SLIPWAY_STORE_URL" in ended.stderr
    assert "--data" in ended.stderr
