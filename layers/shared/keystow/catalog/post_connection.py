"""Runs what an entry wants done once a connection is made.

A provider's failure never raises here: the connection stands, and the result says in words what
went wrong. No word of it comes from the provider or from a credential.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keystow.catalog.errors import CatalogueError
from keystow.catalog.hooks import HOOKS, Fetch, HookError
from keystow.catalog.inputs import cleaned, fields_as_used, fits
from keystow.catalog.interpolate import interpolate_string_from_object, is_resolved
from keystow.catalog.proxy_request import Caller, OutgoingRequest, build_request
from keystow.egress.reading import json_of

# Sends one request and gives its status and decoded body (None when it is not JSON).
Send = Callable[[OutgoingRequest], tuple[int, Any]]

_STEP = re.compile(r"\[(\d+|\?[^\[\]]*)\]|([^.\[\]]+)")
_OK = range(200, 300)
_MAX_VALUE = 4_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was learnt.

    Attributes:
        updates: config names and the values to write.
        removals: config names to remove.
        error: what went wrong, fit to be shown and logged; None when nothing did.
    """

    updates: Mapping[str, Any] = field(default_factory=dict)
    removals: tuple[str, ...] = ()
    error: str | None = None


def run_post_connection(caller: Caller, fetch: Send) -> Outcome:
    """Learns what the entry's `post_connection` says, in the order: sets, calls, hook.

    What was learnt before a failure is kept.
    """
    plan = caller.provider.post_connection
    updates: dict[str, Any] = {}
    removals = tuple(plan.get("unsets", ()))
    try:
        _set_all(plan.get("sets", {}), caller, updates, answer=None, ok=True)
        for call in plan.get("calls", ()):
            _run_call(call, caller, updates, fetch)
        hook = HOOKS.get(str(plan.get("hook", "")))
        if hook is not None:
            current = _with_config(caller, updates)
            learnt = hook(
                _fetch_for(current, fetch), current.connection_config, plan.get("options", {})
            )
            allowed = plan.get("hook_sets", ())
            for name, value in learnt.items():
                if name in allowed:
                    _keep(name, value, caller, updates)
    except (_CallFailedError, HookError, CatalogueError) as error:
        return Outcome(updates, removals, str(error))
    except Exception as error:  # noqa: BLE001 (the connection stands whatever a provider sends)
        return Outcome(updates, removals, f"the call failed ({type(error).__name__})")
    return Outcome(updates, removals)


def value_at(data: Any, path: str) -> Any:
    """The value at a path such as `data.items[0].id` or `[?is_default].id`; None if none.

    `[?key]` takes the first item whose key is true, `[?key=text]` the first whose key is `text`.
    """
    if path == "":
        return data
    for index, name in _STEP.findall(path):
        if index.startswith("?"):
            data = _first_match(data, index[1:])
        elif index:
            position = int(index)
            data = data[position] if isinstance(data, list) and position < len(data) else None
        else:
            data = data.get(name) if isinstance(data, Mapping) else None
        if data is None:
            return None
    return data


def claims_of(token: Any) -> Mapping[str, Any]:
    """The claims of a JWT (RFC 7519), its signature unchecked; empty when it is not one.

    For facts about one's own token that came straight from the token endpoint, never to decide
    who somebody is.
    """
    try:
        _, payload, _ = str(token).split(".")
        claims = json_of(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, Mapping) else {}


class _CallFailedError(Exception):
    """A call was answered by something other than success."""


def _run_call(
    call: Mapping[str, Any], caller: Caller, updates: dict[str, Any], fetch: Send
) -> None:
    current = _with_config(caller, updates)
    try:
        status, answer = fetch(_request(call, current))
    except Exception:
        if call.get("optional"):
            return
        raise
    if status not in _OK and not call.get("optional"):
        raise _CallFailedError(f"{call.get('method', 'GET')} was answered with status {status}")
    _set_all(call.get("sets", {}), current, updates, answer=answer, ok=status in _OK)


def _with_config(caller: Caller, updates: Mapping[str, Any]) -> Caller:
    return replace(caller, connection_config={**caller.connection_config, **updates})


def _request(call: Mapping[str, Any], caller: Caller) -> OutgoingRequest:
    headers = dict(call.get("headers", {}))
    auth = call.get("auth", "connection")
    if auth == "client_basic":
        headers["authorization"] = "Basic ${base64(${clientId}:${clientSecret})}"
    body = call.get("body")
    if call.get("body_format") == "form":
        headers.setdefault("content-type", "application/x-www-form-urlencoded")
    url = str(call["url"])
    base, endpoint = ("", url) if url.startswith("/") else _split(url)
    return build_request(
        caller,
        str(call.get("method", "GET")),
        endpoint,
        headers=headers,
        data=body,
        base_url_override=base,
        default_auth=auth == "connection",
    )


def _split(url: str) -> tuple[str, str]:
    """An absolute URL template into its origin and the rest; placeholders hold no slash."""
    scheme, mark, rest = url.partition("://")
    if not mark:  # the origin itself is a placeholder
        origin, slash, path = url.partition("/")
        return origin, slash + path
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host}", slash + path


def _fetch_for(caller: Caller, fetch: Send) -> Fetch:
    def call(method: str, url: str, more: Mapping[str, Any]) -> tuple[int, Any]:
        return fetch(_request({"method": method, "url": url}, _with_config(caller, more)))

    return call


def _set_all(
    sets: Mapping[str, Any], caller: Caller, updates: dict[str, Any], *, answer: Any, ok: bool
) -> None:
    for name, source in sets.items():
        value = _read(source, caller, answer=answer, ok=ok)
        _keep(name, value, caller, updates)


def _keep(name: str, value: Any, caller: Caller, updates: dict[str, Any]) -> None:
    """Take a value up; one that breaks its field's form is left out: it may stand in a host."""
    if not isinstance(value, str | int | float) or len(str(value)) > _MAX_VALUE:
        return
    rules = fields_as_used(caller.provider.definition).get(name) or {}
    if isinstance(value, str) and rules:
        value = cleaned(rules, value)
    if fits(str(value), rules):
        updates[name] = value


def _read(source: Any, caller: Caller, *, answer: Any, ok: bool) -> Any:
    if isinstance(source, str):
        return value_at(answer, source)
    origin = source.get("source", "answer")
    if origin == "ok":
        return ok
    credentials = caller.credentials
    claims = claims_of(credentials.get("access_token", credentials.get("token")))
    data = {
        "answer": answer,
        "token_response": credentials.get("raw"),
        "access_token_claims": claims,
        "credentials": credentials,
    }[origin]
    scope = {"connectionConfig": caller.connection_config, "claims": claims}
    for template in source.get("paths", ()):
        path = interpolate_string_from_object(template, scope)
        value = value_at(data, path) if is_resolved(path) else None
        if value is not None:
            return _transform(value, source)
    return None


def _transform(value: Any, source: Mapping[str, Any]) -> Any:
    prefix = source.get("strip_prefix")
    if prefix is not None:
        # A value of another shape is not guessed at.
        if not isinstance(value, str) or not value.startswith(prefix):
            return None
        value = value.removeprefix(prefix)
    kind = source.get("transform")
    if kind == "json":
        return json.dumps(value, separators=(",", ":"))
    if kind is None:
        return value
    text = str(value)
    if kind == "last_path_segment":
        return text.rstrip("/").rpartition("/")[2]
    return text.lower() if kind == "lower" else hashlib.sha256(text.lower().encode()).hexdigest()


def _first_match(data: Any, condition: str) -> Any:
    if not isinstance(data, list):
        return None
    key, equals, wanted = condition.partition("=")
    for item in data:
        value = item.get(key) if isinstance(item, Mapping) else None
        if str(value) == wanted if equals else value is True:
            return item
    return None
