"""Which fields of a definition are looks, so that whoever may write providers may change them.

Every other field can have a part in where a secret goes, what is sent with it, or who may see it.
This is a list of what is free, not of what is guarded: a field that is added to the schema is
guarded until somebody decides otherwise.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of a definition: names, links and notes for people.
DEFINITION: Final = frozenset(
    {"display_name", "categories", "docs", "docs_connect", "setup_guide_url"}
    | {"sources", "corroborated", "pkce_off_reason"}
)
# Of an input field: how a form shows it. Not among them are `secret` (who may see it), `pattern`,
# `enum`, `format`, `prefix`, `suffix` (what is taken), `default_value`, `hidden` (what is sent).
INPUT: Final = frozenset({"title", "description", "example", "order", "doc_section", "warnings"})
INPUT_GROUPS: Final = (
    "connection_config",
    "credentials",
    "integration_config",
    "assertion_option",
)


def guarded_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the names of the definition's fields that differ in more than their looks, sorted."""
    before, after = _guarded(old), _guarded(new)
    # Compared as JSON: to Python 1, 1.0 and true are equal, to a provider they are not.
    return sorted(
        name
        for name in before.keys() | after.keys()
        if _text(before.get(name)) != _text(after.get(name))
    )


def _guarded(definition: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in definition.items() if name not in DEFINITION}
    for group in INPUT_GROUPS:
        if isinstance(kept.get(group), dict):
            kept[group] = {
                name: {key: value for key, value in field.items() if key not in INPUT}
                for name, field in kept[group].items()
            }
    return kept


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
