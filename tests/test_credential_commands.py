"""`slipway token`, as an administrator types it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.domain.access import Role
from app.services import Services
from app.settings import Settings
from app.store.access import AuditFilter

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SLIPWAY = Path(sys.executable).with_name("slipway")

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run `slipway token ...` on the store of `services`."""

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        given = {"SLIPWAY_STORE_URL": settings.store_url, "COLUMNS": "200"} | environment
        return subprocess.run([SLIPWAY, "token", *arguments], env=given, capture_output=True, text=True, check=False)

    return run


async def test_a_token_is_made_listed_and_revoked(services: Services, run: Run) -> None:
    """Its secret is printed once and lets its holder in until it is revoked; all of it is on the audit log."""
    made = run("create", "Deploy bot", "--role", "operator", "--days", "30")
    assert made.returncode == 0, made.stderr
    id, secret = made.stdout.split()[0], made.stdout.split()[-1]
    token = await services.tokens.recognise(secret)
    assert token is not None
    assert (token.id, token.name, token.role) == (id, "Deploy bot", Role.OPERATOR)
    assert token.expires_at is not None
    listed = run("list")
    assert id in listed.stdout
    assert "Deploy bot" in listed.stdout
    assert secret not in listed.stdout
    assert run("revoke", id).returncode == 0
    assert await services.tokens.valid_among([id]) == set()
    assert "revoked" in run("list").stdout
    entries = (await services.audit_log.page(AuditFilter(), 10, None)).values
    assert [(entry.mutation, entry.outcome.value, entry.credential) for entry in entries] == [
        ("revokeToken", "DONE", "command line"),
        ("createToken", "DONE", "command line"),
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "", "--role", "VIEWER"), "name: Give it a name."),
        (("revoke", "tok_none"), "There is no token 'tok_none'."),
        (("list", "--data", "/nowhere"), "There is no data in /nowhere"),
    ],
)
async def test_what_cannot_be_is_said_in_a_line(
    services: Services, run: Run, arguments: tuple[str, ...], says: str
) -> None:
    """Exit status 2, and no traceback."""
    refused = run(*arguments)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_it_wants_to_know_which_store(services: Services, run: Run) -> None:
    """Without a store it names both ways to say which."""
    refused = run("list", SLIPWAY_STORE_URL="")
    assert refused.returncode == 2
    assert "SLIPWAY_STORE_URL" in refused.stderr
    assert "--data" in refused.stderr
