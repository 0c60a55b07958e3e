"""A user name and a password (RFC 7617)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from keystow.modes import flat as older
from keystow.modes.base import Mode
from keystow.modes.fields import Field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.modes.flat import Flat


class Basic(Mode):
    """A login that works until its owner changes it. Both parts may be empty."""

    credential_type = "BASIC"
    label = "basic"
    form = (Field("username", "user_name"), Field("password", "password"))
    imported = form
    checkable = True

    def from_flat(self, flat: Flat, now: float) -> dict[str, Any]:
        """Return the login; a password need not be there."""
        del now
        older.need(flat, "username", "missing_basic_username")
        return {"type": "BASIC", "password": "", **older.some(flat, "username", "password")}

    def authorization(self, provider: Provider, credentials: Mapping[str, Any]) -> str:
        """Return the login in base64 (section 2), as UTF-8."""
        del provider
        return header(credentials.get("username"), credentials.get("password"))


def header(username: Any, password: Any) -> str:
    """Return the header of a user name and a password, of which either may be missing."""
    pair = f"{username or ''}:{password or ''}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


MODE: Mode = Basic()
