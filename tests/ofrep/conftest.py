"""A server that applications evaluate at, and the look at what it logged that the API's tests take."""

from tests.api.conftest import api, logs

__all__ = ["api", "logs"]
