"""RFC 6749 §4.1.3, §4.4 and §6: code exchange, client credentials, and refresh.

No redirect is followed, whatever the answer: a token request has one destination. Every failure
is a :class:`keystow.oauth.errors.TokenError`, whose kind says what may be done about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from keystow.oauth import client_authentication, token_answer, token_request
from keystow.oauth.authorization_params import ReservedParameter
from keystow.oauth.client_authentication import OAuthClient
from keystow.oauth.token_answer import TokenSet
from keystow.oauth.token_request import TokenRequest

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.egress.client import Egress
    from keystow.secret import Secret

__all__ = ["OAuthClient", "TokenSet", "client_credentials", "exchange_code", "refresh"]

CLIENT_LIFE: Final = 55 * 60.0  # contract 9.7: assumed where the answer does not say
_CC_RESERVED: Final = frozenset(
    {"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type"}
)


def exchange_code(
    egress: Egress,
    provider: Provider,
    client: OAuthClient,
    *,
    code: Secret[str],
    redirect_uri: str,
    code_verifier: Secret[str] | None,
    connection_config: Mapping[str, Any],
    now: float,
) -> TokenSet:
    """Swap an authorization code for tokens (RFC 6749 §4.1.3, RFC 7636 §4.5).

    Args:
        egress: the way out.
        provider: its entry; ``token_params`` and ``token_exchange`` shape the request.
        client: the app, or the connection's own override of it.
        code: from the callback.
        redirect_uri: exactly the one of the authorization request.
        code_verifier: of this attempt; None only where the entry has PKCE off.
        connection_config: fills templates.
        now: epoch seconds.

    Raises:
        TokenError: no tokens came.
        ValueError: no verifier, although the entry does not turn PKCE off.
    """
    definition = provider.definition
    if code_verifier is None and not definition.get("disable_pkce"):
        raise ValueError("PKCE is on for this provider, so a verifier is needed")
    departures: Mapping[str, Any] = definition.get("token_exchange") or {}
    values = token_request.template_values(connection_config, now)
    extra, foreign = token_request.filled(
        {**(definition.get("token_params") or {}), **(departures.get("params") or {})},
        {**values, **token_request.client_values(client)},
    )
    params: dict[str, Any] = {
        "grant_type": departures.get("grant_type") or "authorization_code",
        departures.get("code_param") or "code": code.reveal(),
        "redirect_uri": redirect_uri,
        **extra,
    }
    if code_verifier is not None and not definition.get("disable_pkce"):
        params["code_verifier"] = code_verifier.reveal()
    secrets = (
        code.reveal(),
        *((code_verifier.reveal(),) if code_verifier is not None else ()),
        *client.secrets(),
        *foreign,
    )
    url = token_request.url_of(provider.token_url, provider, connection_config)
    request = TokenRequest(url, params, departures, secrets, values)
    return _tokens(egress, provider, client, request, now=now)


def refresh(
    egress: Egress,
    provider: Provider,
    client: OAuthClient,
    *,
    refresh_token: Secret[str],
    connection_config: Mapping[str, Any],
    now: float,
    access_token: Secret[str] | None = None,
    deadline: float = token_request.DEADLINE_SECONDS,
) -> TokenSet:
    """Get new tokens for a refresh token (RFC 6749 §6).

    The grant type is ``refresh_token`` even where an entry's ``token_params`` say
    ``authorization_code``. A result without ``refresh_token`` means that the old one stays good.

    Args:
        egress: the way out.
        provider: its entry; ``refresh_params`` (else ``token_params``) and ``token_refresh``
            shape the request.
        client: the app, or the connection's own override of it.
        refresh_token: the current one.
        connection_config: fills templates.
        now: epoch seconds.
        access_token: the current one, for entries whose refresh needs or keeps it.
        deadline: seconds for the whole exchange.

    Raises:
        TokenError: no tokens came; ``may_have_rotated`` tells whether the old one may be used up.
    """
    definition = provider.definition
    departures: Mapping[str, Any] = definition.get("token_refresh") or {}
    if departures.get("same_as_exchange"):
        departures = {**(definition.get("token_exchange") or {}), **departures}
    if definition.get("refresh_token_headers"):
        own = {**definition["refresh_token_headers"], **(departures.get("headers") or {})}
        departures = {**departures, "headers": own}
    values = token_request.template_values(connection_config, now)
    current = access_token.reveal() if access_token is not None else ""
    tokens = {"refresh_token": refresh_token.reveal(), "access_token": current}
    entry_params = definition.get("refresh_params")
    if entry_params is None:
        entry_params = {**(definition.get("token_params") or {}), "grant_type": "refresh_token"}
    extra, foreign = token_request.filled(
        {
            **entry_params,
            **(definition.get("refresh_token_params") or {}),
            **(departures.get("params") or {}),
        },
        {**values, **token_request.client_values(client), **tokens},
    )
    params: dict[str, Any] = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token.reveal(),
        **extra,
    }
    if params["grant_type"] == "authorization_code":
        params["grant_type"] = "refresh_token"
    if departures.get("grant_type"):
        params["grant_type"] = departures["grant_type"]
    secrets = (refresh_token.reveal(), current, *client.secrets(), *foreign)
    template = provider.token_url
    if definition.get("use_refresh_url") and definition.get("refresh_url"):
        template = str(definition["refresh_url"])
    url = token_request.url_of(template, provider, connection_config)
    request = TokenRequest(url, params, departures, secrets, {**values, **tokens}, deadline)
    keep = access_token if departures.get("keeps_access_token") else None
    return _tokens(egress, provider, client, request, now=now, grant="refresh", keep=keep)


def client_credentials(
    egress: Egress,
    provider: Provider,
    client: OAuthClient,
    *,
    connection_config: Mapping[str, Any],
    now: float,
    default_life: float | None = CLIENT_LIFE,
) -> TokenSet:
    """Get a token for the client itself (RFC 6749 §4.4, contract 9.7).

    Args:
        egress: the way out.
        provider: its entry; ``token_params`` and ``token_exchange`` shape the request.
        client: the app's id and secret, as the connection holds them.
        connection_config: fills templates; ``oauth_scopes`` (comma separated) is the scope asked
            for, ``authorization_params`` (a mapping) is added to the request.
        now: epoch seconds.
        default_life: seconds to assume when nobody tells.

    Raises:
        TokenError: no token came. ConfigurationError for ``private_key_jwt`` and mutual TLS.
        ReservedParameter: ``authorization_params`` would replace the client's authentication.
    """
    definition = provider.definition
    departures: Mapping[str, Any] = definition.get("token_exchange") or {}
    values = token_request.template_values(connection_config, now)
    if "client_auth" in departures:
        proof = token_request.proof_for(provider, client, departures, values)
    else:
        proof = client_authentication.for_client_credentials(definition, client)
    params, foreign = token_request.filled(
        {**(definition.get("token_params") or {}), **(departures.get("params") or {})},
        {**values, **token_request.client_values(client)},
    )
    params.setdefault("grant_type", departures.get("grant_type") or "client_credentials")
    scopes = connection_config.get("oauth_scopes")
    if isinstance(scopes, str) and scopes:
        separator = str(definition.get("scope_separator") or " ")
        params["scope"] = separator.join(s.strip() for s in scopes.split(",") if s.strip())
    added = connection_config.get("authorization_params")
    for name, value in added.items() if isinstance(added, Mapping) else ():
        if str(name).strip().lower() in _CC_RESERVED:
            raise ReservedParameter(str(name))
        if value is None or value == "undefined":
            params.pop(str(name), None)
        else:
            params[str(name)] = value
    url = token_request.url_of(provider.token_url, provider, connection_config)
    secrets = (*client.secrets(), *foreign)
    request = TokenRequest(url, params, departures, secrets, values)
    answer, payload = token_request.send(egress, provider, client, proof, request)
    if payload is not None and token_request.succeeded(provider, answer, payload):
        found = token_answer.token_set(definition, payload, now, "client_credentials", default_life)
        if found is not None:
            return found
    raise token_request.refused(provider, answer, payload, secrets, now)


def _tokens(
    egress: Egress,
    provider: Provider,
    client: OAuthClient,
    request: TokenRequest,
    *,
    now: float,
    grant: token_answer.Grant = "exchange",
    keep: Secret[str] | None = None,
) -> TokenSet:
    proof = token_request.proof_for(provider, client, request.departures, request.values)
    answer, payload = token_request.send(egress, provider, client, proof, request)
    if payload is not None and token_request.succeeded(provider, answer, payload):
        readable = payload
        if keep is not None and not payload.get("access_token"):
            readable = {**payload, "access_token": keep.reveal()}
        found = token_answer.token_set(provider.definition, readable, now, grant)
        if found is not None:
            return found
    raise token_request.refused(provider, answer, payload, request.secrets, now)
