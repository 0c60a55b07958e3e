"""No credential at all: the connection says only whose account it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.modes.base import Granted, Mode

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.modes.base import Offer
    from keystow.modes.flat import Flat


class NoCredential(Mode):
    """A connection without a secret."""

    credential_type = "NONE"
    label = "unauth"
    has_secret = False

    def accept(self, ctx: Context, offer: Offer) -> Granted:
        """Take it as it is: there is nothing to try."""
        del ctx
        return Granted(offer.sealed)

    def from_flat(self, flat: Flat, now: float) -> dict[str, Any]:
        """Return that there is none."""
        del flat, now
        return {"type": "NONE"}

    def shown(self, credentials: dict[str, Any]) -> dict[str, Any]:
        """Return nothing."""
        del credentials
        return {}


MODE: Mode = NoCredential()
