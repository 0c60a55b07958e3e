"""Credentials whose fields are declared by the provider's entry, not by the mode.

body ──typed──▶ fields, cleaned ──checked──▶ none missing, none that the integration sets
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.errors import ApiError, Issue
from keystow.text import trimmed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from keystow.catalog.loader import Provider

_MOST_FIELDS: Final = 50
_LONGEST_NAME: Final = 100
_LONGEST_VALUE: Final = 65_536


def typed(
    body: Mapping[str, Any], kind: str, taken: Collection[str], place: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the fields of a body: texts, or objects of texts; ``null`` counts as not given.

    Outer white space is cut, but not from passwords.

    Args:
        body: as posted.
        kind: what ``type`` may say.
        taken: names under which the mode keeps what it is given by the provider.
        place: where the body stands in what was sent.

    Raises:
        ApiError: 400 ``invalid_body`` with the issues.
    """
    found: dict[str, Any] = {}
    issues = []
    for name, value in body.items():
        path = (*place, name[:_LONGEST_NAME])
        if name == "type":
            if value != kind:
                issues.append(Issue("invalid_literal", f"expected {kind}", path))
        elif name in taken or not 0 < len(name) <= _LONGEST_NAME:
            issues.append(Issue("unrecognized_keys", "this name is not taken", path))
        elif isinstance(value, dict) and value and all(isinstance(each, str) for each in value):
            issues += _bad(value.values(), path)
            found[name] = {key: _clean(key, each) for key, each in value.items()}
        elif value is not None:
            issues += _bad([value], path)
            found[name] = _clean(name, value)
    if len(found) > _MOST_FIELDS:
        issues.append(Issue("too_big", f"at most {_MOST_FIELDS} fields", place))
    if issues:
        raise ApiError("invalid_body", issues=issues)
    return found


def checked(
    provider: Provider,
    fields: Mapping[str, Any],
    settled: Collection[str] = (),
    place: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the fields of a credential with their defaults.

    Left out is what the provider or the integration fills in itself.

    Args:
        provider: whose entry declares the fields.
        fields: as typed in.
        settled: names that the integration sets.
        place: where the fields stand in what was sent.

    Raises:
        ApiError: 400 ``invalid_body`` for each field that is needed and missing.
    """
    asked = asked_of(provider)
    found = {
        name: value
        for name, value in fields.items()
        if name not in settled and not (asked.get(name) or {}).get("automated")
    }
    issues = []
    for name, field in asked.items():
        if name in settled or field.get("automated") or found.get(name):
            continue
        if field.get("default_value"):
            found[name] = field["default_value"]
        elif not may_be_missing(field):
            issues.append(Issue("invalid_type", "is needed", (*place, name)))
    if issues:
        raise ApiError("invalid_body", issues=issues)
    return found


def asked_of(provider: Provider) -> dict[str, Mapping[str, Any]]:
    """Return the fields of a provider's credentials, in the order of its entry.

    What its integration can set is among them: who did not set it leaves it to each connection.
    """
    found = dict(provider.credentials)
    if provider.auth_mode == "TWO_STEP":
        found = {**provider.integration_config, **found}
    return found


def may_be_missing(field: Mapping[str, Any]) -> bool:
    """Return whether a field need not have a value."""
    return bool(field.get("optional") or field.get("visible_when") or "default_value" in field)


def names(provider: Provider) -> tuple[str, ...]:
    """Return the names of the fields that a form asks for."""
    return tuple(name for name, field in asked_of(provider).items() if not field.get("automated"))


def _bad(values: Collection[Any], path: tuple[str, ...]) -> list[Issue]:
    issues = []
    for value in values:
        if not isinstance(value, str):
            issues.append(Issue("invalid_type", "expected a text", path))
        elif len(value) > _LONGEST_VALUE:
            issues.append(Issue("too_big", f"at most {_LONGEST_VALUE} characters", path))
    return issues


def _clean(name: str, value: Any) -> Any:
    if "password" in name.lower() or not isinstance(value, str):
        return value
    return trimmed(value)
