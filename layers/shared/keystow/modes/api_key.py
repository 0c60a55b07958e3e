"""An API key typed in by its owner; where it goes in a request is said by the provider's entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.modes import flat as older
from keystow.modes.base import Mode
from keystow.modes.fields import Field

if TYPE_CHECKING:
    from keystow.modes.flat import Flat


class ApiKey(Mode):
    """A key that works until it is revoked."""

    credential_type = "API_KEY"
    label = "apikey"
    form = (Field("apiKey", "key"),)
    imported = form
    checkable = True

    def from_flat(self, flat: Flat, now: float) -> dict[str, Any]:
        """Return the key of ``api_key``."""
        del now
        older.need(flat, "api_key", "missing_api_key")
        return {"type": "API_KEY", "apiKey": flat["api_key"]}


MODE: Mode = ApiKey()
