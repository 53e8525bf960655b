"""Which addresses messages may be sent to: none on this machine or in its private networks, unless a setting allows it.

An address is looked at when a connection is made to it, not when a name is saved: a name may lead elsewhere by then.
"""

import asyncio
import socket
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

# A gateway there would carry what is sent to the IPv4 address within (RFC 6052).
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


class NotDelivered(Exception):
    """The receiver does not have it, or has not said so. `is_final` if another attempt is of no use."""

    def __init__(self, why: str, *, retry_after: timedelta | None = None, is_final: bool = False) -> None:
        super().__init__(why)
        self.retry_after = retry_after
        self.is_final = is_final


class TargetRefused(NotDelivered, OSError):
    """Nothing is sent to such an address. (An OSError, so that libraries take it for a connection that failed.)"""


class Targets:
    """The addresses that messages may be sent to."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        """Addresses and networks that are allowed besides public ones. Raises ValueError for what is neither."""
        self._allowed: tuple[Network, ...] = tuple(ip_network(each) for each in allowed)

    def check(self, address: str) -> None:
        """Raise `TargetRefused` unless that is the address of a public host or an allowed one."""
        try:
            given = _meant(ip_address(address.partition("%")[0]))
        except ValueError:
            raise TargetRefused(f"{address} is not an address.") from None
        if any(given in network for network in self._allowed):
            return
        if not given.is_global or given.is_multicast:
            raise TargetRefused(
                f"{address} is an address of this machine or of a private network. To send there, name it in "
                "SLIPWAY_ALLOWED_TARGETS."
            )

    async def resolve(self, host: str, port: int) -> str:
        """The address to connect to for a host, each of whose addresses must be allowed. Raises `NotDelivered`."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NotDelivered(f"The host {host} is not found: {error}") from None
        addresses = [str(each[4][0]) for each in found]
        for address in addresses:
            self.check(address)
        return addresses[0]


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address
