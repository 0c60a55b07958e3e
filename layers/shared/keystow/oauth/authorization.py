"""RFC 6749 §4.1.1: the URL that the browser is sent to."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit
from uuid import UUID

from keystow.catalog.interpolate import (
    interpolate_object_values,
    misses_interpolation_param,
    own_query_names,
    placeholders,
    query_name,
)
from keystow.oauth.authorization_params import UNDEFINED, check_authorization_params
from keystow.oauth.pkce import METHOD
from keystow.oauth.token_request import form_encoded, text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from keystow.catalog.loader import Provider

_LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_EMPTY: Final = re.compile(r"[^=]*=")
# Everything printable but what ends or splits a query, or a URL in a header.
_LEFT_UNENCODED: Final = "!$%'()*+,/:;=?@[]^_`{|}~.-\\"


class InvalidAuthorizationUrl(ValueError):  # noqa: N818 - what it is, in the field's words
    """The entry and the connection's config give no URL that a browser may be sent to."""


def missing_parameters(provider: Provider, connection_config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the config values that the flow would lack, without ``connectionConfig.`` (9.2.1).

    An empty result means that the authorization can start. Of ``a || b`` one complete side is
    enough. The token URL counts only where the contract says so (MCP): elsewhere its values may
    arrive with the callback.
    """
    values = _values(connection_config, "")
    missing: dict[str, None] = {}
    for template in _needed(provider.definition):
        if misses_interpolation_param(template, values):
            side = template.split(" || ")[0]
            for key in placeholders(side):
                if misses_interpolation_param(f"${{{key}}}", values):
                    missing[key.removeprefix("connectionConfig.")] = None
    return tuple(missing)


def uses_code_grant(provider: Provider) -> bool:
    """Tell whether the entry's grant is the authorization code (contract 9.2.2)."""
    params = provider.definition.get("token_params") or {}
    return str(params.get("grant_type", "authorization_code")) == "authorization_code"


def authorization_url(
    provider: Provider,
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    state: str,
    code_challenge: str | None,
    connection_config: Mapping[str, Any],
    authorization_params: Mapping[str, str | None],
    user_scope: str | None = None,
) -> str:
    """Return the URL of an authorization request (contract 9.2).

    Args:
        provider: its entry.
        client_id: of the app.
        redirect_uri: our callback, exactly as it will be sent to the token endpoint.
        scopes: asked for; none gives no ``scope`` at all (RFC 6749 §3.3 knows no empty one).
        state: of this attempt.
        code_challenge: of this attempt; None only where the entry has PKCE off.
        connection_config: fills templates.
        authorization_params: the caller's; None or ``"undefined"`` removes the entry's own.
        user_scope: sent as such when given.

    Raises:
        ReservedParameter: see ``check_authorization_params``.
        InvalidAuthorizationUrl: neither https nor http on loopback.
        InterpolationError: a value for a template is missing.
        ValueError: no challenge, although the entry does not turn PKCE off.
    """
    entry = provider.definition
    check_authorization_params(authorization_params, provider)
    values = _values(connection_config, state)
    params: dict[str, str] = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": str(entry.get("scope_separator") or " ").join(scopes),
        "state": state,
    }
    own = interpolate_object_values(entry.get("authorization_params") or {}, values)
    params |= {name: text(value) for name, value in own.items()}
    if not entry.get("disable_pkce"):
        if not code_challenge:
            raise ValueError("PKCE is on for this provider, so a challenge is needed")
        params |= {"code_challenge": code_challenge, "code_challenge_method": METHOD}
    if user_scope is not None:
        params["user_scope"] = user_scope
    for name, value in authorization_params.items():
        if value is None or value == UNDEFINED:
            params.pop(name, None)
        else:
            params[name] = value
    if not params.get("scope"):
        params.pop("scope", None)
    taken = {*params, *authorization_params}
    return _assembled(entry, _endpoint(provider, connection_config, taken), params)


def browser_url(
    provider: Provider,
    *,
    connection_config: Mapping[str, Any],
    state: str,
    given: Mapping[str, str | None],
    fixed: Mapping[str, str],
) -> str:
    """Return the entry's authorization URL for a protocol other than OAuth 2.0.

    Args:
        provider: its entry.
        connection_config: fills templates.
        state: of this attempt.
        given: over the entry's own parameters; None or ``"undefined"`` removes one of them.
        fixed: of the protocol, over both.

    Raises:
        InvalidAuthorizationUrl, InterpolationError: as :func:`authorization_url`.
    """
    entry = provider.definition
    values = _values(connection_config, state)
    own = interpolate_object_values(entry.get("authorization_params") or {}, values)
    merged = {**{name: text(value) for name, value in own.items()}, **given, **fixed}
    params = {name: each for name, each in merged.items() if each not in (None, UNDEFINED)}
    endpoint = _endpoint(provider, connection_config, merged)
    return _assembled(entry, endpoint, {name: str(each) for name, each in params.items()})


def _endpoint(
    provider: Provider, connection_config: Mapping[str, Any], taken: Collection[str]
) -> str:
    """Return the endpoint with its own query (RFC 6749 §3.1), less what the request itself sets.

    A value of the connection's config adds no parameter: only names that stand in the template
    count, and in the query values are always encoded.
    """
    entry, template = provider.definition, provider.authorization_url
    skip = [s for s in entry.get("authorization_url_skip_encode") or () if s == "base_url"]
    parts = urlsplit(provider.url(template, connection_config, skip))
    secure = parts.scheme == "https"
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK_HOSTS
    if not (secure or local) or not parts.hostname or "@" in parts.netloc:
        raise InvalidAuthorizationUrl("the authorization URL of this connection is not https")
    endpoint = f"{parts.scheme}://{parts.netloc}{parts.path or '/'}"
    names = own_query_names(entry) - set(taken)
    if not names:
        return endpoint
    query = urlsplit(provider.url(template, connection_config)).query
    own = "&".join(part for part in query.split("&") if part and query_name(part) in names)
    return f"{endpoint}?{own}" if own else endpoint


def _assembled(entry: Mapping[str, Any], endpoint: str, params: dict[str, str]) -> str:
    """Join the parts, then bend the URL as the entry says, in the order of contract 9.2.6."""
    unencoded = "scopes" in (entry.get("authorization_url_skip_encode") or ())
    scope = params.pop("scope", "") if unencoded else ""
    query = form_encoded(params)
    if scope:
        query = f"{query}&scope={quote(scope, safe=_LEFT_UNENCODED)}"
    fragment = entry.get("authorization_url_fragment")
    joint = "&" if "?" in endpoint else "?"
    url = f"{endpoint}#{fragment}?{query}" if fragment else f"{endpoint}{joint}{query}"
    for old, new in (entry.get("authorization_url_replacements") or {}).items():
        url = url.replace(old, new, 1)
    if entry.get("authorization_url_skip_empty"):
        before, _, rest = url.partition("?")
        url = f"{before}?" + "&".join(p for p in rest.split("&") if not _EMPTY.fullmatch(p))
    return url


def _needed(entry: Mapping[str, Any]) -> Iterator[str]:
    yield str(entry.get("authorization_url") or "")
    for name in ("authorization_params", "token_params"):
        yield from (v for v in (entry.get(name) or {}).values() if isinstance(v, str))
    if entry.get("auth_mode") == "MCP_OAUTH2":
        yield str(entry.get("token_url") or "")


def _values(connection_config: Mapping[str, Any], state: str) -> dict[str, Any]:
    """Return what templates may use; ``random`` follows from the state, so it is fresh and ours."""
    nonce = UUID(bytes=sha256(f"nonce:{state}".encode()).digest()[:16], version=4)
    return {**connection_config, "random": str(nonce)}
