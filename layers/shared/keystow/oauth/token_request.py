"""Builds a token request as a provider's entry wants it, sends it, and reads the answer.

What RFC 6749 rules stands in ``token_endpoint``; here is the carrying out: templates, formats and
the departures that an entry declares under ``token_exchange`` and ``token_refresh``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus
from uuid import uuid4

from keystow.catalog.honoured import media_type
from keystow.catalog.interpolate import (
    InterpolationError,
    interpolate_object_values,
    interpolate_string_from_object,
    is_resolved,
)
from keystow.clock import iso
from keystow.egress.errors import EgressError
from keystow.oauth import client_authentication, token_answer
from keystow.oauth.errors import ConfigurationError, TokenError, from_answer, from_egress

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.egress.client import Answer, Egress
    from keystow.oauth.client_authentication import ClientProof, OAuthClient

LARGEST_ANSWER: Final = 1_000_000
DEADLINE_SECONDS: Final = 20.0
_SECRET_FROM: Final = 4  # shorter values are words, and masking them garbles every sentence
_BODY_FORMATS: Final = ("form", "json", "query")
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "Keystow"}


@dataclass(frozen=True, repr=False)
class TokenRequest:
    """One request to a token endpoint, still without its client authentication.

    Attributes:
        url: where to.
        params: grant parameters, in the order of sending.
        departures: how the entry departs from the RFC here.
        secrets: what must not come back in an error.
        values: what templates of the departures may use beside ``connectionConfig``.
        deadline: seconds for the whole exchange.
    """

    url: str
    params: Mapping[str, Any]
    departures: Mapping[str, Any]
    secrets: tuple[str, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    deadline: float = DEADLINE_SECONDS


def url_of(template: str, provider: Provider, connection_config: Mapping[str, Any]) -> str:
    """Return an endpoint of the entry, filled in; its query is kept (RFC 6749 §3.2).

    Raises:
        ConfigurationError: the entry has no such endpoint, or a value for it is missing.
    """
    if not template:
        raise ConfigurationError("missing_endpoint", "the provider's entry has no such endpoint")
    skip = provider.definition.get("token_url_skip_encode") or ()
    try:
        return provider.url(template, connection_config, skip)
    except InterpolationError as error:
        raise ConfigurationError(error.reason, str(error)) from None


def filled(
    params: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fill templates of parameters in.

    Returns:
        The parameters, and those values that came from outside the entry (they may be secret).

    Raises:
        ConfigurationError: a placeholder has no value.
    """
    result = interpolate_object_values(params, values)
    foreign: list[str] = []
    for name, value in result.items():
        own = set(_texts(params[name]))
        for found in _texts(value):
            if not is_resolved(found):
                raise ConfigurationError(
                    "missing_parameters", f"the parameter {name} has no value for this connection"
                )
            if found not in own and len(found) >= _SECRET_FROM:
                foreign.append(found)
    return result, tuple(foreign)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a parameter, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def template_values(connection_config: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return what every template may use: the connection's config, ``now`` and ``random``."""
    return {**connection_config, "now": iso(now), "random": str(uuid4())}


def send(
    egress: Egress,
    provider: Provider,
    client: OAuthClient,
    proof: ClientProof,
    request: TokenRequest,
) -> tuple[Answer, dict[str, Any] | None]:
    """Send a token request and return the answer with its decoded fields.

    Raises:
        TokenError: the request was refused by the guard, or brought no answer.
        ConfigurationError: the entry asks for a format that is not supported.
    """
    departures = request.departures
    body_format = departures.get("body_format") or provider.definition.get("body_format") or "form"
    if departures.get("params_in") == "query":
        body_format = "query"
    if body_format not in _BODY_FORMATS:
        raise ConfigurationError(
            "unsupported_body_format", f"token requests as {body_format} are not supported"
        )
    params = {**request.params, **_renamed(proof.body, departures)}
    for name in departures.get("omit") or ():
        params.pop(name, None)
    url, params = _with_redirect_uri(request.url, params, departures)
    method = departures.get("method") or provider.definition.get("token_request_method") or "POST"
    body: bytes | None
    content_type = None
    if body_format == "query" or method == "GET":
        url, body = _with_query(url, params), None if method == "GET" else b""
    elif body_format == "json":
        body = json.dumps(params).encode()
        content_type = "application/json"
    else:
        body = form_encoded(params).encode()
        content_type = "application/x-www-form-urlencoded"
    headers = _headers(_own_headers(provider, request, client), proof.headers, content_type)
    try:
        answer = egress.send(
            method,
            url,
            headers=headers,
            body=body,
            deadline=request.deadline,
            max_bytes=LARGEST_ANSWER,
        )
    except EgressError as error:
        raise from_egress(error) from None
    return answer, token_answer.decoded(answer)


def proof_for(
    provider: Provider,
    client: OAuthClient,
    departures: Mapping[str, Any],
    values: Mapping[str, Any],
) -> ClientProof:
    """Return the client authentication of a code exchange or refresh, departures included.

    Raises:
        ConfigurationError: the method is not supported.
    """
    method = departures.get("client_auth")
    if method is None:
        return client_authentication.for_code_grant(provider.definition, client)
    if method == "none":
        return client_authentication.ClientProof({}, {"client_id": client.client_id})
    if method == "basic":
        scope = {**values, **_client_values(client)}
        username, password = client.client_id, client.client_secret.reveal()
        if "basic_username" in departures or "basic_password" in departures:
            username = interpolate_string_from_object(departures.get("basic_username", ""), scope)
            password = interpolate_string_from_object(departures.get("basic_password", ""), scope)
        header = client_authentication.basic(username, password)
        return client_authentication.ClientProof({"Authorization": header}, {})
    return client_authentication.for_code_grant({"token_request_auth_method": method}, client)


def refused(
    provider: Provider,
    answer: Answer,
    payload: dict[str, Any] | None,
    secrets: tuple[str, ...],
    now: float,
) -> TokenError:
    """Return the error that an answer without usable token means."""
    path = provider.definition.get("token_error_path")
    code = token_answer.at(payload, path) if isinstance(path, str) and payload else None
    if payload is not None and isinstance(code, str | int) and not isinstance(code, bool):
        payload = {**payload, "error": str(code)}
    return from_answer(answer, payload, secrets=secrets, now=now)


def succeeded(provider: Provider, answer: Answer, payload: Mapping[str, Any]) -> bool:
    """Tell whether an answer is a success, by status and by the entry's own test."""
    if not 200 <= answer.status < 300:  # noqa: PLR2004
        return False
    test = provider.definition.get("token_success")
    if isinstance(test, Mapping):
        return bool(token_answer.at(payload, str(test.get("path"))) == test.get("equals"))
    return payload.get("ok") is not False


def form_encoded(params: Mapping[str, Any]) -> str:
    """Return ``application/x-www-form-urlencoded`` as browsers write it (WHATWG URL)."""
    return "&".join(f"{_escaped(k)}={_escaped(text(v))}" for k, v in params.items())


def text(value: Any) -> str:
    """Return a parameter's value as JavaScript clients have always sent it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _escaped(value: str) -> str:
    return quote_plus(value, safe="*").replace("~", "%7E")


def _with_query(url: str, params: Mapping[str, Any]) -> str:
    if not params:
        return url
    return url + ("&" if "?" in url else "?") + form_encoded(params)


def _with_redirect_uri(
    url: str, params: dict[str, Any], departures: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    where = departures.get("redirect_uri_in", "body")
    if where == "body" or "redirect_uri" not in params:
        return url, params
    url = _with_query(url, {"redirect_uri": params["redirect_uri"]})
    if where == "query":
        params = {k: v for k, v in params.items() if k != "redirect_uri"}
    return url, params


def _renamed(body: Mapping[str, str], departures: Mapping[str, Any]) -> dict[str, str]:
    names = {
        "client_id": departures.get("client_id_param") or "client_id",
        "client_secret": departures.get("client_secret_param") or "client_secret",
    }
    return {names.get(name, name): value for name, value in body.items()}


def _own_headers(provider: Provider, request: TokenRequest, client: OAuthClient) -> dict[str, str]:
    templates = {
        **(provider.definition.get("token_headers") or {}),
        **(request.departures.get("headers") or {}),
    }
    result, _ = filled(templates, {**request.values, **_client_values(client)})
    return {name: text(value) for name, value in result.items()}


def _headers(
    own: Mapping[str, str], proof: Mapping[str, str], content_type: str | None
) -> dict[str, str]:
    """Return the headers of a request: ours, over them the entry's, over them the client's proof.

    A content type of the entry's counts where it is that of the body, with parameters of its own.
    """
    fixed = dict(_HEADERS) if content_type is None else {**_HEADERS, "Content-Type": content_type}
    headers = {name.lower(): (name, value) for name, value in fixed.items()}
    for name, value in own.items():
        if name.lower() != "content-type":
            headers[name.lower()] = (name, value)
        elif content_type is not None and media_type(value) == content_type:
            headers["content-type"] = ("Content-Type", value)
    headers.update({name.lower(): (name, value) for name, value in proof.items()})
    return dict(headers.values())


def _client_values(client: OAuthClient) -> dict[str, str]:
    secret = client.client_secret.reveal()
    return {
        "client_id": client.client_id,
        "client_secret": secret,
        "clientId": client.client_id,
        "clientSecret": secret,
    }


def client_values(client: OAuthClient) -> dict[str, str]:
    """Return the names under which templates of departures may use the client."""
    return _client_values(client)
