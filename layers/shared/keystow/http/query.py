"""Query strings with nested brackets (``params[sub]=a&tags[k]=v``), as the clients write them."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_plus

MAX_PARAMETERS = 1000
MAX_DEPTH = 5


def parse(raw: str) -> dict[str, Any]:
    """Return the parameters of a raw query string.

    Percent-encoded brackets count as brackets, ``+`` is a space, a repeated name or ``name[]``
    gives a list, ``a[b]=c`` a dictionary. Depth and number are bounded; what is deeper stays in the
    name. Names that Python or JavaScript objects treat specially are plain names here.
    """
    found: dict[str, Any] = {}
    for part in raw.split("&")[:MAX_PARAMETERS]:
        if not part:
            continue
        name, _, value = part.partition("=")
        path = _path(unquote_plus(name))
        if path:
            _place(found, path, unquote_plus(value))
    return found


def _path(name: str) -> list[str]:
    head, bracket, rest = name.partition("[")
    if not bracket or not head or not rest.endswith("]"):
        return [name] if name else []
    keys = rest[:-1].split("][", MAX_DEPTH - 1)
    return [head, *keys]


def _place(target: dict[str, Any], path: list[str], value: str) -> None:
    for position, key in enumerate(path[:-1]):
        if path[position + 1] == "" and position + 2 == len(path):
            existing = target.get(key)
            if isinstance(existing, list):
                existing.append(value)
            else:
                target[key] = [value] if existing is None else [existing, value]
            return
        deeper = target.setdefault(key, {})
        if not isinstance(deeper, dict):
            return  # `a=1&a[b]=2`: the first form stands
        target = deeper
    last = path[-1]
    existing = target.get(last)
    if existing is None:
        target[last] = value
    elif isinstance(existing, list):
        existing.append(value)
    elif isinstance(existing, str):
        target[last] = [existing, value]
