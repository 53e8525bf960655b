"""Who is calling, over HTTP and over websocket."""

import secrets
from collections.abc import Mapping

from app.domain.access import Actor, Principal, Role

ADMINISTRATOR = Principal(Actor(id="admin", name="Administrator"), Role.ADMIN)


class Authenticator:
    """Knows the administrator by the bearer token that the process was started with."""

    def __init__(self, admin_token: str) -> None:
        self._admin_token = admin_token.encode()

    def principal(self, authorization: object) -> Principal | None:
        """The caller behind `Bearer <token>`; None for anything else."""
        if not isinstance(authorization, str):
            return None
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        # Compared in constant time, so that answering tells nothing of how far a guess was right.
        if not secrets.compare_digest(token.strip().encode(), self._admin_token):
            return None
        return ADMINISTRATOR


def authorization_of(connection_params: Mapping[str, object]) -> object:
    """The `authorization` of a connection_init payload, its key in any case."""
    return next((value for key, value in connection_params.items() if key.lower() == "authorization"), None)
