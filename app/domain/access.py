"""Who acts, and what their role allows."""

from enum import Enum

from msgspec import Struct

from app.domain.problems import PermissionDenied


class ActorKind(Enum):
    """Whether a person (or their token) acted, or Slipway itself."""

    USER = "USER"
    SYSTEM = "SYSTEM"


class Actor(Struct, frozen=True):
    """Who did something, as it stays on record."""

    id: str
    name: str
    kind: ActorKind = ActorKind.USER


class Role(Enum):
    """What a caller may do; each role includes all before it (semantics.md, "Roles")."""

    VIEWER = "VIEWER"
    OPERATOR = "OPERATOR"
    APPROVER = "APPROVER"
    ADMIN = "ADMIN"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do all that `other` may."""
        return _RANK[self] >= _RANK[other]


_RANK = {role: rank for rank, role in enumerate(Role)}


class Principal(Struct, frozen=True):
    """A caller: the actor and the role that the actor holds."""

    actor: Actor
    role: Role


SYSTEM = Actor(id="system", name="Slipway", kind=ActorKind.SYSTEM)
ADMINISTRATOR = Principal(Actor(id="admin", name="Administrator"), Role.ADMIN)


def require_role(principal: Principal, role: Role, to_do: str) -> None:
    """Raise `PermissionDenied` unless the caller holds `role` or one that includes it."""
    if not principal.role.includes(role):
        raise PermissionDenied(f"You need the role {role.value} to {to_do}; yours is {principal.role.value}.", role)
