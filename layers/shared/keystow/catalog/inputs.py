"""What the inputs of a definition take: a form they must have, and what is made of a pasted text.

Of an address, a field gets the subdomain or host in it.

The form does the same (`functions/connect_ui/static/form.js`), so that people see what is taken;
both are held to one table of cases, `tests/unit/catalog/pasted.json`. What counts is what is done
here, at every door, before a value is checked and stored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from keystow.catalog.authority import authority_of, field_name, sides, url_templates
from keystow.text import trimmed, without_width

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST_SUFFIX: Final = re.compile(r"(\.[a-z0-9-]+){2,}", re.IGNORECASE | re.ASCII)
_SCHEME: Final = re.compile(r"(https?):/*|//", re.IGNORECASE)
_PLAIN_SCHEME: Final = re.compile(r"https?://", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"[^/?#\\]*")
_PORT: Final = re.compile(r":([0-9]{1,5})$")
_AROUND: Final = "<>\"'`\u201c\u201d\u2018\u2019"
_BEHIND: Final = ",;"
_DEFAULT_PORTS: Final = {"http": "80", "https": "443", "": "443"}


def fits(value: str, field: Mapping[str, Any]) -> bool:
    """Whether a value keeps to the `pattern` and `enum` of its input field (contract 14.3).

    A pattern that is not understood fits nothing, and neither does a text that is too long to be
    held against one.
    """
    pattern, allowed = field.get("pattern"), field.get("enum")
    if allowed and value not in allowed:
        return False
    if not pattern:
        return True
    from keystow.catalog import patterns  # reading a connection imports this module, and needs none

    return patterns.matches(pattern, value)


def cleaned_config(definition: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a connection's config with every text of a declared input cleaned."""
    fields = fields_as_used(definition)
    return {
        name: cleaned(fields[name], value) if isinstance(value, str) and name in fields else value
        for name, value in config.items()
    }


def cleaned_credentials(
    definition: Mapping[str, Any], credentials: Mapping[str, Any]
) -> dict[str, Any]:
    """Return typed credentials with what is not secret of them cleaned; a password never is."""
    fields = definition.get("credentials") or {}
    return {
        name: cleaned(field, value)
        if name != "password"
        and isinstance(value, str)
        and (field := fields.get(name))
        and not field.get("secret")
        else value
        for name, value in credentials.items()
    }


def cleaned(field: Mapping[str, Any], value: str) -> str:
    """Return what a field wants of a value; of one that it cannot use, the value without space.

    Args:
        field: an input of a definition, see :func:`fields_as_used`.
        value: as typed or pasted.
    """
    text = trimmed(value)
    if field.get("secret"):
        return text
    if field.get("enum"):
        return _of_list(field["enum"], text)
    candidates = _candidates(field, text)
    return next((each for each in candidates if each and fits(each, field)), text)


def fields_as_used(definition: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the inputs of ``connection_config``, with what they lack read off the URLs.

    A field that says neither `prefix`, `suffix` nor `format` wants what its place in a URL takes;
    one that says only `https://` takes the domain that follows its place as suffix.
    One that stands for a whole origin is marked `origin`: it takes no path.
    """
    places = _places(definition)
    fields: dict[str, dict[str, Any]] = {}
    for name, field in definition.get("connection_config", {}).items():
        place = places.get(name, {})
        told = any(field.get(key) for key in ("suffix", "format", "enum"))
        prefix = field.get("prefix")
        taken = {"origin"} if told else {"origin", "suffix", "format"}
        if prefix:
            taken -= {"format"} if _PLAIN_SCHEME.fullmatch(prefix) else {"format", "suffix"}
        own = {key: value for key, value in place.items() if key in taken}
        fields[name] = {**own, **field}
    return fields


def _places(definition: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    places: dict[str, dict[str, Any]] = {}
    for _, template in url_templates(definition):
        for side in sides(template):
            authority = authority_of(side)
            if authority.is_value:
                name = field_name(authority.parts[0].text)
                whole = {"format": "hostname"} if authority.scheme else {
                    "format": "uri", "origin": True,
                }  # fmt: skip
                places.setdefault(name, {}).update(whole)
            elif len(authority.parts) == 2 and authority.parts[0].is_placeholder:  # noqa: PLR2004
                suffix = authority.parts[1].text.partition(":")[0]
                if _HOST_SUFFIX.fullmatch(suffix):
                    name = field_name(authority.parts[0].text)
                    places.setdefault(name, {"suffix": suffix})
    return places


def _of_list(allowed: list[str], text: str) -> str:
    if text in allowed:
        return text
    alike = [each for each in allowed if each.lower() == text.lower()]
    return alike[0] if len(alike) == 1 else text


def _candidates(field: Mapping[str, Any], text: str) -> list[str]:
    """Return what the field may want of a text, the likeliest first."""
    prefix, suffix = str(field.get("prefix") or ""), str(field.get("suffix") or "")
    kind = field.get("format")
    if _HOST_SUFFIX.fullmatch(suffix.partition("/")[0]):
        return _names(text, _PLAIN_SCHEME.sub("", prefix), suffix.partition("/")[0])
    if suffix or (prefix and not _PLAIN_SCHEME.fullmatch(prefix)):
        return [_without(text, prefix, suffix)]
    if kind == "uri":
        # Where a whole address stands for an origin, only a pattern tells that a path is wanted.
        only = field.get("origin") and not field.get("pattern")
        return _origins(text) if only else [*_uris(text), *_origins(text)]
    if kind == "hostname":
        return _hosts(text)
    if prefix:
        found = _address(text)
        path = found[3].rstrip("/") if found else ""
        hosts = _hosts(text)
        with_path = [f"{each}{path}" for each in hosts]
        return [*hosts, *with_path] if field.get("pattern") else with_path
    return [text]


def _without(text: str, prefix: str, suffix: str) -> str:
    if prefix and text.lower().startswith(prefix.lower()):
        text = text[len(prefix) :]
    if suffix and text.lower().endswith(suffix.lower()):
        text = text[: -len(suffix)]
    return text


def _names(text: str, before: str, after: str) -> list[str]:
    """Return what stands between two parts of a host."""
    found = _address(text)
    if found is None:
        return []
    _, host, port, _ = found
    name = _without(host, before, after) + port
    return [name.lower(), name]


def _hosts(text: str) -> list[str]:
    found = _address(text)
    return [] if found is None else [found[1].lower() + found[2], found[1] + found[2]]


def _uris(text: str) -> list[str]:
    found = _address(text)
    if found is None:
        return []
    scheme, host, port, rest = found
    return [f"{scheme or 'https'}://{host.lower()}{port}{'' if rest.strip('/') == '' else rest}"]


def _origins(text: str) -> list[str]:
    found = _address(text)
    if found is None:
        return []
    scheme, host, port, _ = found
    return [f"{scheme or 'https'}://{host.lower()}{port}"]


def _address(text: str) -> tuple[str, str, str, str] | None:
    """Return scheme, host, port with its colon, and the rest; None for what is no plain address.

    A port that the scheme implies is left out, and so are dots behind the host.
    """
    text = without_width(text).strip(_AROUND).rstrip(_BEHIND).strip(_AROUND)
    marked = _SCHEME.match(text)
    scheme = (marked[1] or "").lower() if marked else ""
    text = text[marked.end() :] if marked else text
    authority = _AUTHORITY.match(text)
    assert authority is not None  # it may be empty
    host, rest = authority[0], text[authority.end() :]
    if "@" in host:
        return None
    ported = _PORT.search(host)
    port = ported[0] if ported else ""
    host = host[: len(host) - len(port)].rstrip(".")
    if port.lstrip(":") == _DEFAULT_PORTS[scheme]:
        port = ""
    return (scheme, host, port, rest) if host else None
