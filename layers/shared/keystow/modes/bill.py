"""A session of a user name, a password, an organization and a developer key (contract 9.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.clock import iso
from keystow.errors import ApiError
from keystow.modes.base import Granted, Mode, Renewed
from keystow.modes.fields import Field
from keystow.records.connection import Sealed
from keystow.secret import Secret

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.modes.base import Offer
    from keystow.records.integration import Integration

# A session ends after 35 minutes without use (contract 8.2).
SESSION_SECONDS: Final = 35 * 60
_DEADLINE_SECONDS: Final = 20.0


class Bill(Mode):
    """A session that the login renews."""

    credential_type = "BILL"
    label = "bill"
    form = (
        Field("username", "user_name"),
        Field("password", "password"),
        Field("organization_id", "key"),
        Field("dev_key", "key"),
    )
    imported = (
        *form,
        Field("session_id", "token", required=False),
        Field("user_id", "token", required=False),
        Field("expires_at", "date", required=False),
    )

    def accept(self, ctx: Context, offer: Offer) -> Granted:
        """Log in.

        Raises:
            ApiError: 400 ``bill_tokens_fetch_error``, ``invalid_bill_credentials``.
        """
        return Granted(_logged_in(ctx, offer))

    def from_import(
        self, given: dict[str, Any], now: float, raw: dict[str, Any] | None, *, endless: bool
    ) -> dict[str, Any]:
        """Return the login with its session, if that is still open."""
        del raw, endless
        if given.get("session_id"):
            return {"expires_at": iso(now + SESSION_SECONDS), **given}
        return {name: value for name, value in given.items() if name != "expires_at"}

    def admit(self, ctx: Context, offer: Offer) -> Sealed:
        """Log in where no session came along."""
        if offer.sealed.credentials.reveal().get("session_id"):
            return offer.sealed
        return _logged_in(ctx, offer)

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return whether the login is there."""
        return bool(credentials.get("username") and credentials.get("dev_key"))

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Log in again."""
        del integration
        return _log_in(ctx, provider, sealed)


def _logged_in(ctx: Context, offer: Offer) -> Sealed:
    from keystow.oauth.errors import TokenError

    try:
        return _log_in(ctx, offer.provider, offer.sealed).sealed
    except TokenError as error:
        unusable = error.kind == "unusable"
        code = "invalid_bill_credentials" if unusable else "bill_tokens_fetch_error"
        text = f"The provider gave no session ({error.code}): {error.description}"
        raise ApiError(code, text, payload={}) from None


def _log_in(ctx: Context, provider: Provider, sealed: Sealed) -> Renewed:
    """Return a credential with a new session. Raises TokenError."""
    import json

    from keystow.egress.errors import EgressError
    from keystow.oauth import token_answer
    from keystow.oauth.errors import from_egress
    from keystow.oauth.token_request import LARGEST_ANSWER, refused, url_of

    credentials = sealed.credentials.reveal()
    config = sealed.connection_config.reveal()
    body = {
        "username": credentials["username"],
        "password": credentials["password"],
        "organizationId": credentials["organization_id"],
        "devKey": credentials["dev_key"],
    }
    now = ctx.clock.now()
    try:
        answer = ctx.egress.send(
            "POST",
            url_of(provider.token_url, provider, config),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": "Keystow",
            },
            body=json.dumps(body).encode(),
            deadline=_DEADLINE_SECONDS,
            max_bytes=LARGEST_ANSWER,
        )
    except EgressError as error:
        raise from_egress(error) from None
    raw = token_answer.decoded(answer)
    good = raw is not None and 200 <= answer.status < 300  # noqa: PLR2004
    session = raw.get("sessionId") if raw is not None and good else None
    if raw is None or not isinstance(session, str) or not session:
        raise refused(provider, answer, raw, tuple(body.values()), now)
    ends = now + SESSION_SECONDS
    found = {**credentials, "raw": raw, "session_id": session, "expires_at": iso(ends)}
    if isinstance(raw.get("userId"), str):
        found["user_id"] = raw["userId"]
    return Renewed(Sealed(Secret(found), sealed.connection_config), int(ends * 1000))


MODE: Mode = Bill()
