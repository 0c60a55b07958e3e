"""Which URLs events may be sent to (contract 3), and how one with a login is kept.

A URL may carry a user name and a password (RFC 3986 §3.2.1). They are sent as Basic (RFC 7617) and
are secrets: before the URL is stored they are sealed, bound to the environment and to the rest of
the URL, and put into its fragment, which HTTP never sends (RFC 9110 §7.1). So whatever passes a
stored URL on passes its login on, and nothing but :func:`authorization` can open it.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from keystow.egress.errors import EgressRefused
from keystow.egress.guard import check_destination
from keystow.secret import Secret
from keystow.vault import Envelope, Purpose, VaultError

if TYPE_CHECKING:
    from keystow.vault import Vault

_NOT_THERE: Final = "nango.dev"  # a webhook URL never points at that service
_LOGIN: Final = "login="
_MOST: Final = 1_024


def refusal(url: str, *, loopback_allowed: bool) -> str | None:
    """Return why a URL could never be a receiver of events, None when it could be one.

    Args:
        url: as given, with its login.
        loopback_allowed: the setting of the local stack.
    """
    try:
        parts = urlsplit(url)
        check_destination(_plain(parts), allow_loopback=loopback_allowed)
    except ValueError:
        return str(EgressRefused("malformed_url"))
    except EgressRefused as refused:
        return str(refused)
    host = (parts.hostname or "").removesuffix(".")
    if host == _NOT_THERE or host.endswith(f".{_NOT_THERE}"):
        return "this host takes no webhooks of yours"
    if "@" in parts.netloc:
        user, password = _login(parts)
        if ":" in user or not (user + password).isprintable():  # RFC 7617 section 2
            return "this user name or password cannot be sent as Basic"
        if len(user + password) > _MOST:
            return "this user name and password are too long"
    return None


def stored(url: str, environment: str, vault: Vault, *, before: str | None = None) -> str:
    """Return a URL as it is kept: without fragment, its login sealed.

    Args:
        url: as given; one that :func:`refusal` has nothing against.
        environment: whose it is.
        vault: seals the login, if there is one.
        before: the stored URL that this one replaces. Nobody is shown a login, so the same URL
            without one keeps it; an empty one (``https://@host``) removes it.

    Raises:
        VaultUnavailable: the login cannot be sealed now.
    """
    parts = urlsplit(url)
    plain = _plain(parts)
    if "@" not in parts.netloc:
        return before if before is not None and shown(before) == plain else plain
    user, password = _login(parts)
    if not user and not password:
        return plain
    text = json.dumps([user, password]).encode()
    envelope = vault.seal(Purpose.WEBHOOK, environment, _binding(plain), text)
    packed = json.dumps([envelope.data_key, _text(envelope.nonce), _text(envelope.ciphertext)])
    return f"{plain}#{_LOGIN}{_text(packed.encode())}"


def shown(url: str) -> str:
    """Return a stored URL as it may be shown, logged and compared: without its login."""
    return url.partition("#")[0]


def authorization(url: str, environment: str, vault: Vault) -> Secret[str] | None:
    """Return the ``Authorization`` header for a stored URL, None when it has no login.

    Raises:
        VaultError: the login was sealed for another environment or URL, or is damaged.
        VaultUnavailable: it cannot be opened now.
    """
    plain, _, fragment = url.partition("#")
    if not fragment.startswith(_LOGIN):
        return None
    try:
        packed = json.loads(_bytes(fragment.removeprefix(_LOGIN)))
        envelope = Envelope(packed[0], _bytes(packed[1]), _bytes(packed[2]))
    except (ValueError, LookupError, TypeError) as error:
        raise VaultError("a webhook login is not an envelope") from error
    user, password = json.loads(vault.open(Purpose.WEBHOOK, environment, _binding(plain), envelope))
    token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return Secret(f"Basic {token}")


def _plain(parts: SplitResult) -> str:
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))


def _login(parts: SplitResult) -> tuple[str, str]:
    return unquote(parts.username or ""), unquote(parts.password or "")


def _binding(plain: str) -> tuple[str, ...]:
    return ("webhook-login", plain)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode("ascii")


def _bytes(value: str) -> bytes:
    return base64.urlsafe_b64decode(value)
