"""OAuth 2.0 client credentials of the connected account itself (RFC 6749, section 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.clock import iso
from keystow.errors import ApiError
from keystow.modes import flat as older
from keystow.modes.base import Granted, Mode, Renewed, bearer, with_learnt
from keystow.modes.fields import Field
from keystow.modes.oauth2 import end_of, with_end
from keystow.records.connection import Sealed
from keystow.secret import Secret
from keystow.text import trimmed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.modes.base import Offer
    from keystow.modes.flat import Flat
    from keystow.records.integration import Integration

# Without a date an imported token is tried for so long and then renewed (contract 9.7).
IMPORTED_SECONDS: Final = 55 * 60


class ClientCredentials(Mode):
    """Tokens that the client's own id and secret renew."""

    credential_type = "OAUTH2_CC"
    label = "oauth2CC"
    form = (Field("client_id", "client_id"), Field("client_secret", "client_secret"))
    imported = (
        Field("token", "token"),
        *form,
        Field("client_certificate", "text", required=False),
        Field("client_private_key", "text", required=False),
        Field("expires_at", "date", required=False),
    )
    older_shape = True

    def typed(self, body: dict[str, Any]) -> Secret[dict[str, Any]]:
        """Return the client of a body, which is checked by hand (contract 4.3).

        Raises:
            ApiError: 400 ``missing_client_id``, ``missing_client_secret``, ``invalid_body``.
        """
        from keystow.validation import CLIENT_ID_MAX, KEY_MAX, TOKEN_MAX

        longest = {
            "client_id": CLIENT_ID_MAX,
            "client_secret": KEY_MAX,
            "client_certificate": TOKEN_MAX,
            "client_private_key": TOKEN_MAX,
        }
        found: dict[str, Any] = {"type": "OAUTH2_CC", "client_secret": ""}
        for name, most in longest.items():
            value = body.get(name)
            if not value and not isinstance(value, str):  # null, 0, {} count as missing
                continue
            text = trimmed(value) if isinstance(value, str) else None
            if text is None or len(text) > most:
                raise ApiError(
                    "invalid_body", f"{name} must be a text of at most {most} characters"
                )
            if text:
                found[name] = text
        if "client_id" not in found:
            raise ApiError("missing_client_id", "client_id is missing")
        if not found["client_secret"] and "client_private_key" not in found:
            raise ApiError("missing_client_secret", "client_secret is missing")
        return Secret(found)

    def accept(self, ctx: Context, offer: Offer) -> Granted:
        """Ask for a token with the client.

        Raises:
            ApiError: 400 ``client_credentials_fetch_error``.
        """
        from keystow.catalog.interpolate import metadata_from
        from keystow.oauth.errors import TokenError

        config = dict(offer.sealed.connection_config.reveal())
        if offer.fixed.get("authorization_params"):
            config["authorization_params"] = offer.fixed["authorization_params"]
        if offer.integration.scopes and not config.get("oauth_scopes"):
            config["oauth_scopes"] = offer.integration.scopes
        sealed = Sealed(offer.sealed.credentials, Secret(config))
        try:
            found = _request_token(ctx, offer.provider, sealed).sealed
        except TokenError as error:
            raise ApiError(
                "client_credentials_fetch_error",
                f"The provider gave no token for this client ({error.code}): {error.description}",
            ) from None
        answer = found.credentials.reveal()["raw"]
        learnt = metadata_from(answer, offer.provider.definition, "token_response_metadata")
        return Granted(Sealed(found.credentials, Secret(with_learnt(config, learnt))))

    def from_import(
        self, given: dict[str, Any], now: float, raw: dict[str, Any] | None, *, endless: bool
    ) -> dict[str, Any]:
        """Return the token with its client; one without a date gets one."""
        del raw, endless
        default = {"expires_at": iso(now + IMPORTED_SECONDS)}
        return {**default, **end_of(given, "token"), **given, "raw": dict(given)}

    def from_flat(self, flat: Flat, now: float) -> dict[str, Any]:
        """Return the token, with the client as override."""
        older.need(flat, "access_token", "missing_access_token")
        return {
            "type": "OAUTH2_CC",
            "token": flat["access_token"],
            "client_id": flat.get("oauth_client_id_override"),
            "client_secret": flat.get("oauth_client_secret_override"),
            **older.expiry(flat, now),
        }

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return whether the client's own secret is there."""
        return bool(credentials.get("client_id") and credentials.get("client_secret"))

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Ask for another token with the same client."""
        del integration
        return _request_token(ctx, provider, sealed)

    def authorization(self, provider: Provider, credentials: Mapping[str, Any]) -> str:
        """Return the token as bearer."""
        del provider
        return bearer(credentials.get("token"))


def _request_token(ctx: Context, provider: Provider, sealed: Sealed) -> Renewed:
    """Return a credential with a new token.

    Raises:
        TokenError: no token came.
    """
    from keystow.oauth.authorization_params import ReservedParameter
    from keystow.oauth.errors import ConfigurationError
    from keystow.oauth.token_endpoint import CLIENT_LIFE, OAuthClient, client_credentials

    credentials = sealed.credentials.reveal()
    client = OAuthClient(credentials["client_id"], Secret(credentials.get("client_secret") or ""))
    config = sealed.connection_config.reveal()
    began = ctx.clock.now()
    asked = bool(provider.introspection)
    try:
        tokens = client_credentials(
            ctx.egress,
            provider,
            client,
            connection_config=config,
            now=began,
            default_life=None if asked else CLIENT_LIFE,
        )
    except ReservedParameter as error:
        raise ConfigurationError("reserved_parameter", str(error)) from error
    if asked:
        from dataclasses import replace

        tokens, _ = with_end(ctx, provider, client, tokens, config, began)
        if tokens.expires_at is None:
            tokens = replace(tokens, expires_at=began + CLIENT_LIFE)
    found: dict[str, Any] = {**credentials, "token": tokens.access_token.reveal()}
    if tokens.expires_at is not None:
        found["expires_at"] = iso(tokens.expires_at)
    found["raw"] = tokens.raw.reveal()
    return Renewed(
        Sealed(Secret(found), sealed.connection_config),
        None if tokens.expires_at is None else int(tokens.expires_at * 1000),
    )


MODE: Mode = ClientCredentials()
