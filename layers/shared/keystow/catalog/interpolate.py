"""The template language of catalogue entries: `${connectionConfig.x}`, `${now:X}`, `${base64(…)}`.

A template is read once, from left to right; what is filled in is never read as a template again.
A placeholder that can't be filled in stays as it stands, and so does a function around it, so
that callers can see it and refuse or drop the text. Neither clock nor randomness is read here:
`now` (an ISO instant) and `random` are handed in with the other values, one pair per request.
"""

import re
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import quote, unquote_plus, urlsplit

from keystow.catalog import dates
from keystow.catalog.authority import (
    HOST_NAME,
    IP_LITERAL,
    Authority,
    authority_of,
    closing,
    field_name,
    sides,
)
from keystow.catalog.errors import InterpolationError
from keystow.catalog.inputs import cleaned, fields_as_used, fits
from keystow.catalog.template_functions import FUNCTIONS, LIST, MESSAGE_AND_KEY, WHOLE

__all__ = [
    "InterpolationError",
    "as_text",
    "connection_config_of",
    "extract_step_number",
    "interpolate_object_values",
    "interpolate_string",
    "interpolate_string_from_object",
    "is_resolved",
    "make_url",
    "metadata_from",
    "misses_interpolation_param",
    "own_query_names",
    "placeholders",
    "query_name",
    "strip_credential",
    "strip_step_response",
    "value_of",
]

_OPEN = "${"
_CALL = re.compile(r"([A-Za-z][A-Za-z0-9]*)\((.*)\)", re.DOTALL)
_NOW = re.compile(r"now(?:([+-]\d{1,9}):([a-z]+))?(?::(.+))?", re.DOTALL)
_STEP = re.compile(r"\$\{step(\d+)\.")
_STEP_PREFIX = re.compile(r"\$\{step\d+\.")
_SCOPE_PREFIX = re.compile(r"\$\{(?:connectionConfig|credentials)\.")
_CREDENTIAL_PREFIX = re.compile(r"\$\{credentials\.")
_DOTS = frozenset({".", ".."})
# What an unencoded value could end a path with, or climb out of it.
_LEADS_AWAY = re.compile(r"[?#\\@%\x00-\x20]|(?:^|/)\.{1,2}(?:/|$)")
_NO_FIELDS: Mapping[str, Any] = {}
_MAX_DEPTH = 16


def interpolate_string(template: str, replacers: Mapping[str, Any]) -> str:
    """Fills every placeholder of `template` that `replacers` can fill; the others stay.

    Only strings and numbers are filled in. A key may be a path (`a.b`); a mapping whose keys
    hold dots themselves (`incoming_webhook.url`) is understood too.

    Raises:
        InterpolationError: a function of the template failed (an unreadable key, say).
    """
    return _fill(template, replacers, 0)[0]


def interpolate_string_from_object(template: str, replacers: Mapping[str, Any]) -> str:
    """As `interpolate_string`, and reads `left || right`: the first side that is filled entirely.

    When no side is, the last one is the result, as far as it could be filled.

    Raises:
        InterpolationError: as `interpolate_string`.
    """
    *earlier, last = sides(template)
    for side in earlier:
        text, complete = _fill(side, replacers, 0)
        if complete and text and text != side:
            return text
    return interpolate_string(last, replacers)


def interpolate_object_values(obj: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Fills the strings of `obj`, at any depth, from a connection's config; the rest stays."""
    scope = _scope(config)
    return {key: _fill_value(value, scope) for key, value in obj.items()}


def misses_interpolation_param(template: str, config: Mapping[str, Any]) -> bool:
    """Whether a placeholder would be left over; one complete side of `a || b` is enough."""
    scope = _scope(config)
    return not any(_fill(side, scope, 0)[1] for side in sides(template))


def make_url(
    template: str,
    config: Mapping[str, Any],
    skip_encode: Collection[str] = (),
    fields: Mapping[str, Any] = _NO_FIELDS,
) -> str:
    """The URL a template names for a connection.

    Values are percent-encoded, unless `skip_encode` has `base_url`; empty ones count as absent.
    A value may bring host and port (and a scheme, where none is written) only where it stands for
    them: in `https://${connectionConfig.sub}.example.com` nothing typed by an end user can lead
    the request to another host. It never brings a path, query, fragment or user to a host.

    Args:
        template: sides between ` || `; the first that can be filled in counts.
        config: a connection's config.
        skip_encode: `base_url` leaves values in the path as they are.
        fields: the inputs by name; a value in a host must keep to its field's pattern and enum.

    Raises:
        InterpolationError: `missing_parameters` when a placeholder is left over, `invalid_url`
            when the result is no http(s) URL, `unsafe_value` for a value that is only dots, or
            does not have the form that its field has.
    """
    values = {key: value for key, value in config.items() if value != ""}
    side, scope = "", _scope(values)
    for candidate in sides(template):
        side = candidate
        filled, complete = _fill(side, scope, 0)
        if complete and _OPEN not in filled:
            break
    else:
        raise InterpolationError(
            "missing_parameters",
            f"Failed to interpolate URL template: {template}. Missing config parameters.",
            template,
        )
    if any(value_of(scope, key) in _DOTS for key in placeholders(side)):
        raise _unsafe(template)
    authority = authority_of(side)
    host = _host(authority, scope, fields, template)
    text = authority.scheme + host + _behind_host(authority.rest, values, skip_encode, template)
    if not _is_url(text):
        raise _invalid(template)
    return text


def _host(
    authority: Authority, scope: Mapping[str, Any], fields: Mapping[str, Any], template: str
) -> str:
    host = ""
    for text, is_placeholder in authority.parts:
        value = as_text(value_of(scope, text)) if is_placeholder else text
        if value is None or (is_placeholder and not authority.takes(value)):
            raise _invalid(template)
        if is_placeholder and not fits(value, fields.get(field_name(text)) or {}):
            raise _unsafe(template)
        host += value
    return host


def _behind_host(
    rest: str, values: Mapping[str, Any], skip_encode: Collection[str], template: str
) -> str:
    if "base_url" not in skip_encode:
        return _fill(rest, _scope(_encoded(values)), 0)[0]
    scope = _scope(values)
    if any(_LEADS_AWAY.search(as_text(value_of(scope, key)) or "") for key in placeholders(rest)):
        raise _unsafe(template)
    return _fill(rest, scope, 0)[0]


def _invalid(template: str) -> InterpolationError:
    message = f"Invalid URL after interpolation. Template: {template}"
    return InterpolationError("invalid_url", message, template)


def _unsafe(template: str) -> InterpolationError:
    message = f"A value is not allowed in the URL template: {template}"
    return InterpolationError("unsafe_value", message, template)


def placeholders(template: str) -> list[str]:
    """The keys a template asks for, those inside functions included, functions and dates not."""
    found: list[str] = []
    position = 0
    while (start := template.find(_OPEN, position)) >= 0:
        end = closing(template, start)
        if end < 0:
            break
        inner = template[start + 2 : end]
        call = _CALL.fullmatch(inner)
        if call and call.group(1) in FUNCTIONS:
            found += placeholders(call.group(2))
        elif not _NOW.fullmatch(inner):
            found.append(inner)
        position = end + 1
    return found


def own_query_names(definition: Mapping[str, Any]) -> frozenset[str]:
    """The names of the parameters that stand in a definition's authorization URL itself."""
    return frozenset(
        query_name(part)
        for side in sides(str(definition.get("authorization_url") or ""))
        for part in side.partition("#")[0].partition("?")[2].split("&")
        if part
    )


def query_name(part: str) -> str:
    """The decoded name of one `name=value` of a query."""
    return unquote_plus(part.partition("=")[0])


def is_resolved(text: str) -> bool:
    """Whether no placeholder is left in `text`."""
    return not placeholders(text)


def strip_credential(value: Any) -> Any:
    """`${credentials.a}` → `${a}` in a string or, at any depth, in lists and mappings."""
    return _rewrite(value, _CREDENTIAL_PREFIX)


def strip_step_response(value: Any) -> Any:
    """`${step1.data.token}` → `${data.token}` in a string or, at any depth, in containers."""
    return _rewrite(value, _STEP_PREFIX)


def extract_step_number(template: str) -> int | None:
    """The number N of the first `${stepN.…}`, or None."""
    match = _STEP.search(template)
    return int(match.group(1)) if match else None


def connection_config_of(params: Mapping[str, Any]) -> dict[str, str]:
    """What a client's `params` may put into connection_config: strings, but no `webhook_url`."""
    return {
        key: value
        for key, value in params.items()
        if isinstance(value, str) and key != "webhook_url"
    }


def metadata_from(
    response: Mapping[str, Any], provider: Mapping[str, Any], field: str
) -> dict[str, str | bool]:
    """Copies from an answer what the entry's list `field` names; strings and booleans only.

    A value that breaks the pattern or enum of its field is left out: a callback's query comes
    from a browser, and such a value may name the host that secrets are sent to.

    Args:
        response: a token answer, or the query of a callback.
        provider: the entry's definition.
        field: `token_response_metadata`, `redirect_uri_metadata` or `webhook_response_metadata`.
    """
    found: dict[str, str | bool] = {}
    fields = fields_as_used(provider)
    for path in provider.get(field) or ():
        value = value_of(response, path)
        rules = fields.get(path) or {}
        if isinstance(value, str) and rules:
            value = cleaned(rules, value)
        if isinstance(value, bool) or (isinstance(value, str) and fits(value, rules)):
            found[path] = value
    return found


def value_of(source: Any, path: str) -> Any:
    """The value at a dotted path; a key that itself holds the dots wins over a step down."""
    if not isinstance(source, Mapping):
        return None
    if path in source:
        return source[path]
    for index, character in enumerate(path):
        if character == "." and path[:index] in source:
            value = value_of(source[path[:index]], path[index + 1 :])
            if value is not None:
                return value
    return None


def as_text(value: Any) -> str | None:
    """What a template fills in for a value: strings and numbers, and None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        # JavaScript writes 3.0 as 3.
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return None


def _scope(config: Mapping[str, Any]) -> dict[str, Any]:
    # A key that is spelled like a whole placeholder would stand for another field's value.
    plain = {key: value for key, value in config.items() if field_name(key) == key}
    return {**plain, "connectionConfig": config, "credentials": config}


def _encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, str):
            encoded[key] = quote(value, safe="!'()*~-._")  # as encodeURIComponent
        else:
            encoded[key] = _encoded(value) if isinstance(value, Mapping) else value
    return encoded


def _fill_value(value: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return interpolate_string_from_object(value, scope)
    if isinstance(value, Mapping):
        return {key: _fill_value(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill_value(item, scope) for item in value]
    return value


def _rewrite(value: Any, prefix: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return prefix.sub(_OPEN, value)
    if isinstance(value, Mapping):
        return {key: _rewrite(item, prefix) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewrite(item, prefix) for item in value]
    return value


def _fill(template: str, replacers: Mapping[str, Any], depth: int) -> tuple[str, bool]:
    """The filled text, and whether nothing was left over."""
    out: list[str] = []
    complete = True
    position = 0
    while (start := template.find(_OPEN, position)) >= 0:
        out.append(template[position:start])
        end = closing(template, start)
        if end < 0 or depth > _MAX_DEPTH:
            out.append(template[start:])
            return "".join(out), False
        text = _resolve(template[start + 2 : end], replacers, depth)
        if text is None:
            complete = False
            text = template[start : end + 1]
        out.append(text)
        position = end + 1
    out.append(template[position:])
    return "".join(out), complete


def _resolve(inner: str, replacers: Mapping[str, Any], depth: int) -> str | None:
    call = _CALL.fullmatch(inner)
    if call and call.group(1) in FUNCTIONS:
        function, style = FUNCTIONS[call.group(1)]
        filled = [_fill(part, replacers, depth + 1) for part in _arguments(call.group(2), style)]
        if style == MESSAGE_AND_KEY and len(filled) != 2:  # noqa: PLR2004 (message and key)
            return None
        if not all(complete for _, complete in filled):
            return None
        return function(tuple(text for text, _ in filled), replacers)
    text = as_text(value_of(replacers, inner))
    return _now(inner, replacers) if text is None else text


def _arguments(text: str, style: str) -> list[str]:
    """Cuts arguments at the commas outside placeholders, before anything is filled in."""
    if style == WHOLE:
        return [text]
    commas: list[int] = []
    level = 0
    for index, character in enumerate(text):
        level += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and level == 0:
            commas.append(index)
    if style == LIST:
        edges = [-1, *commas, len(text)]
        return [text[a + 1 : b].strip() for a, b in pairwise(edges)]
    if not commas:
        return [text]
    return [text[: commas[-1]], text[commas[-1] + 1 :].strip()]


def _now(inner: str, replacers: Mapping[str, Any]) -> str | None:
    match = _NOW.fullmatch(inner)
    when = dates.parse_iso(str(replacers.get("now", ""))) if match else None
    if match is None or when is None:
        return None
    amount, unit, pattern = match.groups()
    if amount is not None:
        moved = dates.shift(when, int(amount), unit)
        if moved is None:
            return None
        when = moved
    return dates.format_instant(when, pattern) if pattern else dates.to_iso(when)


def _is_url(text: str) -> bool:
    """Whether `text` is an absolute http(s) URL with a plain host, no user and no odd character."""
    if any(ord(character) <= ord(" ") or character in '\\<>"`^|\x7f' for character in text):
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        return False
    host, colon, _ = parts.netloc.rpartition(":")
    if not colon or parts.netloc.endswith("]"):
        host = parts.netloc
    return bool(HOST_NAME.fullmatch(host) or IP_LITERAL.fullmatch(host))
