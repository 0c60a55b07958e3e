"""Finding the authorization server of a protected resource (RFC 9728, RFC 8414, OpenID discovery).

    resource ──401, WWW-Authenticate──▶ resource metadata ──▶ issuer ──▶ server metadata
        └──────── well-known place ────────────┘                 └─ three well-known places

What is found was written by strangers. It must name who was asked, and each URL in it is one that
the guard lets out; nothing of it is sent a secret that belongs to somebody else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from keystow.egress.errors import EgressError
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from keystow.egress.client import Answer, Egress

REQUEST_SECONDS: Final = 4.0
LARGEST_DOCUMENT: Final = 200_000
_MOST_SCOPES: Final = 100
_LONGEST_URL: Final = 2_048
_OK: Final = 200
_UNAUTHORIZED: Final = 401
_PARAMETER: Final = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
_ENDPOINTS: Final = (
    *("authorization_endpoint", "token_endpoint"),
    *("registration_endpoint", "revocation_endpoint"),
)
_FLAGS: Final = (
    "authorization_response_iss_parameter_supported",
    "client_id_metadata_document_supported",
)
_PLAIN: Final = frozenset("-._~/:?&=%@!*+,[]")


class DiscoveryFailed(Exception):  # noqa: N818 - an outcome, not a fault
    """The authorization server was not found, or is none that can be trusted.

    The text says why, for people; it holds nothing that was received.
    """


class Resource(Value):
    """A protected resource (RFC 9728).

    Attributes:
        url: its identifier, sent as ``resource`` (RFC 8707) in every request of the grant.
        issuer: of its authorization server.
        scopes: that it wants at the least; empty: it does not say.
    """

    url: str
    issuer: str
    scopes: tuple[str, ...]


class Server(Value):
    """Metadata of an authorization server (RFC 8414), as far as it is used here.

    Attributes:
        issuer: the identifier that was asked for.
        found: its endpoints, lists of methods and flags, by the names of RFC 8414.
    """

    issuer: str
    found: dict[str, Any]


class Finder:
    """Asks one host after the other, within the time that is left.

    Args:
        egress: the way out.
        left: returns the seconds that are left for all requests together.
    """

    def __init__(self, egress: Egress, left: Callable[[], float]) -> None:
        self._egress = egress
        self._left = left

    def resource(self, url: str) -> Resource:
        """Return what a resource says of itself (RFC 9728 §3, §5).

        Args:
            url: of the resource, as its user gave it.

        Raises:
            DiscoveryFailed: it names no authorization server, or speaks of another resource.
        """
        challenge = self._challenge(url)
        named = challenge.get("resource_metadata")
        places = [named] if named else list(_places(url, "oauth-protected-resource"))
        document = self._first(places)
        if document is None:
            raise DiscoveryFailed("It does not tell which server signs people in for it")
        told = document.get("resource")
        if not isinstance(told, str) or not _is_plain_url(told) or not _covers(told, url):
            raise DiscoveryFailed("What it tells of itself is about another address")
        issuers = document.get("authorization_servers")
        if not (isinstance(issuers, list) and issuers and isinstance(issuers[0], str)):
            raise DiscoveryFailed("It does not tell which server signs people in for it")
        scopes = challenge["scope"].split() if challenge.get("scope") else None
        return Resource(told, issuers[0], _scopes(scopes or document.get("scopes_supported")))

    def server(self, issuer: str) -> Server:
        """Return the metadata of an authorization server (RFC 8414 §3, OpenID Discovery §4).

        Raises:
            DiscoveryFailed: there are none, they are another server's, or it lacks what is needed.
        """
        if not _is_plain_url(issuer):
            raise DiscoveryFailed("The address of its sign-in server is none")
        places = [
            *_places(issuer, "oauth-authorization-server", root=False),
            *_places(issuer, "openid-configuration", root=False),
            f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        ]
        document = self._first(list(dict.fromkeys(places)))
        if document is None:
            raise DiscoveryFailed("Its sign-in server does not tell how to sign in")
        # Section 3.3: whoever is asked for one issuer must not answer for another.
        if document.get("issuer") != issuer:
            raise DiscoveryFailed("Its sign-in server says that it is another one")
        found = _used(document)
        if not {"authorization_endpoint", "token_endpoint"} <= found.keys():
            raise DiscoveryFailed("Its sign-in server does not tell how to sign in")
        # OAuth 2.1: a server that does not announce S256 must be taken for one without PKCE.
        if "S256" not in _texts(document.get("code_challenge_methods_supported")):
            raise DiscoveryFailed("Its sign-in server does not protect codes (PKCE with S256)")
        return Server(issuer, found)

    def _challenge(self, url: str) -> dict[str, str]:
        """Return the parameters of the challenge to a request without a token (RFC 9728 §5.1)."""
        try:
            answer = self._get(url)
        except EgressError as error:
            raise DiscoveryFailed("It cannot be reached") from error
        if answer.status != _UNAUTHORIZED:
            return {}
        header = answer.headers.get("www-authenticate", "")
        return {
            name.lower(): quoted.replace("\\", "") or plain
            for name, quoted, plain in _PARAMETER.findall(header)
        }

    def _first(self, places: list[str]) -> Mapping[str, Any] | None:
        for place in places:
            try:
                answer = self._get(place)
                document = answer.json() if answer.status == _OK else None
            except (EgressError, ValueError):
                continue
            if isinstance(document, dict):
                return document
        return None

    def _get(self, url: str) -> Answer:
        left = min(REQUEST_SECONDS, self._left())
        if left <= 0:
            raise DiscoveryFailed("It takes too long to answer")
        headers = {"Accept": "application/json, text/event-stream", "User-Agent": "Keystow"}
        return self._egress.send(
            "GET", url, headers=headers, deadline=left, max_bytes=LARGEST_DOCUMENT
        )


def canonical(url: str) -> str:
    """Return a resource's URL in the form in which it is compared: RFC 8707 §2, RFC 3986 §6.2."""
    parts = urlsplit(url)
    host = parts.netloc.lower()
    host = host.removesuffix(":443") if parts.scheme.lower() == "https" else host
    return urlunsplit((parts.scheme.lower(), host, parts.path, parts.query, ""))


def _covers(resource: str, url: str) -> bool:
    """Return whether a resource is the one that was asked for, or what that lies in."""
    told, asked = canonical(resource), canonical(url)
    return asked.rstrip("/") == told.rstrip("/") or asked.startswith(told.rstrip("/") + "/")


def _places(url: str, name: str, *, root: bool = True) -> Iterator[str]:
    """Yield the well-known places of a URL: with its path behind (RFC 8414 §3.1), and without."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}/.well-known/{name}"
    yield f"{origin}{path}"
    if root and path:
        yield origin


def _is_plain_url(text: str) -> bool:
    """Return whether a URL can stand in a definition: no placeholder, nothing to encode."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    if len(text) > _LONGEST_URL or parts.scheme not in {"https", "http"} or not parts.hostname:
        return False
    return all(each.isascii() and (each.isalnum() or each in _PLAIN) for each in text)


def _used(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is used of a server's metadata, each member of the form it must have."""
    found: dict[str, Any] = {
        name: document[name]
        for name in _ENDPOINTS
        if isinstance(document.get(name), str) and _is_plain_url(document[name])
    }
    found |= {name: True for name in _FLAGS if document.get(name) is True}
    found["scopes_supported"] = list(_scopes(document.get("scopes_supported")))
    return found


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _scopes(value: Any) -> tuple[str, ...]:
    return tuple(each for each in _texts(value) if _SCOPE.fullmatch(each))[:_MOST_SCOPES]
