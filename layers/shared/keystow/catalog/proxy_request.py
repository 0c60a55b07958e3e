"""Builds a request to a provider's API with a connection's credentials (contract 7, 11.1).

Nothing is sent here. Whoever sends it owns the rest of the rules: which hosts may be reached,
redirects, retries.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote_plus, urlencode, urlsplit

from keystow.catalog.errors import InterpolationError
from keystow.catalog.interpolate import (
    interpolate_string_from_object,
    is_resolved,
    placeholders,
)
from keystow.catalog.loader import Provider

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_CONFIG = "connectionConfig."
_CONFIG_PLACEHOLDER = re.compile(r"(\$\{connectionConfig\.[^{}]{1,200}\})")
_DOTS: Final = frozenset({".", ".."})
_SAFE_IN_PATH: Final = "/%:@!$&'()*+,;=-._~"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NO_VALUES: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request ready to be sent. Only the method shows in its repr: all else may hold a secret."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf requests are built, with the one instant and random value they share.

    Attributes:
        provider: the entry.
        credentials: as stored (contract 8.2), in the clear.
        connection_config: as stored.
        now_iso: ISO 8601 instant for `${now}`.
        random: value for `${random}`.
        client: `client_id` and `client_secret` of the integration, where headers need them.
        authorization: what the mode sends as `Authorization` when the entry says nothing else.
        settings: what the integration's owner says of an API of their own: `baseUrl`, `keyName`,
            `keyPlacement` (`header` or `query`), `valueTemplate`.
        sign: adds the signature of the mode to a request that is whole but for it.
    """

    provider: Provider
    credentials: Mapping[str, Any] = field(repr=False)
    connection_config: Mapping[str, Any]
    now_iso: str
    random: str
    client: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorization: str = field(default="", repr=False)
    sign: Callable[[OutgoingRequest], OutgoingRequest] | None = field(default=None, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)


def verification_requests(caller: Caller) -> list[OutgoingRequest]:
    """The calls that show whether credentials work: they do if any one answers 2xx.

    Empty when the entry has none: then the credentials are accepted untested.

    Raises:
        InterpolationError: the credentials or the config lack something that the calls need, or
            hold what no request can carry. That is a fault of what was typed.
    """
    verification = caller.provider.proxy.get("verification")
    if not isinstance(verification, Mapping):
        return []
    return [
        build_request(
            caller,
            str(verification.get("method") or "GET"),
            endpoint,
            headers=verification.get("headers") or {},
            data=verification.get("data"),
            base_url_override=str(verification.get("base_url_override") or ""),
        )
        for endpoint in verification["endpoints"]
    ]


def build_request(
    caller: Caller,
    method: str,
    endpoint: str,
    *,
    headers: Mapping[str, str] = _NO_VALUES,
    data: Any = None,
    base_url_override: str = "",
    default_auth: bool = True,
) -> OutgoingRequest:
    """One request to `endpoint`, a path below the entry's base URL or that URL and a path.

    Args:
        caller: credentials and what goes with them.
        method: HTTP method.
        endpoint: path and query; placeholders are filled in, percent-encoded.
        headers: templates, set after the entry's own.
        data: JSON body (a form where the content type says so), or text.
        base_url_override: replaces the entry's base URL.
        default_auth: False leaves out whatever credential the mode and the entry would send.

    Raises:
        InterpolationError: something needed is missing, or a value can't stand in a request.
    """
    provider, config = caller.provider, caller.connection_config
    scope = _scope(caller)
    base_template = base_url_override or str(provider.proxy.get("base_url") or "")
    base = provider.url(base_template, config)
    path = _fill_endpoint(endpoint.removeprefix(base_template), scope).removeprefix(base)
    url = f"{base.rstrip('/')}/{path.lstrip('/')}" if path.strip("/") else base
    url = _with_query(url, provider, scope)
    if _CONTROL.search(url) or " " in url:
        raise InterpolationError("invalid_url", "The request's URL is not valid.", endpoint)
    body_value = _with_body(data, provider, scope)

    given = {name.lower(): value for name, value in headers.items()}
    own = _own_headers(provider)
    is_form = "x-www-form-urlencoded" in str(given.get("content-type", own.get("content-type", "")))
    body, content_type = _encode(body_value, form=is_form)
    scope |= _about(method, url, body, content_type or "", endpoint)

    result: dict[str, str] = {"content-type": content_type} if content_type else {}
    if default_auth:
        result |= _credential_headers(caller, scope)
    result |= _fill_headers(given, scope)
    request = OutgoingRequest(method.upper(), url, result, body)
    return caller.sign(request) if caller.sign and default_auth else request


def passed_on(
    caller: Caller,
    method: str,
    endpoint: str,
    *,
    query: str = "",
    headers: Mapping[str, str] = _NO_VALUES,
    body: bytes | None = None,
    base_url_override: str = "",
) -> OutgoingRequest:
    """A request of somebody else's to the provider's API, with the connection's credential.

    What the caller gives is no template, except for `${connectionConfig.x}` in the endpoint and the
    override. Their headers come over those of mode and entry, but for the entry's `user-agent`; the
    entry's query parameters come over theirs, and their fields of a body over the entry's.

    Args:
        caller: credentials and what goes with them.
        method: HTTP method.
        endpoint: a path below the base URL, or that URL and a path. What no URL may hold is
            percent-encoded; what is so already stays.
        query: query string, as it came.
        headers: lower-case names.
        body: as it came.
        base_url_override: replaces the entry's base URL.

    Raises:
        InterpolationError: the config or the credential lacks something that the entry needs, or a
            value can't stand in a request.
    """
    provider = caller.provider
    base = base_of(caller, base_url_override).rstrip("/")
    scope = _scope(caller)
    path = _path_of(endpoint, caller.connection_config).removeprefix(base)
    url = f"{base}/{path.removeprefix('/')}" if path else base
    own_query, own_headers = _key_of(caller, scope)
    own_query = _filled_query(provider, scope) | own_query
    pairs = [pair for pair in query.split("&") if pair and _name_of(pair) not in own_query]
    if own_query:
        pairs.append(urlencode(own_query))
    url += f"?{'&'.join(pairs)}" if pairs else ""
    content_type = headers.get("content-type", "")
    body = _with_own_fields(body, content_type, provider, scope)
    scope |= _about(method, url, body, content_type, endpoint)
    placed = _credential_headers(caller, scope) | own_headers
    over = {
        k: v for k, v in headers.items() if k != "user-agent" or k not in _own_headers(provider)
    }
    request = OutgoingRequest(method.upper(), url, {**placed, **over}, body)
    return caller.sign(request) if caller.sign else request


def base_of(caller: Caller, override: str = "") -> str:
    """The base URL of the API for a connection. Raises InterpolationError."""
    entry = caller.settings.get("baseUrl") or caller.provider.proxy.get("base_url")
    base_template = override or str(entry or "")
    return caller.provider.url(base_template, caller.connection_config)


def needs(provider: Provider, *names: str) -> bool:
    """Whether requests to the provider's API hold a value of one of these names."""
    proxy = provider.proxy
    texts = json.dumps([proxy.get(part) for part in ("headers", "query", "body")])
    return not set(names).isdisjoint(placeholders(texts))


def _scope(caller: Caller) -> dict[str, Any]:
    credentials = caller.credentials
    token = credentials.get("access_token", credentials.get("token"))
    override = credentials.get("config_override")
    app = {} if caller.provider.client_per_connection else caller.client
    client = {**app, **(override if isinstance(override, Mapping) else {})}
    scope: dict[str, Any] = {
        "connectionConfig": caller.connection_config,
        "credentials": credentials,
        "accessToken": token,
        "clientId": client.get("client_id"),
        "clientSecret": client.get("client_secret"),
        "now": caller.now_iso,
        "random": caller.random,
    }
    for name in ("apiKey", "username", "password", "token", "refresh_token"):
        scope[name] = credentials.get(name)
    return scope


def _fill_endpoint(endpoint: str, scope: Mapping[str, Any]) -> str:
    filled = interpolate_string_from_object(endpoint, _quoted(scope))
    if not is_resolved(filled):
        raise InterpolationError(
            "missing_parameters", f"A value is missing for the endpoint {endpoint}.", endpoint
        )
    return filled


def _quoted(value: Any) -> Any:
    if isinstance(value, str):
        return quote(value, safe="")
    if isinstance(value, Mapping):
        return {key: _quoted(item) for key, item in value.items()}
    return value


def _with_query(url: str, provider: Provider, scope: Mapping[str, Any]) -> str:
    query = _filled_query(provider, scope)
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _filled_query(provider: Provider, scope: Mapping[str, Any]) -> dict[str, str]:
    filled = {
        name: interpolate_string_from_object(str(template), scope)
        for name, template in provider.proxy.get("query", {}).items()
    }
    return {name: value for name, value in filled.items() if is_resolved(value)}


def _name_of(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])


def _key_of(caller: Caller, scope: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """The query parameter or the header that the integration's owner puts the credential in."""
    name = caller.settings.get("keyName")
    if not name:
        return {}, {}
    template = caller.settings.get("valueTemplate") or "${apiKey}"
    if caller.settings.get("keyPlacement") == "query":
        value = interpolate_string_from_object(template, scope)
        if not is_resolved(value):
            raise InterpolationError("missing_parameters", "A value is missing for the key.", name)
        return {name: value}, {}
    return {}, _fill_headers({name.lower(): template}, scope)


def _path_of(endpoint: str, config: Mapping[str, Any]) -> str:
    scope = {"connectionConfig": _quoted(config)}
    found = ""
    for number, piece in enumerate(_CONFIG_PLACEHOLDER.split(endpoint)):
        filled = interpolate_string_from_object(piece, scope) if number % 2 else piece
        if number % 2 and filled in _DOTS:
            raise InterpolationError("unsafe_value", "A value of the endpoint is only dots.", piece)
        found += filled if number % 2 and is_resolved(filled) else _encoded_path(piece)
    return found


def _encoded_path(text: str) -> str:
    """Percent-encode what cannot stand in a path (RFC 3986 section 3.3), and no escape twice."""
    return _LONE_PERCENT.sub("%25", quote(text, safe=_SAFE_IN_PATH, errors="replace"))


def _with_own_fields(
    body: bytes | None, content_type: str, provider: Provider, scope: Mapping[str, Any]
) -> bytes | None:
    """A caller's body with the fields that the entry adds; as it is where there are none to add."""
    template = provider.proxy.get("body")
    own = _resolved_only(_fill_data(template, scope)) if isinstance(template, Mapping) else {}
    if not own or not body:
        return body
    if "x-www-form-urlencoded" in content_type.lower():
        given = {_name_of(pair) for pair in body.decode(errors="replace").split("&")}
        more = {name: value for name, value in own.items() if name not in given}
        return body + b"&" + urlencode(more).encode() if more else body
    if content_type and "json" not in content_type.lower():
        return body
    try:
        found = json.loads(body)
        # Python reads what no JSON can say (NaN, 1e999), and halves of a character.
        return _json({**own, **found}) if isinstance(found, dict) else body
    except (ValueError, RecursionError):
        return body


def _with_body(data: Any, provider: Provider, scope: Mapping[str, Any]) -> Any:
    filled = _resolved_only(_fill_data(data, scope))
    template = provider.proxy.get("body")
    if not isinstance(template, Mapping) or not (filled is None or isinstance(filled, Mapping)):
        return filled
    own = _resolved_only(_fill_data(template, scope))
    return {**own, **(filled or {})} or None


def _fill_data(value: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return interpolate_string_from_object(value, scope)
    if isinstance(value, Mapping):
        return {key: _fill_data(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill_data(item, scope) for item in value]
    return value


def _resolved_only(value: Any) -> Any:
    """Without the leaves that could not be filled in."""
    if isinstance(value, Mapping):
        return {
            key: _resolved_only(item) for key, item in value.items() if not _is_unresolved(item)
        }
    if isinstance(value, list):
        return [_resolved_only(item) for item in value if not _is_unresolved(item)]
    return value


def _is_unresolved(value: Any) -> bool:
    return isinstance(value, str) and not is_resolved(value)


def _encode(value: Any, *, form: bool) -> tuple[bytes | None, str | None]:
    if value is None:
        return None, None
    if isinstance(value, str):
        return value.encode(), "text/plain"
    if form and isinstance(value, Mapping):
        return urlencode(value).encode(), "application/x-www-form-urlencoded"
    return _json(value), "application/json"


def _json(value: Any) -> bytes:
    """Raises ValueError for what JSON in UTF-8 cannot say."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _about(
    method: str, url: str, body: bytes | None, content_type: str, endpoint: str
) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "method": method.upper(),
        "host": parts.netloc,
        "path": parts.path or "/",
        "params": parts.query,
        "endpoint": endpoint,
        "urlCanonicalParams": "&".join(sorted(filter(None, parts.query.split("&")))),
        "bodyCanonicalParams": (body or b"").decode(errors="replace"),
        "contentType": content_type,
    }


def _own_headers(provider: Provider) -> dict[str, str]:
    return {name.lower(): value for name, value in provider.proxy.get("headers", {}).items()}


def _credential_headers(caller: Caller, scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers with which mode and entry send the credential, and the entry's others."""
    placed = {}
    if caller.authorization:
        _check_header_value("authorization", caller.authorization)
        placed["authorization"] = caller.authorization
    return placed | _fill_headers(_own_headers(caller.provider), scope)


def _fill_headers(templates: Mapping[str, str], scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers that can be filled in.

    One that waits for a config value, which may be optional, is left out. One that waits for
    anything else would send a request without its credential, so that is an error.
    """
    filled: dict[str, str] = {}
    for name, template in templates.items():
        value = interpolate_string_from_object(str(template), scope)
        missing = placeholders(value) if not is_resolved(value) else []
        if any(not key.startswith(_CONFIG) for key in missing):
            raise InterpolationError(
                "missing_parameters", f"A value is missing for the header {name}.", str(template)
            )
        if missing:
            continue
        _check_header_value(name, value)
        filled[name] = value
    return filled


def _check_header_value(name: str, value: str) -> None:
    # RFC 9110 section 5.5: a line break in a value would start another header.
    if _CONTROL.search(value) or not _HEADER_NAME.fullmatch(name) or not value.isascii():
        raise InterpolationError("unsafe_value", f"The header {name} can't carry its value.")
