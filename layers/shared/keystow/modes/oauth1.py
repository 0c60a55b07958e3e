"""OAuth 1.0a tokens (RFC 5849); they do not expire, and sign each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.modes import flat as older
from keystow.modes.base import Begun, Granted, Mode, with_learnt
from keystow.modes.fields import Field
from keystow.records.connection import Sealed
from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.catalog.proxy_request import OutgoingRequest
    from keystow.context import Context
    from keystow.modes.base import Arrival, Beginning
    from keystow.modes.flat import Flat
    from keystow.oauth.oauth1 import Issued, Signer
    from keystow.records.integration import Integration

_NAMES = ("oauth_token", "oauth_token_secret")
# The browser waits, and its function has 29 s.
ASKING_SECONDS: Final = 15.0
_OK: Final = range(200, 300)


class OAuth1(Mode):
    """A token with a secret that signs each request.

    begin ─▶ request token (2.1) ─▶ browser: authorization_url?oauth_token (2.2)
    complete ◀─ callback?state&oauth_token&oauth_verifier ─▶ access token (2.3)
    """

    credential_type = "OAUTH1"
    label = "oauth1"
    imported = (Field("oauth_token", "token"), Field("oauth_token_secret", "token"))
    answer_names = frozenset({"oauth_token", "oauth_verifier"})
    asks_first = True

    def begin(self, ctx: Context, beginning: Beginning) -> Begun:
        """Ask for a request token, and return where it is authorized."""
        from keystow.modes.failure import AuthorizationFailed

        provider, config = beginning.provider, beginning.config
        _check_params(provider, beginning.params)
        signer = _signer(ctx, provider, beginning.integration, beginning.client)
        joint = "&" if "?" in beginning.redirect_uri else "?"
        back = f"{beginning.redirect_uri}{joint}state={beginning.state}"
        try:
            found = _ask(ctx, provider, config, signer, "request", {"oauth_callback": back})
        except _NoToken as error:
            raise AuthorizationFailed("token_err", str(error), event=error.event) from None
        if str(found.raw.reveal().get("oauth_callback_confirmed")).lower() == "false":
            raise AuthorizationFailed(
                "token_err", "The provider did not take our callback (RFC 5849, 2.1)"
            )
        return Begun(
            _authorization_url(beginning, found.token, back),
            {"oauth_token": found.token, "oauth_token_secret": found.secret.reveal()},
            {"scopes": " ".join(beginning.scopes), "signature": signer.method},
        )

    def complete(self, ctx: Context, arrival: Arrival) -> Granted:
        """Exchange the request token, whose owner's consent the verifier shows."""
        from keystow.catalog.interpolate import metadata_from
        from keystow.modes.failure import AuthorizationFailed
        from keystow.value import replace

        provider, query = arrival.provider, arrival.query
        _check_answer(arrival)
        signer = replace(
            _signer(ctx, provider, arrival.integration, arrival.client),
            token=arrival.kept["oauth_token"],
            token_secret=Secret(arrival.kept["oauth_token_secret"]),
        )
        redirected = metadata_from(query, provider.definition, "redirect_uri_metadata")
        known = {**redirected, **arrival.config}
        proof = {"oauth_verifier": query["oauth_verifier"]}
        try:
            found = _ask(ctx, provider, known, signer, "token", proof)
        except _NoToken as error:
            raise AuthorizationFailed("unknown_err", str(error), event=error.event) from None
        raw = found.raw.reveal()
        told = metadata_from(raw, provider.definition, "token_response_metadata")
        credentials: dict[str, Any] = {
            "type": "OAUTH1",
            "oauth_token": found.token,
            "oauth_token_secret": found.secret.reveal(),
            "raw": raw,
        }
        if arrival.client:  # the token works with the client only that got it
            names = ("client_id", "client_secret")
            credentials["config_override"] = {name: arrival.client[name] for name in names}
        config = with_learnt(arrival.config, {**told, **redirected})
        return Granted(Sealed(Secret(credentials), Secret(config)))

    def from_import(
        self, given: dict[str, Any], now: float, raw: dict[str, Any] | None, *, endless: bool
    ) -> dict[str, Any]:
        """Return the token, with the answer it came in as ``raw``."""
        del now, endless
        return {**given, "raw": dict(given) if raw is None else raw}

    def from_flat(self, flat: Flat, now: float) -> dict[str, Any]:
        """Return the token."""
        del now
        for name in _NAMES:
            older.need(flat, name, f"missing_{name}")
        return {"type": "OAUTH1", **older.some(flat, *_NAMES)}

    def signed(
        self,
        ctx: Context,
        provider: Provider,
        integration: Integration,
        sealed: Sealed,
        request: OutgoingRequest,
    ) -> OutgoingRequest:
        """Return the request with the signature of client and token (3.1)."""
        from keystow.value import replace

        credentials = sealed.credentials.reveal()
        signer = replace(
            signer_of(ctx, integration, credentials.get("config_override"), _method(provider)),
            token=str(credentials.get("oauth_token") or ""),
            token_secret=Secret(str(credentials.get("oauth_token_secret") or "")),
        )
        return with_signature(ctx, signer, request)


def signer_of(
    ctx: Context, integration: Integration, own: Mapping[str, Any] | None, method: str
) -> Signer:
    """Return who signs without a token yet: a connection's own client, else the app's.

    Raises:
        VaultError, VaultUnavailable: as the vault does.
    """
    from keystow.oauth.oauth1 import Signer

    if own and own.get("client_id") and own.get("client_secret"):
        return Signer(str(own["client_id"]), Secret(str(own["client_secret"])), method)
    secrets = integration.secrets(ctx.vault)
    return Signer(integration.client_id or "", secrets.client_secret, method)


def with_signature(ctx: Context, signer: Signer, request: OutgoingRequest) -> OutgoingRequest:
    """Return a request with its ``Authorization`` header.

    Raises:
        InterpolationError: it cannot be signed.
    """
    from dataclasses import replace

    from keystow.catalog.errors import InterpolationError
    from keystow.oauth.oauth1 import UnusableKey

    headers = {name: text for name, text in request.headers.items() if name != "authorization"}
    try:
        headers["authorization"] = signer.header(
            request.method,
            request.url,
            content_type=headers.get("content-type", ""),
            body=request.body,
            **_fresh(ctx),
        )
    except UnusableKey as error:
        raise InterpolationError("unusable_key", str(error)) from None
    return replace(request, headers=headers)


def _fresh(ctx: Context) -> dict[str, Any]:
    from keystow.oauth.oauth1 import NONCE_BYTES

    return {"nonce": ctx.random.bytes(NONCE_BYTES).hex(), "timestamp": int(ctx.clock.now())}


def _method(provider: Provider) -> str:
    return str(provider.definition.get("signature_method") or "HMAC-SHA1")


def _signer(
    ctx: Context, provider: Provider, integration: Integration, own: Mapping[str, str]
) -> Signer:
    from keystow.modes.failure import AuthorizationFailed

    found = signer_of(ctx, integration, own, _method(provider))
    if not found.client_id or not found.client_secret.reveal():
        raise AuthorizationFailed(
            "provider_config_err", "The integration has no consumer key and secret yet"
        )
    return found


def _check_params(provider: Provider, params: Mapping[str, str | None]) -> None:
    """Refuse parameters that belong to the protocol."""
    from keystow.modes.failure import AuthorizationFailed
    from keystow.oauth import authorization_params

    try:
        authorization_params.check_authorization_params(params, provider)
    except authorization_params.ReservedParameter as error:
        taken = error.name
    else:
        taken = next((name for name in params if name.strip().lower().startswith("oauth_")), "")
    if taken:
        raise AuthorizationFailed(
            "url_param_err", f"{taken[:64]} is set by the server and cannot be given"
        )


def _authorization_url(beginning: Beginning, token: str, back: str) -> str:
    """Return where the browser goes (2.2)."""
    from keystow.catalog.errors import CatalogueError
    from keystow.modes.failure import AuthorizationFailed
    from keystow.oauth.authorization import InvalidAuthorizationUrl, browser_url

    provider = beginning.provider
    separator = str(provider.definition.get("scope_separator") or " ")
    asked = {"scope": separator.join(beginning.scopes)} if beginning.scopes else {}
    try:
        return browser_url(
            provider,
            connection_config=beginning.config,
            state=beginning.state,
            given={**asked, **beginning.params},
            fixed={"oauth_token": token, "oauth_callback": back},
        )
    except (CatalogueError, InvalidAuthorizationUrl):
        raise AuthorizationFailed(
            "url_param_err", "What was typed in does not make an address of this provider"
        ) from None


def _check_answer(arrival: Arrival) -> None:
    """Require the verifier of the very token that the browser was sent with."""
    from keystow.modes.failure import AuthorizationFailed

    query = arrival.query
    told = "; ".join(f"{name}: {text}" for name, text in arrival.provider_said.items())
    reason = ""
    if not query.get("oauth_token") or not query.get("oauth_verifier"):
        reason = "No verifier came back: access was not given."
    elif query["oauth_token"] != arrival.kept["oauth_token"]:
        reason = "The answer is for another token than the one that was asked for."
    if reason:
        raise AuthorizationFailed(
            "callback_err",
            f"{reason} Provider error: {told}" if told else reason,
            event="invalid_callback",
            provider_said=arrival.provider_said,
        )


def _ask(
    ctx: Context,
    provider: Provider,
    config: Mapping[str, Any],
    signer: Signer,
    which: str,
    extra: Mapping[str, str],
) -> Issued:
    """Send one of both token requests: ``request`` or ``token``, as the entry's fields say.

    Raises:
        _NoToken: none came.
    """
    from urllib.parse import urlencode

    from keystow.egress.errors import EgressError
    from keystow.oauth.errors import ConfigurationError
    from keystow.oauth.oauth1 import FORM, UnusableKey, issued
    from keystow.oauth.token_request import filled, template_values, url_of

    entry = provider.definition
    fresh = _fresh(ctx)
    names = {"request": "request_http_method", "token": "token_http_method"}
    method = str(entry.get(names[which]) or "POST")
    template = provider.token_url if which == "token" else str(entry.get("request_url") or "")
    headers: dict[str, str] = {"accept": f"{FORM}, */*;q=0.5"}
    body = None
    try:
        url = url_of(template, provider, config)
        values = template_values(config, ctx.clock.now())
        params, _ = filled(entry.get(f"{which}_params") or {}, values)
        if params and method == "GET":
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"
        elif params:
            body = urlencode(params).encode()
        if method == "POST":
            body = body or b""
            headers["content-type"] = FORM
        headers["authorization"] = signer.header(
            method, url, content_type=FORM, body=body, extra=extra, **fresh
        )
        answer = ctx.egress.send(method, url, headers=headers, body=body, deadline=ASKING_SECONDS)
    except (ConfigurationError, UnusableKey) as error:
        reason = error.description if isinstance(error, ConfigurationError) else str(error)
        raise _NoToken(f"No token can be asked for: {reason}") from None
    except EgressError as error:
        raise _NoToken(f"The provider gave no token: {error}") from None
    found = issued(answer.body) if answer.status in _OK else None
    if found is None:
        # What it says may hold what was signed, and PLAINTEXT signs with the secrets themselves.
        raise _NoToken(
            f"The provider gave no token: its answer of status {answer.status} holds none",
            "unable_to_parse_token_response" if answer.status in _OK else "unknown",
        )
    return found


class _NoToken(Exception):  # noqa: N818 - an outcome, not a fault
    """A token request brought no token; ``event`` as in :class:`AuthorizationFailed`."""

    def __init__(self, description: str, event: str = "unknown") -> None:
        super().__init__(description)
        self.event = event


MODE: Mode = OAuth1()
