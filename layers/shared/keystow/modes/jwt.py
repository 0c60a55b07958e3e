"""A token that is signed here with the account's own key, without asking anybody (RFC 7519)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.clock import iso
from keystow.errors import ApiError
from keystow.modes import declared
from keystow.modes.base import Granted, Mode, Renewed, bearer
from keystow.records.connection import Sealed
from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.modes.base import Offer
    from keystow.records.integration import Integration

_OURS: Final = frozenset({"token", "expires_at"})


class SelfSigned(Mode):
    """A token that another signature renews."""

    credential_type = "JWT"
    label = "jwt"
    by_entry = True

    def typed(self, body: dict[str, Any]) -> Secret[dict[str, Any]]:
        """Return the fields of a body, whatever the entry calls them."""
        return Secret({"type": "JWT", **declared.typed(body, "JWT", _OURS)})

    def accept(self, ctx: Context, offer: Offer) -> Granted:
        """Sign a token, and try it where the entry says how.

        Raises:
            ApiError: 400 ``invalid_body``, ``failed_to_sign``, ``connection_test_failed``.
        """
        from keystow.modes.verification import verify

        found = _signed(ctx, offer, ())
        verify(ctx, offer.integration, offer.provider, found)
        return Granted(found)

    def admit(self, ctx: Context, offer: Offer) -> Sealed:
        """Sign a token of imported fields, and try it where the entry says how."""
        from keystow.modes.verification import verify

        found = _signed(ctx, offer, ("credentials",))
        verify(ctx, offer.integration, offer.provider, found)
        return found

    def fields_of(self, provider: Provider) -> tuple[str, ...]:
        """Return what the entry declares."""
        return declared.names(provider)

    def from_import(
        self, given: dict[str, Any], now: float, raw: dict[str, Any] | None, *, endless: bool
    ) -> dict[str, Any]:
        """Return the fields; a token that came along is made anew."""
        del now, raw, endless
        fields = {name: value for name, value in given.items() if name not in _OURS}
        return {"type": "JWT", **declared.typed(fields, "JWT", (), ("credentials",))}

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return that it is: whoever has the key signs again."""
        del credentials
        return True

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Sign another token with the same key."""
        del integration
        return _renewed(ctx, provider, sealed)

    def authorization(self, provider: Provider, credentials: Mapping[str, Any]) -> str:
        """Return the token as bearer."""
        del provider
        return bearer(credentials.get("token"))


def _signed(ctx: Context, offer: Offer, place: tuple[str, ...]) -> Sealed:
    from keystow.oauth.errors import TokenError

    credentials = offer.sealed.credentials.reveal()
    found = {"type": "JWT", **declared.checked(offer.provider, _fields(credentials), (), place)}
    sealed = Sealed(Secret(found), offer.sealed.connection_config)
    try:
        return _renewed(ctx, offer.provider, sealed).sealed
    except TokenError as error:
        text = error.description
        raise ApiError("failed_to_sign", text[:1].upper() + text[1:], payload={}) from None


def _renewed(ctx: Context, provider: Provider, sealed: Sealed) -> Renewed:
    from keystow.modes.self_signed import token_of
    from keystow.oauth.token_request import template_values

    now = ctx.clock.now()
    credentials = sealed.credentials.reveal()
    config = sealed.connection_config.reveal()
    values = {
        **template_values({}, now),
        **_fields(credentials),
        "connectionConfig": config,
        "credentials": _fields(credentials),
    }
    token, ends = token_of(provider, values, now)
    found = {**credentials, "token": token, "expires_at": iso(ends)}
    return Renewed(Sealed(Secret(found), sealed.connection_config), int(ends * 1000))


def _fields(credentials: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in credentials.items() if k not in _OURS and k != "type"}


MODE: Mode = SelfSigned()
