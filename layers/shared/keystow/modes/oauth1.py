"""An OAuth 1.0a token (RFC 5849); such tokens do not expire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.modes import flat as older
from keystow.modes.base import Mode
from keystow.modes.fields import Field

if TYPE_CHECKING:
    from keystow.modes.flat import Flat

_NAMES = ("oauth_token", "oauth_token_secret")


class OAuth1(Mode):
    """A token with a secret that signs each request."""

    credential_type = "OAUTH1"
    imported = (Field("oauth_token", "token"), Field("oauth_token_secret", "token"))

    def from_import(
        self, given: dict[str, Any], now: float, raw: dict[str, Any] | None, *, endless: bool
    ) -> dict[str, Any]:
        """Return the token, with the answer it came in as ``raw``."""
        del now, endless
        return {**given, "raw": dict(given) if raw is None else raw}

    def from_flat(self, flat: Flat, now: float) -> dict[str, Any]:
        """Return the token."""
        del now
        for name in _NAMES:
            older.need(flat, name, f"missing_{name}")
        return {"type": "OAUTH1", **older.some(flat, *_NAMES)}


MODE: Mode = OAuth1()
