"""OAuth 2.0 tokens of an authorization code (RFC 6749, sections 4.1 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.clock import iso
from keystow.errors import ApiError
from keystow.modes import flat as older
from keystow.modes.base import Begun, Granted, Mode, Renewed, bearer, with_learnt
from keystow.modes.fields import Field
from keystow.records.connection import Sealed
from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.modes.base import Arrival, Beginning
    from keystow.modes.flat import Flat
    from keystow.oauth.errors import TokenError
    from keystow.oauth.revocation import RevocationResult
    from keystow.oauth.token_endpoint import OAuthClient, TokenSet
    from keystow.records.integration import Integration


# An exchange and what belongs to it take no longer, so that none is cut off by its function's end.
EXCHANGE_SECONDS: Final = 20.0
_METADATA: Final = "token_response_metadata"


class OAuth2(Mode):
    """Tokens that a refresh token renews."""

    credential_type = "OAUTH2"
    label = "oauth"
    imported = (
        Field("access_token", "token"),
        Field("refresh_token", "text", required=False),
        Field("expires_at", "date", required=False),
        Field("config_override", "client", required=False),
    )

    def begin(self, ctx: Context, beginning: Beginning) -> Begun:
        """Return the authorization request (section 4.1.1), with PKCE (RFC 7636)."""
        from keystow.catalog.errors import CatalogueError
        from keystow.modes.failure import AuthorizationFailed
        from keystow.oauth import authorization, authorization_params, pkce

        provider = beginning.provider
        client_id = _client_id(beginning)
        _check_entry(provider, beginning.config)
        verifier = pkce.new_verifier(ctx.random.bytes)
        try:
            location = authorization.authorization_url(
                provider,
                client_id=client_id,
                redirect_uri=beginning.redirect_uri,
                scopes=beginning.scopes,
                state=beginning.state,
                code_challenge=None if provider.disable_pkce else pkce.challenge(verifier),
                connection_config=beginning.config,
                authorization_params=beginning.params,
                user_scope=beginning.user_scopes,
            )
        except authorization_params.ReservedParameter as error:
            raise AuthorizationFailed(
                "url_param_err", f"{error.name} is set by the server and cannot be given"
            ) from None
        except (CatalogueError, authorization.InvalidAuthorizationUrl):
            raise AuthorizationFailed(
                "url_param_err", "What was typed in does not make an address of this provider"
            ) from None
        return Begun(
            location,
            {"code_verifier": verifier.reveal()},
            {"scopes": " ".join(beginning.scopes), "pkce": not provider.disable_pkce},
        )

    def complete(self, ctx: Context, arrival: Arrival) -> Granted:
        """Exchange the code (section 4.1.3) that its issuer sent (RFC 9207)."""
        from keystow.catalog.interpolate import metadata_from

        provider = arrival.provider
        redirected = metadata_from(arrival.query, provider.definition, "redirect_uri_metadata")
        known = {**redirected, **arrival.config}
        tokens, remark = self._exchange(ctx, arrival, _code(arrival, known), known)
        told = metadata_from(tokens.raw.reveal(), provider.definition, _METADATA)
        config = with_learnt(arrival.config, {**told, **redirected})
        credentials = _with_override(credentials_of(tokens), arrival.client, config)
        return Granted(
            Sealed(credentials, Secret(config)),
            tuple(_remarks(provider, tokens, remark)),
            {"granted": _granted(arrival.scopes, tokens)},
        )

    def _exchange(
        self, ctx: Context, arrival: Arrival, code: str, config: dict[str, Any]
    ) -> tuple[TokenSet, str]:
        from keystow.modes.failure import AuthorizationFailed
        from keystow.oauth.errors import TokenError
        from keystow.oauth.token_endpoint import exchange_code

        provider = arrival.provider
        began = ctx.clock.now()
        own = {"config_override": arrival.client}
        try:
            client = self.client(ctx, provider, arrival.integration, own)
            tokens = exchange_code(
                ctx.egress,
                provider,
                client,
                code=Secret(code),
                redirect_uri=arrival.redirect_uri,
                code_verifier=(
                    None if provider.disable_pkce else Secret(arrival.kept["code_verifier"])
                ),
                connection_config=config,
                now=began,
            )
        except TokenError as error:
            self.refused(ctx, arrival, error)
            unreadable = error.kind == "unusable"
            raise AuthorizationFailed(
                "unknown_err",
                f"The provider gave no token: {error.code}. {error.description}".strip(),
                event="unable_to_parse_token_response" if unreadable else "unknown",
            ) from None
        return with_end(ctx, provider, client, tokens, config, began)

    def refused(self, ctx: Context, arrival: Arrival, error: TokenError) -> None:
        """Hear that a code was not exchanged, before everybody is told."""

    def client(
        self,
        ctx: Context,
        provider: Provider,
        integration: Integration,
        credentials: Mapping[str, Any],
    ) -> OAuthClient:
        """Return the client that a connection's tokens belong to. Raises ConfigurationError."""
        return client_of(ctx, provider, integration, credentials)

    def check_import(
        self, provider: Provider, credentials: Mapping[str, Any], config: Mapping[str, Any]
    ) -> None:
        """Require a client where the app's must not be used to refresh."""
        del config
        client = credentials.get("config_override", {})
        has_client = bool(client.get("client_id") and client.get("client_secret"))
        if provider.client_per_connection and "refresh_token" in credentials and not has_client:
            raise ApiError(
                "invalid_body",
                "Each connection of this provider needs a client of its own to refresh",
            )

    def from_import(
        self, given: dict[str, Any], now: float, raw: dict[str, Any] | None, *, endless: bool
    ) -> dict[str, Any]:
        """Return the tokens, with the answer they came in as ``raw``."""
        del now
        shown = dict(given) if raw is None else raw
        ends = {} if endless or not given.get("refresh_token") else end_of(given, "access_token")
        return {**given, **ends, "raw": shown}

    def from_flat(self, flat: Flat, now: float) -> dict[str, Any]:
        """Return the tokens; without an end they need ``no_expiration``."""
        older.need(flat, "access_token", "missing_access_token")
        found = {
            "type": "OAUTH2",
            **older.some(flat, "access_token", "refresh_token"),
            **older.expiry(flat, now),
        }
        if "expires_at" not in found and flat.get("no_expiration") is not True:
            raise ApiError(
                "missing_expires_at",
                "expires_at is missing; a token that never expires needs no_expiration: true",
            )
        override = {
            name: flat[f"oauth_{name}_override"]
            for name in ("client_id", "client_secret")
            if flat.get(f"oauth_{name}_override")
        }
        return {**found, "config_override": override} if override else found

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return whether there is a refresh token."""
        return bool(credentials.get("refresh_token"))

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Ask for new tokens; an answer without a refresh token keeps the old one (section 6)."""
        from dataclasses import replace

        from keystow.catalog.interpolate import metadata_from
        from keystow.modes import dual_tokens
        from keystow.oauth.token_endpoint import refresh

        credentials = sealed.credentials.reveal()
        client = self.client(ctx, provider, integration, credentials)
        config = sealed.connection_config.reveal()
        began = ctx.clock.now()

        def ask(refresh_token: Secret[str], access_token: Secret[str]) -> TokenSet:
            now = ctx.clock.now()
            return refresh(
                ctx.egress,
                provider,
                client,
                refresh_token=refresh_token,
                connection_config=config,
                now=now,
                access_token=access_token,
                deadline=EXCHANGE_SECONDS - (now - began),
            )

        tokens = ask(Secret(credentials["refresh_token"]), Secret(credentials["access_token"]))
        tokens, remark = with_end(ctx, provider, client, tokens, config, began)
        left = EXCHANGE_SECONDS - (ctx.clock.now() - began)
        second = dual_tokens.renewed(provider, credentials, tokens, ask, left)
        ends = [each for each in (tokens.expires_at, second.expires_at) if each is not None]
        tokens = replace(tokens, raw=Secret(second.raw), expires_at=min(ends, default=None))
        told = metadata_from(second.raw, provider.definition, "refresh_token_response_metadata")
        return Renewed(
            Sealed(credentials_of(tokens, previous=credentials), Secret({**config, **told})),
            None if tokens.expires_at is None else int(tokens.expires_at * 1000),
            " ".join(each for each in (remark, second.remark) if each),
            None if second.again_in is None else int((ctx.clock.now() + second.again_in) * 1000),
        )

    def authorization(self, provider: Provider, credentials: Mapping[str, Any]) -> str:
        """Return the access token as bearer."""
        del provider
        return bearer(credentials.get("access_token"))

    def revoke(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> RevocationResult:
        """Revoke the tokens (RFC 7009), a second pair of them as well."""
        from keystow.catalog.interpolate import metadata_from
        from keystow.modes.dual_tokens import second_of
        from keystow.oauth import revocation
        from keystow.oauth.errors import ConfigurationError
        from keystow.oauth.token_answer import TokenSet

        credentials = sealed.credentials.reveal()
        try:
            client = self.client(ctx, provider, integration, credentials)
        except ConfigurationError as error:
            return revocation.RevocationResult("unsupported", error.description)
        told = metadata_from(credentials.get("raw") or {}, provider.definition, _METADATA)
        config = {**told, **sealed.connection_config.reveal()}
        result = None
        for held in (second_of(provider, credentials), credentials):
            if held is None:
                continue
            refresh_token = held.get("refresh_token")
            tokens = TokenSet(
                access_token=Secret(held["access_token"]),
                refresh_token=Secret(refresh_token) if refresh_token else None,
                expires_at=None,
                raw=Secret({}),
                granted_scopes=None,
                token_type="bearer",  # noqa: S106 - the kind of a token
            )
            last = revocation.revoke(
                ctx.egress,
                provider,
                client,
                tokens,
                connection_config=config,
                now=ctx.clock.now(),
            )
            result = last if result is None or result.outcome == "done" else result
        assert result is not None
        return result


def _client_id(beginning: Beginning) -> str:
    from keystow.modes.failure import AuthorizationFailed

    own = beginning.client.get("client_id")
    if beginning.provider.client_per_connection and not own:
        raise AuthorizationFailed(
            "provider_config_err", "Each connection needs a client id and secret of its own here"
        )
    client_id = own or beginning.integration.client_id
    if not client_id:
        raise AuthorizationFailed(
            "provider_config_err", "The integration has no client id and secret yet"
        )
    return client_id


def _check_entry(provider: Provider, config: Mapping[str, Any]) -> None:
    from keystow.modes.failure import AuthorizationFailed
    from keystow.oauth import authorization

    if not authorization.uses_code_grant(provider):
        raise AuthorizationFailed(
            "grant_type_err", "The provider's definition names another grant type"
        )
    missing = authorization.missing_parameters(provider, config)
    if missing:
        raise AuthorizationFailed("url_param_err", f"Missing: {', '.join(missing)[:200]}")


def _code(arrival: Arrival, config: Mapping[str, Any]) -> str:
    """Return the code, if it comes from who was asked (RFC 9700 §4.4.2): mix-up defence."""
    from keystow.modes.failure import AuthorizationFailed
    from keystow.oauth import issuer

    query, provider = arrival.query, arrival.provider
    try:
        issuer.check_answer(query.get("iss"), provider, config)
    except issuer.IssuerMismatch:
        raise AuthorizationFailed(
            "callback_err",
            "The answer came from another authorization server than the one asked",
            event="invalid_callback",
        ) from None
    code = query.get(provider.authorization_code_param_in_callback)
    if code and not query.get("error"):
        return code
    told = [f"{name}: {text}" for name, text in arrival.provider_said.items()]
    reason = f" Provider error: {'; '.join(told)}" if told else ""
    raise AuthorizationFailed(
        "callback_err",
        f"{_why(query)}{reason}",
        event="invalid_callback",
        provider_said=arrival.provider_said,
    )


def _why(query: Mapping[str, str]) -> str:
    """Say in own words why there is no code (section 4.1.2.1)."""
    if query.get("error") == "access_denied":
        return "Access was declined at the provider."
    return "No code came back."


def _with_override(
    credentials: Secret[dict[str, Any]], override: Mapping[str, str], config: dict[str, Any]
) -> Secret[dict[str, Any]]:
    """Keep a connection's own client with its credential (contract 9.3)."""
    found = dict(credentials.reveal())
    if override.get("client_id"):
        found["config_override"] = {
            "client_id": override["client_id"],
            "client_secret": override.get("client_secret", ""),
        }
    if override.get("refresh_token"):
        found["refresh_token"] = override["refresh_token"]
        found["raw"] = {**found["raw"], "refresh_token": override["refresh_token"]}
        config["overrideTokenRefresh"] = True
    scopes = config.get("oauth_scopes_override")
    if isinstance(scopes, str):
        config["oauth_scopes_override"] = [each for each in scopes.split(",") if each]
    return Secret(found)


def _granted(requested: tuple[str, ...], tokens: TokenSet) -> str:
    if tokens.granted_scopes is None:
        return "as requested"
    missing = sorted(set(requested) - set(tokens.granted_scopes))
    return f"without {' '.join(missing)}" if missing else "as requested"


def _remarks(provider: Provider, tokens: TokenSet, remark: str) -> list[str]:
    """Return what whoever runs an integration should know of the tokens of a new connection."""
    found = [remark] if remark else []
    ends = tokens.expires_at is not None
    if ends and tokens.refresh_token is None and not provider.no_refresh_token:
        found.append(
            "The token ends and no refresh token came: then the account must be connected again. "
            "Some providers want a scope or a parameter for one"
        )
    return found


def with_end(
    ctx: Context,
    provider: Provider,
    client: OAuthClient,
    tokens: TokenSet,
    config: dict[str, Any],
    began: float,
) -> tuple[TokenSet, str]:
    """Return tokens with their end, and a remark where it stays unknown.

    Args:
        ctx: the container's context.
        provider: its entry.
        client: the app that got them.
        tokens: as just read.
        config: the connection's.
        began: epoch seconds when the exchange began, whose time is shared.
    """
    from keystow.oauth.introspection import with_end as asked

    now = ctx.clock.now()
    left = EXCHANGE_SECONDS - (now - began)
    return asked(ctx.egress, provider, client, tokens, connection_config=config, now=now, left=left)


def client_of(
    ctx: Context, provider: Provider, integration: Integration, credentials: Mapping[str, Any]
) -> OAuthClient:
    """Return the client a connection uses: its own override when complete, else the app's.

    Raises:
        ConfigurationError: each connection of this provider brings its own, and this one has none.
    """
    from keystow.oauth.errors import ConfigurationError
    from keystow.oauth.token_endpoint import OAuthClient

    override = credentials.get("config_override") or {}
    if override.get("client_id") and override.get("client_secret"):
        return OAuthClient(override["client_id"], Secret(override["client_secret"]))
    if provider.client_per_connection:
        # Its host is of the connection's choosing: the app's secret must not go there.
        raise ConfigurationError(
            "no_client", "the connection has no client id and secret of its own"
        )
    secrets = integration.secrets(ctx.vault)
    return OAuthClient(integration.client_id or "", secrets.client_secret)


def credentials_of(
    tokens: TokenSet, previous: dict[str, Any] | None = None
) -> Secret[dict[str, Any]]:
    """Return tokens in the stored shape (contract 8.2)."""
    earlier = previous or {}
    found: dict[str, Any] = {"type": "OAUTH2", "access_token": tokens.access_token.reveal()}
    refresh_token = (
        tokens.refresh_token.reveal() if tokens.refresh_token else earlier.get("refresh_token")
    )
    if refresh_token:
        found["refresh_token"] = refresh_token
    if tokens.expires_at is not None:
        found["expires_at"] = iso(tokens.expires_at)
    found["raw"] = tokens.raw.reveal()
    if earlier.get("config_override"):
        found["config_override"] = earlier["config_override"]
    return Secret(found)


def end_of(given: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the end of an imported token that is a JWT, where no date was given."""
    from keystow.oauth.token_life import end_in_jwt

    token = given.get(name)
    if given.get("expires_at") or not isinstance(token, str):
        return {}
    ends = end_in_jwt(token, 0.0)  # one that is over is over: the next read renews it
    return {} if ends is None else {"expires_at": iso(ends)}


MODE: Mode = OAuth2()
