"""The owner's settings of an integration, held against what its provider asks for (6.2, 14.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider


def merged_custom(
    provider: Provider,
    held: Mapping[str, Any],
    config: Mapping[str, str] | None,
    custom: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return the custom values after a change.

    Args:
        provider: says which settings there are.
        held: the values until now.
        config: new settings; an empty text removes one.
        custom: new free values, for providers without settings.

    Raises:
        ApiError: 400 ``invalid_body`` with one sentence for each fault; none holds a value.
    """
    # What fixes an input of every connection is not of these (:mod:`~.fixed`).
    config = _others(provider, config)
    custom = _others(provider, custom)
    fields = provider.integration_config
    if not fields:
        if config:
            raise ApiError("invalid_body", "This provider does not accept integration_config")
        return {**held, **custom}
    if custom:
        raise ApiError("invalid_body", "This provider takes integration_config instead of custom")
    values = {**held, **config}
    faults = [f"Unknown field {name[:80]}" for name in config if name not in fields]
    for name, field in fields.items():
        faults += _faults(name, field, values)
    if faults:
        raise ApiError("invalid_body", ", ".join(faults))
    return {name: value for name, value in values.items() if value != ""}


def _others(provider: Provider, values: Mapping[str, str] | None) -> dict[str, str]:
    return {
        name: value for name, value in (values or {}).items() if not provider.can_be_fixed(name)
    }


def _faults(name: str, field: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    title = field.get("title") or name
    value = values.get(name) or ""
    if not value:
        needed = not field.get("optional") and "default_value" not in field
        return [f"{title} is required"] if needed and _visible(field, values) else []
    allowed = field.get("enum")
    if allowed and value not in allowed:
        return [f"{title} must be one of: {', '.join(map(str, allowed))}"]
    return []


def _visible(field: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    condition = field.get("visible_when")
    if not condition:
        return True
    wanted = condition.get("equals")
    found = values.get(condition.get("field"))
    return found in wanted if isinstance(wanted, list) else found == wanted
