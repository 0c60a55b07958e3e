"""Chooses the route of a request as an API Gateway HTTP API does.

AWS, "Create routes for HTTP APIs", routing API requests: a full match wins over a greedy path
variable, that over ``$default``; a method by name wins over ``ANY``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.template import DEFAULT_ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.template import RouteDefinition

_FIXED, _VARIABLE, _GREEDY = range(3)


@dataclass(frozen=True)
class Match:
    """The route of a request, and the values of its path variables."""

    key: str
    function: str
    path_parameters: dict[str, str]


class Router:
    """The routes of an API, most specific first."""

    def __init__(self, definitions: Iterable[RouteDefinition]) -> None:
        self._routes = []
        self._default: RouteDefinition | None = None
        for definition in definitions:
            if definition.key == DEFAULT_ROUTE:
                self._default = definition
                continue
            method, path = definition.key.split(" ", 1)
            self._routes.append((method, path.split("/")[1:], definition))
        self._routes.sort(key=lambda route: _rank(route[0], route[1]))

    def match(self, method: str, path: str) -> Match | None:
        """Return the route of a method and a decoded path; None where even ``$default`` is not."""
        parts = path.split("/")[1:]
        for wanted, segments, definition in self._routes:
            if wanted not in {method, "ANY"}:
                continue
            variables = _variables(segments, parts)
            if variables is not None:
                return Match(definition.key, definition.function, variables)
        if self._default is None:
            return None
        return Match(DEFAULT_ROUTE, self._default.function, {})


def _kind(segment: str) -> int:
    if not segment.startswith("{"):
        return _FIXED
    return _GREEDY if segment.endswith("+}") else _VARIABLE


def _rank(method: str, segments: list[str]) -> tuple[int, list[int], bool]:
    kinds = [_kind(segment) for segment in segments]
    return max(kinds), kinds, method == "ANY"


def _variables(segments: list[str], parts: list[str]) -> dict[str, str] | None:
    """Return the values of path variables, or None where the path is another."""
    found: dict[str, str] = {}
    for position, segment in enumerate(segments):
        kind = _kind(segment)
        if kind == _GREEDY:
            rest = "/".join(parts[position:])
            return {**found, segment[1:-2]: rest} if rest else None
        if position >= len(parts):
            return None
        if kind == _VARIABLE and parts[position]:
            found[segment[1:-1]] = parts[position]
        elif segment != parts[position]:
            return None
    return found if len(parts) == len(segments) else None
