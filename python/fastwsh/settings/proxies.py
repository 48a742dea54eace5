"""Behind a proxy: which peers may report the addresses of their clients.

Owns the options for that and their notation. The native server reads what a proxy reports.
"""

from __future__ import annotations

import argparse

from fastwsh.settings.arguments import spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    from typing import Any, Final, Literal, TypedDict

    Trusted = ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix"]
    """A network of trusted addresses, or `UNIX`."""

    class Settings(TypedDict):
        """The settings for the native server."""

        trusted_networks: list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]
        trusts_unix: bool
        proxy_protocol: bool


__all__ = ["UNIX", "add_proxies", "parse_trusted", "settings"]

UNIX: Final = "unix"
"""Stands for the peers of Unix sockets, which have no address."""


# The prefix of an IPv4 address in IPv6 notation (RFC 4291 2.5.5.2).
_MAPPED_BITS: Final = 96


def add_proxies(group: argparse._ArgumentGroup) -> None:
    """Add the options for trusted proxies."""
    group.add_argument(
        *spelled("--trusted-proxies"),
        dest="trusted_proxies",
        # the type returns a list, because a value may have several entries
        action="extend",
        type=parse_trusted,
        metavar="ADDRESSES",
        help="accept the client's address from these peers, in X-Forwarded-For or with "
        "--proxy-protocol: addresses, networks such as 10.0.0.0/8, and the word unix for "
        "Unix sockets, separated by commas; may be repeated (default: none)",
    )
    group.add_argument(
        *spelled("--proxy-protocol"),
        dest="proxy_protocol",
        action="store_true",
        help="connections of --trusted-proxies begin with a header of the PROXY protocol, "
        "version 1 or 2; connections without it are closed",
    )


def parse_trusted(text: str) -> list[Trusted]:
    """Parse addresses, networks and `unix`, separated by commas."""
    return [_parse_one(part.strip()) for part in text.split(",")]


def _parse_one(text: str) -> Trusted:
    import ipaddress  # noqa: PLC0415 (few servers are behind a proxy)

    if text == UNIX:
        return "unix"
    if "%" in text:
        # the system reports the zone separately from the address, so they would never be equal
        remedy = f"write {text.partition('%')[0]}"
        raise argparse.ArgumentTypeError(f"{text!r} names a zone, which no peer does; {remedy}")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        remedy = "name an address, a network such as 10.0.0.0/8, or unix"
        raise argparse.ArgumentTypeError(f"{text!r} is no proxy to trust; {remedy}") from None
    address, slash, _ = text.partition("/")
    if slash and ipaddress.ip_address(address) != network.network_address:
        # a typing mistake must not make the server trust too much
        remedy = f"write {network} for the network, or {address}"
        raise argparse.ArgumentTypeError(f"{text!r} is an address within a network; {remedy}")
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        # the system reports such peers by their IPv4 addresses
        return ipaddress.ip_network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def settings(options: Any) -> Settings:
    """Read the options.

    Args:
        options: pywebsocket's options; an embedder that leaves these out trusts nobody.
    """
    trusted: list[Trusted] = getattr(options, "trusted_proxies", None) or []
    return {
        "trusted_networks": [
            (entry.network_address, entry.prefixlen) for entry in trusted if entry != UNIX
        ],
        "trusts_unix": UNIX in trusted,
        "proxy_protocol": bool(getattr(options, "proxy_protocol", False)),
    }
