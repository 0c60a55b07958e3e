"""Inputs of ``connection_config`` that an integration's owner fixes for every connection.

    POST, PATCH /integrations ──cleaned, checked, sealed──▶ integration
    popup, form, import ──its own inputs, over which the fixed ones win──▶ connection

They are copied into a connection when it is made or authorized anew, and are treated there like
any other input. No pydantic here: what makes connections imports this.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from keystow.catalog import hosts
from keystow.catalog.inputs import cleaned, fields_as_used, fits
from keystow.errors import ApiError, Issue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.integration import Integration

# The browser is sent there: a secret among them would be shown to it.
_SHOWN_TO_BROWSERS: Final = ("authorization_url", "authorization_params")


def changed(
    provider: Provider, held: Mapping[str, str], given: Mapping[str, Mapping[str, str] | None]
) -> dict[str, str]:
    """Return the fixed inputs after a change.

    Args:
        provider: says which inputs there are, and what form they have.
        held: those that were fixed until now.
        given: member of the body -> its values; the ones that are inputs are looked at. An empty
            text frees an input.

    Raises:
        ApiError: 400 ``invalid_body`` with an issue for each value that no connection could have.
    """
    fields = fields_as_used(provider.definition)
    found = {name: value for name, value in held.items() if name in fields}
    places: dict[str, tuple[str, str]] = {}
    issues = []
    for member, values in given.items():
        for name, value in (values or {}).items():
            if not provider.can_be_fixed(name):
                continue
            places[name] = (member, name)
            text = cleaned(fields[name], value)
            found[name] = text
            if fields[name].get("automated"):
                issues.append(Issue("custom", "only the provider fills this in", places[name]))
            elif text and not fits(text, fields[name]):
                fault = "does not have the form it should"
                issues.append(Issue("invalid_format", fault, places[name]))
    found = {name: text for name, text in found.items() if text}
    issues += [
        Issue("custom", fault, places.get(name, ("custom", name)))
        for name in found
        if fields[name].get("secret") and (fault := _gives_away(provider, name, found))
    ]
    if issues:
        raise ApiError("invalid_body", issues=issues)
    return found


def _gives_away(provider: Provider, name: str, found: Mapping[str, str]) -> str:
    """Return why a secret of the owner would not stay one, "" when it would."""
    shown = json.dumps([provider.definition.get(each) for each in _SHOWN_TO_BROWSERS])
    if f"connectionConfig.{name}" in shown:
        return "a secret that stands in the authorization request is shown to every browser"
    free = hosts.chosen_by_connections(provider.definition, found)
    if free:
        return f"a secret of yours would go where each connection says; fix {free} as well"
    return ""


def of(ctx: Context, integration: Integration, provider: Provider) -> dict[str, str]:
    """Return the inputs that an integration fixes, as far as its provider still has them.

    Raises:
        VaultError, VaultUnavailable: as the vault does.
    """
    if not integration.fixed_names:
        return {}
    values = integration.fixed_inputs(ctx.vault).reveal()
    return {name: value for name, value in values.items() if provider.can_be_fixed(name)}


def without(config: Mapping[str, Any], fixed: Mapping[str, str]) -> dict[str, Any]:
    """Return a config without what would stand for a fixed input, however it is spelled."""
    return {
        name: value
        for name, value in config.items()
        if name.removeprefix("connectionConfig.").removeprefix("credentials.") not in fixed
    }
