"""Refuses what a definition may say and no flow would do: accepted means used."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

# Set by what sends the request: the frame of the exchange, and what it is able to unpack.
_NEVER: Final = frozenset(
    {"host", "content-length", "connection", "keep-alive", "transfer-encoding", "te", "trailer"}
    | {"upgrade", "expect", "proxy-connection", "proxy-authorization", "accept-encoding"}
)
_MEDIA_TYPES: Final[Mapping[str, str]] = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
}
# The modes that this version runs with token requests; the fields of others are kept for clients.
_RUN: Final = frozenset({"OAUTH2", "OAUTH2_CC"})
# Fields that say how a token is obtained in a mode of their own.
_OF_OTHER_MODES: Final = (
    *("token_response", "token_response_headers", "additional_steps", "assertion"),
    *("assertion_option", "signature", "token"),
)
# Client credentials have no refresh token: a new token is asked for as the first one was.
_OF_REFRESHES: Final = (
    *("token_refresh", "refresh_url", "use_refresh_url", "refresh_params"),
    *("refresh_token_headers", "dual_tokens"),
)
# How OAuth 1.0a asks for its tokens; nothing else reads these.
_OF_OAUTH1: Final = (
    *("request_url", "request_params", "request_http_method", "token_http_method"),
    "signature_method",
)
# How OAuth 2.0 asks for its tokens; modes that sign requests send none of it.
_OF_OAUTH2: Final = (
    *_OF_REFRESHES,
    *("token_exchange", "token_headers", "body_format", "token_request_auth_method"),
    *("introspection", "token_success", "revocation_url", "device_authorization_url", "issuer"),
    *("issuer_required", "default_expires_in", "refresh_token_life_days"),
)
_WITHOUT_EFFECT: Final = {
    "OAUTH2": _OF_OAUTH1,
    "OAUTH2_CC": _OF_OAUTH1,
    "OAUTH1": (*_OF_OTHER_MODES, *_OF_OAUTH2),
    "TBA": (*_OF_OTHER_MODES, *_OF_OAUTH2, *_OF_OAUTH1),
    "SIGNATURE": (*_OF_OAUTH2, *_OF_OAUTH1),
    "AWS_SIGV4": (*_OF_OTHER_MODES, *_OF_OAUTH2, *_OF_OAUTH1),
}
_REQUESTED: Final = ("token_url", "refresh_url", "revocation_url", "request_url")


def check_honoured(definition: Mapping[str, Any]) -> None:
    """Refuses headers, formats and URLs that would be left out or changed in silence.

    Raises:
        ValueError: with the name of the field.
    """
    for place, headers in _headers(definition):
        taken = _NEVER & {name.lower() for name in headers}
        if taken:
            raise ValueError(f"{place} may not set {', '.join(sorted(taken))}")
    _check_urls(definition)
    mode = definition["auth_mode"]
    for name in _WITHOUT_EFFECT.get(mode, ()):
        if name in definition:
            raise ValueError(f"{name} has no effect in {mode}")
    if mode in _RUN:
        _check_token_requests(definition)


def _headers(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every set of headers that is sent somewhere, with its place."""
    for name in ("token_headers", "refresh_token_headers"):
        yield name, definition.get(name) or {}
    for step in definition.get("additional_steps") or ():
        yield "additional_steps.token_headers", step.get("token_headers") or {}
    for name in ("token_exchange", "token_refresh", "proxy", "on_disconnect"):
        yield f"{name}.headers", (definition.get(name) or {}).get("headers") or {}
    verification = (definition.get("proxy") or {}).get("verification") or {}
    yield "proxy.verification.headers", verification.get("headers") or {}
    for call in (definition.get("post_connection") or {}).get("calls") or ():
        yield "post_connection.calls.headers", call.get("headers") or {}


def _check_urls(definition: Mapping[str, Any]) -> None:
    """A fragment is never sent, and to a base with a query no path can be added."""
    urls: dict[str, Any] = {name: definition.get(name) for name in _REQUESTED}
    for step in definition.get("additional_steps") or ():
        if "#" in step["token_url"]:
            raise ValueError("additional_steps.token_url may not have a fragment")
    urls["introspection.url"] = (definition.get("introspection") or {}).get("url")
    base = urls["proxy.base_url"] = (definition.get("proxy") or {}).get("base_url")
    for name, url in urls.items():
        if any(
            "#" in each for each in (url.values() if isinstance(url, Mapping) else (url or "",))
        ):
            raise ValueError(f"{name} may not have a fragment")
    if "?" in (base or ""):
        raise ValueError("proxy.base_url may not have a query; proxy.query is for that")


def _check_token_requests(definition: Mapping[str, Any]) -> None:
    mode = definition["auth_mode"]
    for name in (*_OF_OTHER_MODES, *(_OF_REFRESHES if mode == "OAUTH2_CC" else ())):
        if name in definition:
            raise ValueError(f"{name} has no effect in {mode}")
    if definition.get("require_client_certificate"):
        raise ValueError("require_client_certificate: mutual TLS is not supported")
    said = [
        ("token_request_auth_method", definition.get("token_request_auth_method")),
        ("body_format", definition.get("body_format")),
    ]
    for name in ("token_exchange", "token_refresh"):
        departures = definition.get(name) or {}
        said += [
            (f"{name}.{part}", departures.get(part)) for part in ("client_auth", "body_format")
        ]
    for name, value in said:
        if value in {"private_key_jwt", "xml"}:
            raise ValueError(f"{name}: {value} is not supported in {mode}")
    for name, headers, body_format in _token_headers(definition):
        given = {key.lower(): value for key, value in headers.items()}.get("content-type")
        wanted = _MEDIA_TYPES.get(body_format)
        if given is not None and (wanted is None or media_type(given) != wanted):
            raise ValueError(f"{name}: content-type does not fit the body; see body_format")


def _token_headers(
    definition: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yield the headers of token requests with the format of the body that they go with."""
    general = str(definition.get("body_format") or "form")
    yield "token_headers", definition.get("token_headers") or {}, general
    yield "refresh_token_headers", definition.get("refresh_token_headers") or {}, general
    for name in ("token_exchange", "token_refresh"):
        departures = definition.get(name) or {}
        own = "query" if departures.get("params_in") == "query" else departures.get("body_format")
        yield f"{name}.headers", departures.get("headers") or {}, str(own or general)


def media_type(value: str) -> str:
    """Return the type of a ``content-type`` without its parameters."""
    return value.partition(";")[0].strip().lower()
