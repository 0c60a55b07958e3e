"""A NetSuite token (Token-Based Authentication): OAuth 1.0a signatures, and a token that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.errors import ApiError
from keystow.modes import flat as older
from keystow.modes.base import Mode
from keystow.modes.fields import Field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.modes.flat import Flat


class TokenBased(Mode):
    """A token of one account, which the config names."""

    credential_type = "TBA"
    imported = (
        Field("token_id", "token"),
        Field("token_secret", "token"),
        Field("config_override", "client", required=False),
    )

    def check_import(
        self, provider: Provider, credentials: Mapping[str, Any], config: Mapping[str, Any]
    ) -> None:
        """Require the account, which stands in the host."""
        del provider, credentials
        if not config.get("accountId"):
            raise ApiError("invalid_body", "connection_config.accountId is required for TBA")

    def from_flat(self, flat: Flat, now: float) -> dict[str, Any]:
        """Return the token."""
        del now
        config = flat.get("connection_config") or {}
        if not isinstance(config, dict) or not config.get("accountId"):
            raise ApiError("missing_account_id", "connection_config.accountId is missing")
        return {"type": "TBA", **older.some(flat, "token_id", "token_secret")}


MODE: Mode = TokenBased()
