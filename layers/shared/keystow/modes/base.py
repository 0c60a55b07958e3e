"""What every mode can be asked, and what it answers when it has nothing of its own to say.

leaves for a provider          is typed in          is imported
begin ─▶ … ─▶ complete         typed ─▶ accept      imported, flat ─▶ admit
│                        │                    │
└────────────────────────┼────────────────────┘
▼
a stored credential:  refreshable, renew · checkable · authorization, signed · revoke · shown
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from keystow.clock import parse_iso
from keystow.errors import ApiError
from keystow.secret import Secret
from keystow.value import Value, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystow.catalog.loader import Provider
    from keystow.catalog.proxy_request import OutgoingRequest
    from keystow.context import Context
    from keystow.modes.failure import AuthorizationFailed
    from keystow.modes.fields import Field
    from keystow.oauth.revocation import RevocationResult
    from keystow.records.connection import Sealed
    from keystow.records.environment import Environment
    from keystow.records.integration import Integration


class Handed(Value):
    """What goes between a mode and who calls it: much of it is secret, so none of it is printed."""

    def __repr__(self) -> str:
        return type(self).__name__


class Renewed(Handed):
    """A renewed credential.

    Attributes:
        sealed: what to store.
        expires_at: milliseconds since the epoch; None: never, or nobody knows.
        again_at: milliseconds since the epoch when to renew it at the latest, though it lives on.
        remark: a sentence for the activity log about what is not as it should be.
    """

    sealed: Sealed
    expires_at: int | None
    remark: str = ""
    again_at: int | None = None


class Beginning(Handed):
    """An end user who is about to be sent to a provider.

    Attributes:
        config: the connection's, cleaned and of the form that the entry asks for.
        client: ``client_id`` and ``client_secret`` of the connection's own, ``refresh_token`` where
            the entry takes one; empty: the app's client.
        scopes: asked for.
        params: authorization parameters of the session or the browser; None takes one away.
        user_scopes: of the session; None: none were given.
        redirect_uri: our callback, to the letter.
        state: of this attempt; the answer must bring it back.
        base_url: the canonical public URL, without trailing slash.
    """

    environment: Environment
    integration: Integration
    provider: Provider
    config: Mapping[str, Any]
    client: Mapping[str, str]
    scopes: list[str]
    params: Mapping[str, str | None]
    user_scopes: str | None
    redirect_uri: str
    state: str
    base_url: str


class Begun(Handed):
    """Where the browser goes.

    Attributes:
        location: URL at the provider.
        kept: what :meth:`Mode.complete` needs; sealed until the browser comes back.
        details: for the activity log.
    """

    location: str
    kept: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


class Arrival(Handed):
    """An end user who came back from a provider, in the browser that was sent there.

    Attributes:
        config, client, scopes, redirect_uri: as in :class:`Beginning`.
        kept: what :meth:`Mode.begin` left.
        query: parameters of the answer that came once.
        provider_said: what the provider gave as reason for a failure, in plain text.
    """

    environment: Environment
    integration: Integration
    provider: Provider
    config: dict[str, Any]
    client: Mapping[str, str]
    scopes: tuple[str, ...]
    redirect_uri: str
    kept: Mapping[str, Any]
    query: Mapping[str, str]
    provider_said: dict[str, str]


class Offer(Handed):
    """What an end user typed in, or a backend imports.

    Attributes:
        sealed: the credential, as :meth:`Mode.typed` or :meth:`Mode.from_import` returned it, and
            the connection's config.
        fixed: what the session fixes for this integration (``integrations_config_defaults``).
        before: finds the config of the connection that is authorized anew; None: there is none.
    """

    integration: Integration
    provider: Provider
    sealed: Sealed
    fixed: Mapping[str, Any]
    before: Callable[[], Mapping[str, Any]] | None = None


class Granted(Handed):
    """A credential that works, with the connection's config.

    Attributes:
        remarks: sentences for the activity log about what is not as it should be.
        details: for the activity log.
    """

    sealed: Sealed
    remarks: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


class Heard(Handed):
    """A webhook that came to an integration's address: a stranger's, until a signature is checked.

    Attributes:
        headers: names in lower case.
        query: parsed.
        body: as it came.
    """

    environment: Environment
    integration: Integration
    provider: Provider
    headers: Mapping[str, str]
    query: Mapping[str, Any]
    body: bytes


class Mode:
    """One way of authorizing. What is special about it stands in its subclass, and nowhere else.

    Attributes:
        credential_type: ``type`` of the credential that it stores (contract 8.2).
        label: how the activity log calls it.
        form: what a person types in, for a mode that is typed in.
        imported: fields of ``credentials`` in an import.
        answer_names: parameters of a provider's answer that it reads, beside those of OAuth 2.0.
        asks_first: whether :meth:`begin` asks the provider before the browser is sent there.
        has_secret: False: nothing is typed in, tried or handed out.
        checkable: whether a provider can be asked about the credential as it is stored.
        by_entry: whether the provider's entry declares the fields of the credential.
        older_shape: whether its endpoint answers in an older shape and envelope (contract 4.3).
    """

    credential_type: ClassVar[str]
    label: ClassVar[str] = ""
    form: ClassVar[tuple[Field, ...]] = ()
    imported: ClassVar[tuple[Field, ...]] = ()
    answer_names: ClassVar[frozenset[str]] = frozenset()
    asks_first: ClassVar[bool] = False
    has_secret: ClassVar[bool] = True
    checkable: ClassVar[bool] = False
    by_entry: ClassVar[bool] = False
    older_shape: ClassVar[bool] = False

    # Leaving for a provider

    def begin(self, ctx: Context, beginning: Beginning) -> Begun:
        """Return where to send the browser.

        Raises:
            AuthorizationFailed: it cannot be sent anywhere, as by every mode without a popup.
        """
        del ctx, beginning
        raise self._without_popup()

    def complete(self, ctx: Context, arrival: Arrival) -> Granted:
        """Return the credential of an end user who came back.

        Raises:
            AuthorizationFailed: there is none.
        """
        del ctx, arrival
        raise self._without_popup()

    def _without_popup(self) -> AuthorizationFailed:
        from keystow.modes.failure import AuthorizationFailed

        return AuthorizationFailed(
            "auth_mode_err", f"{self.credential_type} is not authorized in a popup"
        )

    # Typed in

    def typed(self, body: dict[str, Any]) -> Secret[dict[str, Any]]:
        """Return the credential of a body. Raises 400 ``invalid_body`` with the issues."""
        from keystow.modes import bodies

        return Secret({"type": self.credential_type, **bodies.typed(self, body)})

    def accept(self, ctx: Context, offer: Offer) -> Granted:
        """Try a typed-in credential where its entry says how, and return what to store.

        Raises:
            ApiError: 400 ``connection_test_failed``.
        """
        from keystow.modes.verification import verify

        verify(ctx, offer.integration, offer.provider, offer.sealed)
        return Granted(offer.sealed)

    def fields_of(self, provider: Provider) -> tuple[str, ...]:
        """Return the names of the credential's fields, in the order in which a form asks."""
        del provider
        return tuple(each.name for each in self.form)

    # Imported

    def check_import(
        self, provider: Provider, credentials: Mapping[str, Any], config: Mapping[str, Any]
    ) -> None:
        """Refuse an import that could not work. Raises 400 ``invalid_body``."""

    def from_import(
        self, given: dict[str, Any], now: float, raw: dict[str, Any] | None, *, endless: bool
    ) -> dict[str, Any]:
        """Return the credential as stored.

        Args:
            given: the body's, as validated.
            now: epoch seconds.
            raw: the token answer it came in, where the caller has it.
            endless: the caller says that the token has no end.
        """
        del now, raw, endless
        return given

    def admit(self, ctx: Context, offer: Offer) -> Sealed:
        """Try an imported credential where its entry says how, and return what to store.

        Args:
            ctx: the container's context.
            offer: what :meth:`from_import` returned; nothing is fixed by a session.

        Raises:
            ApiError: 400 ``connection_test_failed``.
        """
        from keystow.modes.verification import verify

        verify(ctx, offer.integration, offer.provider, offer.sealed)
        return offer.sealed

    def from_flat(self, flat: dict[str, Any], now: float) -> dict[str, Any]:
        """Return ``credentials`` of an older, flat body (contract 5.5).

        Raises:
            ApiError: 400 with the codes of contract 5.5.
        """
        del flat, now
        raise ApiError("unsupported_auth_mode", f"{self.credential_type} cannot be imported so")

    # Told by the provider

    def hear(self, ctx: Context, heard: Heard) -> None:
        """Take a webhook of the provider, if the room of the mode ``hears`` (contract 4.16).

        Raises:
            ApiError: what the provider is answered instead of 204.
        """
        del ctx, heard

    # Stored

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return whether this credential can be renewed without its owner."""
        del credentials
        return False

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Ask the provider for a fresh credential; one that does not end stays as it is.

        Raises:
            keystow.oauth.errors.TokenError: it gave none; the error tells what that means.
        """
        del ctx, provider, integration
        return Renewed(sealed, None)

    def token_host(self, provider: Provider, config: Mapping[str, Any]) -> str | None:
        """Return the host that a credential is renewed and revoked at; None: it is not known."""
        return provider.token_host(config)

    def authorization(self, provider: Provider, credentials: Mapping[str, Any]) -> str:
        """Return the ``Authorization`` header of a request to the provider's API; "" for none.

        What the entry's own headers say comes over it.
        """
        del provider, credentials
        return ""

    def signed(
        self,
        ctx: Context,
        provider: Provider,
        integration: Integration,
        sealed: Sealed,
        request: OutgoingRequest,
    ) -> OutgoingRequest:
        """Return a request to the provider's API, whole but for a signature, with that.

        Raises:
            keystow.catalog.errors.InterpolationError: it cannot be signed.
        """
        del ctx, provider, integration, sealed
        return request

    def revoke(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> RevocationResult:
        """Tell the provider that a credential is no longer needed, and return how that went.

        Never raises for what the provider does: a deletion must not depend on it.
        """
        from keystow.oauth.revocation import RevocationResult

        del ctx, provider, integration, sealed
        return RevocationResult("unsupported", "such credentials cannot be revoked")

    def shown(self, credentials: dict[str, Any]) -> dict[str, Any]:
        """Return what a reader gets of a stored credential (contract 5.1, 8.2)."""
        return credentials

    def with_client(
        self, ctx: Context, sealed: Sealed, integration: Callable[[], Integration | None]
    ) -> Sealed:
        """Return credential and config for a reader who may read credentials.

        A mode whose readers sign for themselves adds the app's client (contract 8.2).

        Args:
            ctx: the container's context.
            sealed: as stored.
            integration: finds the connection's; None when it is gone.

        Raises:
            VaultError, VaultUnavailable: as the vault does.
        """
        del ctx, integration
        return sealed


def bearer(token: Any) -> str:
    """Return the header of a bearer token (RFC 6750 §2.1); "" for no token."""
    return f"Bearer {token}" if isinstance(token, str) and token else ""


def with_learnt(given: Mapping[str, Any], learnt: Mapping[str, Any]) -> dict[str, Any]:
    """Return a connection config of what was given and what the provider told.

    What was given stands, but an empty text gives way to what the provider told.
    """
    kept = {name: value for name, value in given.items() if value or name not in learnt}
    return {**learnt, **kept}


def expiry_of(credentials: dict[str, Any]) -> int | None:
    """Return when a credential expires, in milliseconds since the epoch, or None."""
    found = credentials.get("expires_at")
    if not isinstance(found, str):
        return None
    seconds = parse_iso(found)
    return None if seconds is None else int(seconds * 1000)
