"""Decides whether an address may be connected to: only the public internet, and networks that the source names.

Pure. `guarded.py` asks for each address that a name resolves to, right before it connects to that very address.
The tables are IANA's special-purpose registries of IPv4 and IPv6; the standard library's `is_global` differs between
patch releases, and lets several of these through.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from lectern_contract.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::1/128", "loopback"),
        ("::/128", "this host"),
        ("::ffff:0:0/96", "an IPv4 address inside an IPv6 one"),
        ("::/96", "an IPv4 address inside an IPv6 one"),
        ("64:ff9b::/96", "translated to IPv4"),
        ("64:ff9b:1::/48", "translated to IPv4"),
        ("2001:db8::/32", "for documentation"),
        ("2001::/23", "reserved"),
        ("2002::/16", "tunnelled to IPv4 (6to4)"),
        ("2620:4f:8000::/48", "reserved"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
_UNICAST = IPv6Network("2000::/3")
_METADATA: frozenset[Address] = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.123",
        "169.254.169.249",
        "169.254.169.250",
        "169.254.169.253",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "192.0.0.192",
        "fd00:ec2::23",
        "fd00:ec2::253",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)
"""Where clouds hand credentials to whoever asks; one of them lies in the public internet."""
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks that are written as CIDR; raises `ConfigurationError` for anything else."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError as error:
            raise ConfigurationError(
                f"spec.http.privateNetworks: {text!r} is not a network ({error}); write it as 10.1.0.0/16"
            ) from error
    return tuple(found)


def refusal(text: str, private: Sequence[Network]) -> str | None:
    """Why the address `text` may not be connected to, or None when it may.

    An address of `private` may, whatever it is, with two exceptions: one that stands for an IPv4 address needs that
    one allowed as well, and one where a cloud hands out credentials has to be named by itself.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "no address"
    if getattr(address, "scope_id", None):
        return "an address with a zone"
    inside = [network for network in private if address.version == network.version and address in network]
    if address in _METADATA and not any(network.num_addresses == 1 for network in inside):
        return "an address of a cloud's metadata"
    embedded = _embedded(address)
    if embedded is not None and (inner := refusal(str(embedded), private)) is not None:
        return f"{inner}, as {embedded} inside an IPv6 address"
    return None if inside else _kind(address)


def _kind(address: Address) -> str | None:
    for network, kind in _NOT_PUBLIC:
        if address.version == network.version and address in network:
            return kind
    return "reserved" if address.version == 6 and address not in _UNICAST else None


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that a router or the kernel takes an IPv6 one for."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return None
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
