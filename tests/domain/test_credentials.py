"""API tokens and SDK keys: until when they let their holder in, and what cannot be made."""

from datetime import timedelta

import pytest
from msgspec import structs

from app.domain.access import Actor, Role
from app.domain.credentials import MAX_LIFETIME
from app.domain.sdk_keys import SdkKey, sdk_key_problems
from app.domain.tokens import Token
from tests.domain.builders import ENVIRONMENTS, HOUR, NOW

ADA = Actor("ada", "Ada")
MILLISECOND = timedelta(milliseconds=1)
TOKEN = Token("tok_1", "Somebody", Role.VIEWER, "hash", ADA, NOW)
KEY = SdkKey("sdk_1", "Shop", "production", "hash", ADA, NOW, NOW)

BOTH = pytest.mark.parametrize("credential", [TOKEN, KEY], ids=["token", "key"])


@BOTH
def test_it_lasts_until_its_end(credential: Token | SdkKey) -> None:
    """Without an end it lasts for ever, with one to the millisecond before."""
    assert credential.is_valid(NOW + MAX_LIFETIME)
    ending = structs.replace(credential, expires_at=NOW + HOUR)
    assert ending.is_valid(NOW + HOUR - MILLISECOND)
    assert not ending.is_valid(NOW + HOUR)


@BOTH
def test_it_is_revoked_for_good(credential: Token | SdkKey) -> None:
    """Its next revision says when and lets nobody in, at whatever time; the one before stays as it was."""
    revoked = credential.revoked(NOW + HOUR)
    assert (revoked.revoked_at, revoked.revision) == (NOW + HOUR, 2)
    assert not revoked.is_valid(NOW)
    assert credential.is_valid(NOW)


def test_a_revoked_key_is_a_changed_one() -> None:
    """Whoever looks for changes finds it by the moment that it was revoked."""
    assert KEY.revoked(NOW + HOUR).changed_at == NOW + HOUR


@pytest.mark.parametrize(
    ("name", "environment", "lifetime", "wrong"),
    [
        ("Shop", "production", None, []),
        ("Shop", "production", MAX_LIFETIME, []),
        ("Shop", "production", MILLISECOND, []),
        ("", "production", None, ["name"]),
        ("Shop", "mars", None, ["environment"]),
        ("Shop", "", None, ["environment"]),
        ("Shop", "Production", None, ["environment"]),
        ("Shop", "production", timedelta(0), ["expiresIn"]),
        ("Shop", "production", MAX_LIFETIME + MILLISECOND, ["expiresIn"]),
        (" ", "mars", -HOUR, ["name", "expiresIn", "environment"]),
    ],
)
def test_all_that_is_wrong_with_a_key_is_said(
    name: str, environment: str, lifetime: timedelta | None, wrong: list[str]
) -> None:
    """Its name, its lifetime and an environment that there is not, each with its path."""
    found = list(sdk_key_problems(name, environment, lifetime, ENVIRONMENTS))
    assert [problem.path for problem in found] == [(path,) for path in wrong]


def test_an_unknown_environment_is_told_the_known_ones() -> None:
    """The message names what was asked for and what there is, and none as none."""
    (problem,) = sdk_key_problems("Shop", "mars", None, ENVIRONMENTS)
    assert problem.message == "There is no environment 'mars'. Known: development, staging, production."
    (problem,) = sdk_key_problems("Shop", "mars", None, ())
    assert problem.message == "There is no environment 'mars'. Known: none."
