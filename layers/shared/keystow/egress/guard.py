"""Decides where a request may go: the shape of the URL, and the address that it resolves to.

The decision that counts is made on the resolved address, which is then the one connected to: a
name can change its answer between two look-ups (rebinding), an address cannot. Sources: the IANA
special-purpose address registries (RFC 6890 and its successors), RFC 6052 (NAT64), RFC 3056
(6to4), RFC 4380 (Teredo), the WHATWG list of ports that are not the web's.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from keystow.egress.errors import EgressRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

Address = IPv4Address | IPv6Address

# First match wins, so that the narrower reason stands before the wider one.
_REFUSED_V4: Final[tuple[tuple[str, str], ...]] = (
    ("169.254.169.254/32", "metadata"),  # EC2, and most other clouds
    ("169.254.170.2/32", "metadata"),  # credentials of ECS tasks
    ("169.254.170.23/32", "metadata"),  # credentials of EKS pods
    ("169.254.0.0/16", "link_local"),
    ("127.0.0.0/8", "loopback"),
    ("0.0.0.0/8", "unspecified"),
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("100.100.100.200/32", "metadata"),  # inside the shared range, named for the reader of a log
    ("100.64.0.0/10", "shared"),
    ("192.0.0.0/24", "reserved"),  # IETF protocol assignments
    ("192.0.2.0/24", "reserved"),  # documentation
    ("192.31.196.0/24", "reserved"),  # AS112
    ("192.52.193.0/24", "reserved"),  # AMT
    ("192.88.99.0/24", "reserved"),  # 6to4 relays
    ("192.175.48.0/24", "reserved"),  # AS112
    ("198.18.0.0/15", "reserved"),  # benchmarking
    ("198.51.100.0/24", "reserved"),  # documentation
    ("203.0.113.0/24", "reserved"),  # documentation
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),  # with 255.255.255.255
)
_REFUSED_V6: Final[tuple[tuple[str, str], ...]] = (
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "ipv4_mapped"),
    ("::ffff:0:0:0/96", "ipv4_mapped"),  # "translated", RFC 2765
    ("::/96", "ipv4_compatible"),
    ("64:ff9b::/96", "nat64"),
    ("64:ff9b:1::/48", "nat64"),
    ("2001::/32", "teredo"),
    ("2001::/23", "reserved"),  # IETF protocol assignments
    ("2001:db8::/32", "reserved"),  # documentation
    ("2002::/16", "sixtofour"),
    ("2620:4f:8000::/48", "reserved"),  # AS112
    ("3fff::/20", "reserved"),  # documentation
    ("fd00:ec2::/32", "metadata"),  # EC2's own services over IPv6
    ("fc00::/7", "private"),
    ("fe80::/10", "link_local"),
    ("fec0::/10", "private"),  # the former site-local range
    ("ff00::/8", "multicast"),
)
_V4: Final = tuple((IPv4Network(network), reason) for network, reason in _REFUSED_V4)
_V6: Final = tuple((IPv6Network(network), reason) for network, reason in _REFUSED_V6)
_NAT64: Final = tuple(network for network, reason in _V6 if reason == "nat64")
_GLOBAL_UNICAST: Final = ip_network("2000::/3")

# Ports above 1023 that browsers refuse too, since they speak something else than HTTP.
_REFUSED_PORTS: Final = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566}
    | {6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)
_HTTPS_PORT: Final = 443
_FIRST_FREE_PORT: Final = 1024
_LARGEST_PORT: Final = 65535
_LONGEST_URL: Final = 16_384
_BAD_IN_URL: Final = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_LONGEST_NAME: Final = 253
_SAFE_IN_PATH: Final = "/%:@!$&'()*+,;=-._~"
_SAFE_IN_QUERY: Final = _SAFE_IN_PATH + "?[]|{}^`"
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".localdomain", ".internal", ".home.arpa")
_HOST_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


@dataclass(frozen=True)
class Target:
    """A URL, taken apart once: what was checked is what is connected to.

    Attributes:
        scheme: ``https`` or ``http``.
        host: lower-cased ASCII name without trailing dot, or an IP literal without brackets.
        port: never 0.
        path: path and query, ASCII, at least ``/``; may hold secrets, so it is not shown.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Return the value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = _HTTPS_PORT if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return scheme, host and port: what may see the same credentials."""
        return self.scheme, self.host, self.port

    def __repr__(self) -> str:
        return f"Target({self.scheme}://{self.authority}/...)"


def parse_target(url: str, *, allow_loopback: bool = False) -> Target:
    """Take a URL apart and refuse what no URL of ours looks like.

    Args:
        url: absolute URL.
        allow_loopback: whether ``http`` may be asked for at all (the address decides later).

    Raises:
        EgressRefused: malformed_url, scheme, userinfo or port.
    """
    if len(url) > _LONGEST_URL or _BAD_IN_URL.search(url):
        raise EgressRefused("malformed_url")
    try:
        parts = urlsplit(url)
        port = parts.port
        name = parts.hostname or ""
    except ValueError:
        raise EgressRefused("malformed_url") from None
    scheme = parts.scheme.lower()
    if scheme != "https" and not (scheme == "http" and allow_loopback):
        raise EgressRefused("scheme")
    if "@" in parts.netloc:
        raise EgressRefused("userinfo")
    host = _host(name)
    if port is None:
        if parts.netloc.endswith(":"):
            raise EgressRefused("malformed_url")
        port = _HTTPS_PORT if scheme == "https" else 80
    _check_port(port, scheme, allow_loopback=allow_loopback)
    path = quote(parts.path or "/", safe=_SAFE_IN_PATH)
    if parts.query:
        path += "?" + quote(parts.query, safe=_SAFE_IN_QUERY)
    return Target(scheme, host, port, path)


def _host(name: str) -> str:
    """Return the host in the one form that everything after it uses."""
    if ":" in name:  # an IPv6 literal; urlsplit has checked the brackets
        try:
            literal = IPv6Address(name)
        except ValueError:
            raise EgressRefused("malformed_url") from None
        if literal.scope_id is not None:
            raise EgressRefused("link_local")
        return str(literal)
    if not name.isascii():
        import idna

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise EgressRefused("malformed_url") from None
    host = name.lower().removesuffix(".")
    labels = host.split(".")
    if (
        len(host) > _LONGEST_NAME
        or not set(host) <= _HOST_CHARACTERS
        or any(not label or len(label) > 63 for label in labels)  # noqa: PLR2004 (RFC 1035)
    ):
        raise EgressRefused("malformed_url")
    return host


def _check_port(port: int, scheme: str, *, allow_loopback: bool) -> None:
    if allow_loopback and scheme == "http" and 0 < port <= _LARGEST_PORT:
        return
    if port == _HTTPS_PORT:
        return
    if port < _FIRST_FREE_PORT or port in _REFUSED_PORTS:
        raise EgressRefused("port")


def literal_address(host: str) -> Address | None:
    """Return the address that a host spells out, in any of the spellings C libraries accept.

    ``127.1``, ``2130706433`` and ``0x7f.1`` are 127.0.0.1 to a resolver, so they are to us.
    """
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def refusal_of(address: Address, *, allow_loopback: bool = False) -> str | None:
    """Return why an address may not be connected to, or None when it may.

    Args:
        address: the resolved address.
        allow_loopback: let 127.0.0.0/8 and ::1 pass (local stack only).
    """
    if isinstance(address, IPv4Address):
        for network, reason in _V4:
            if address in network:
                return None if allow_loopback and reason == "loopback" else reason
        return None
    if address.scope_id is not None:
        return "link_local"
    for network6, reason in _V6:
        if address in network6:
            return None if allow_loopback and reason == "loopback" else reason
    return None if address in _GLOBAL_UNICAST else "reserved"


def approve(addresses: Sequence[Address], target: Target, *, allow_loopback: bool) -> list[Address]:
    """Return the addresses that may be connected to, all of one checked look-up.

    One refused address spoils the answer: a public name that also points inside is either broken
    or hostile. Only addresses that a DNS64 resolver made up beside real ones are passed over.

    Raises:
        EgressRefused: with the kind of the offending address, or ``scheme`` for http anywhere
            but on loopback.
    """
    real = [a for a in addresses if not any(a.version == 6 and a in n for n in _NAT64)]  # noqa: PLR2004
    approved = list(dict.fromkeys(real or addresses))
    for address in approved:
        reason = refusal_of(address, allow_loopback=allow_loopback)
        if reason is not None:
            raise EgressRefused(reason)
        if target.scheme == "http" and not address.is_loopback:
            raise EgressRefused("scheme")
    return approved


def check_destination(url: str, *, allow_loopback: bool) -> None:
    """Refuse a URL that could never be a destination, without asking any resolver.

    For URLs given by users (webhook URLs, provider URLs): an early, clear no. It does not replace
    the check of the resolved address, which :class:`keystow.egress.client.Egress` makes at every
    request.

    Args:
        url: absolute URL, already interpolated.
        allow_loopback: the setting of the local stack.

    Raises:
        EgressRefused: see :func:`parse_target`; ``name`` for names that mean this machine or
            this network, or the kind of a literal address.
    """
    target = parse_target(url, allow_loopback=allow_loopback)
    address = literal_address(target.host)
    if address is not None:
        approve([address], target, allow_loopback=allow_loopback)
        return
    is_localhost = target.host == "localhost" or target.host.endswith(".localhost")
    if is_localhost and allow_loopback:
        return
    if is_localhost or "." not in target.host or target.host.endswith(_LOCAL_SUFFIXES):
        raise EgressRefused("name")
    if target.scheme == "http":
        raise EgressRefused("scheme")
