"""A login that makes tokens by itself: WSSE UsernameToken, valid for minutes (contract 9.10).

    nonce, now, password ─▶ digest ─▶ UsernameToken Username="…", PasswordDigest="…", Nonce="…", …

No provider is asked for a token, so one is made whenever the last is about to end.
"""

from __future__ import annotations

import base64
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Final

from keystow.clock import iso
from keystow.errors import invalid
from keystow.modes.base import Granted, Mode, Renewed, bearer, expiry_of
from keystow.modes.fields import Field
from keystow.records.connection import Sealed
from keystow.secret import Secret
from keystow.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.modes.base import Offer
    from keystow.records.integration import Integration

_NONCE_BYTES: Final = 16
DEFAULT_LIFE_MS: Final = 300_000


class Signature(Mode):
    """A user name and a secret that is never sent."""

    credential_type = "SIGNATURE"
    label = "signature"
    form = (Field("username", "key"), Field("password", "password"))
    imported = form

    def typed(self, body: dict[str, Any]) -> Secret[dict[str, Any]]:
        """Return the login; the body may name its type (contract 4.10)."""
        kind = body.get("type", self.credential_type)
        if kind != self.credential_type:
            raise invalid(
                "invalid_body", "invalid_literal", f"expected {self.credential_type}", "type"
            )
        rest = {name: value for name, value in body.items() if name != "type"}
        return super().typed(rest)

    def accept(self, ctx: Context, offer: Offer) -> Granted:
        """Make a token, and try it where the entry says how.

        Raises:
            ApiError: 400 ``connection_test_failed``.
        """
        sealed = _with_token(ctx, offer.provider, offer.sealed)
        return super().accept(ctx, replace(offer, sealed=sealed))

    def admit(self, ctx: Context, offer: Offer) -> Sealed:
        """Make a token of an imported login, and try it."""
        return self.accept(ctx, offer).sealed

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return whether there is a login to make tokens of."""
        return bool(credentials.get("username"))

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Make another token. Nothing is sent."""
        del integration
        found = _with_token(ctx, provider, sealed)
        return Renewed(found, expiry_of(found.credentials.reveal()))

    def authorization(self, provider: Provider, credentials: Mapping[str, Any]) -> str:
        """Return the token as bearer, as the contract has it (7); entries name their own header."""
        del provider
        return bearer(credentials.get("token"))


def _with_token(ctx: Context, provider: Provider, sealed: Sealed) -> Sealed:
    credentials = sealed.credentials.reveal()
    now = ctx.clock.now()
    token = username_token(
        str(credentials.get("username") or ""),
        Secret(str(credentials.get("password") or "")),
        nonce=ctx.random.bytes(_NONCE_BYTES).hex(),
        created=iso(now),
    )
    life = (provider.definition.get("token") or {}).get("expires_in_ms") or DEFAULT_LIFE_MS
    found = {**credentials, "token": token, "expires_at": iso(now + life / 1000)}
    return Sealed(Secret(found), sealed.connection_config)


def username_token(username: str, password: Secret[str], *, nonce: str, created: str) -> str:
    """Return a token (WS-Security UsernameToken profile, as WSSE headers carry it).

    The digest is the base64 of the hexadecimal digits, not of the bytes (contract 18 B2).

    Args:
        username: of the login.
        password: goes into the digest only.
        nonce: random, for one token.
        created: ISO 8601, with milliseconds.
    """
    digits = sha1(f"{nonce}{created}{password.reveal()}".encode()).hexdigest()  # noqa: S324
    digest = base64.b64encode(digits.encode()).decode()
    return (
        f'UsernameToken Username="{username}", PasswordDigest="{digest}", '
        f'Nonce="{nonce}", Created="{created}"'
    )


MODE: Mode = Signature()
