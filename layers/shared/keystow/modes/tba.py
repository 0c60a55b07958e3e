"""A NetSuite token (Token-Based Authentication): OAuth 1.0a signatures, and a token that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.errors import ApiError, Issue
from keystow.modes import flat as older
from keystow.modes.base import Mode
from keystow.modes.fields import Field
from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystow.catalog.loader import Provider
    from keystow.catalog.proxy_request import OutgoingRequest
    from keystow.context import Context
    from keystow.modes.base import Granted, Offer
    from keystow.modes.flat import Flat
    from keystow.records.connection import Sealed
    from keystow.records.integration import Integration

_METHOD: Final = "HMAC-SHA256"
_OVERRIDES: Final = ("oauth_client_id_override", "oauth_client_secret_override")


class TokenBased(Mode):
    """A token of one account, which the config names.

    Token and client sign each request together. The client is the app's, or the connection's own.
    """

    credential_type = "TBA"
    label = "tba"
    form = (
        Field("token_id", "token"),
        Field("token_secret", "token"),
        Field("oauth_client_id_override", "client_id", required=False),
        Field("oauth_client_secret_override", "client_secret", required=False),
    )
    imported = (
        Field("token_id", "token"),
        Field("token_secret", "token"),
        Field("config_override", "client", required=False),
    )
    checkable = True

    def fields_of(self, provider: Provider) -> tuple[str, ...]:
        """Return what every end user is asked for; a client of one's own is for backends' pages."""
        del provider
        return ("token_id", "token_secret")

    def typed(self, body: dict[str, Any]) -> Secret[dict[str, Any]]:
        """Return the token, with the client of the connection's own if there is one."""
        found = super().typed(body).reveal()
        own = {
            name.removeprefix("oauth_").removesuffix("_override"): found.pop(name)
            for name in _OVERRIDES
            if name in found
        }
        own = {name: text for name, text in own.items() if text}
        if len(own) == 1:
            missing = next(name for name in _OVERRIDES if name[6:-9] not in own)
            issue = Issue("custom", "A client needs both its id and its secret", (missing,))
            raise ApiError("invalid_body", issues=[issue])
        return Secret({**found, "config_override": own} if own else found)

    def accept(self, ctx: Context, offer: Offer) -> Granted:
        """Try the token where its entry says how.

        Raises:
            ApiError: 400 ``invalid_body`` without an account; ``connection_test_failed``.
        """
        _require_account(offer.sealed.connection_config.reveal(), "invalid_body")
        return super().accept(ctx, offer)

    def check_import(
        self, provider: Provider, credentials: Mapping[str, Any], config: Mapping[str, Any]
    ) -> None:
        """Require the account, which stands in the host."""
        del provider, credentials
        _require_account(config, "invalid_body")

    def from_flat(self, flat: Flat, now: float) -> dict[str, Any]:
        """Return the token."""
        del now
        config = flat.get("connection_config") or {}
        _require_account(config if isinstance(config, dict) else {}, "missing_account_id")
        found = {"type": "TBA", **older.some(flat, "token_id", "token_secret")}
        own = {name[6:-9]: flat[name] for name in _OVERRIDES if flat.get(name)}
        return {**found, "config_override": own} if own else found

    def signed(
        self,
        ctx: Context,
        provider: Provider,
        integration: Integration,
        sealed: Sealed,
        request: OutgoingRequest,
    ) -> OutgoingRequest:
        """Return the request with the signature of client and token; the realm is the account."""
        from keystow.modes.oauth1 import signer_of, with_signature
        from keystow.value import replace

        del provider
        credentials = sealed.credentials.reveal()
        account = str(sealed.connection_config.reveal().get("accountId") or "")
        signer = replace(
            signer_of(ctx, integration, credentials.get("config_override"), _METHOD),
            token=str(credentials.get("token_id") or ""),
            token_secret=Secret(str(credentials.get("token_secret") or "")),
            realm=account.upper().replace("-", "_"),
        )
        return with_signature(ctx, signer, request)

    def with_client(
        self, ctx: Context, sealed: Sealed, integration: Callable[[], Integration | None]
    ) -> Sealed:
        """Add the client as it is now: it is not copied into connections (contract 8.2)."""
        from keystow.value import replace

        found = integration()
        if found is None:
            return sealed
        secret = found.secrets(ctx.vault).client_secret.reveal()
        client = {"oauth_client_id": found.client_id or "", "oauth_client_secret": secret}
        config = {**sealed.connection_config.reveal(), **client}
        return replace(sealed, connection_config=Secret(config))


def _require_account(config: Mapping[str, Any], code: str) -> None:
    if not config.get("accountId"):
        raise ApiError(code, "The account (accountId in the connection's config) is missing")


MODE: Mode = TokenBased()
