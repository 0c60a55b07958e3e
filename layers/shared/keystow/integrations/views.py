"""What a connect session sees of an integration (contract 6.1).

A module of its own, since a browser waits for whoever loads it: nothing here writes or unseals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.clock import iso
from keystow.modes import why_not_connectable

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.records.environment import Environment
    from keystow.records.integration import Integration


def for_session(
    integration: Integration, provider: Provider | None, base_url: str
) -> dict[str, Any]:
    """Return an integration as a connect session sees it.

    Args:
        integration: what to show.
        provider: its provider; None when a custom one has vanished.
        base_url: the canonical URL, without trailing slash.
    """
    fallback = provider.display_name if provider is not None else integration.provider
    shown: dict[str, Any] = {
        "unique_key": integration.unique_key,
        "provider": integration.provider,
        "display_name": integration.display_name or fallback,
        "logo": f"{base_url}/ui/logos/{integration.provider}.svg",
    }
    note = "The provider's definition is missing."
    if provider is not None:
        note = why_not_connectable(provider)
    if note:
        shown["connectable"] = False
        shown["note"] = note
    fields = provider.integration_config if provider is not None else {}
    if fields and integration.key_label:
        shown["credentials_label"] = {"apiKey": integration.key_label}
    preconfigured = [name for name in integration.custom_names if name in fields]
    if preconfigured:
        shown["preconfigured_credentials"] = preconfigured
    if provider is not None:
        settled = [name for name in integration.fixed_names if provider.can_be_fixed(name)]
        if settled:
            shown["preconfigured_connection_config"] = settled
    shown["forward_webhooks"] = integration.forward_webhooks
    shown["created_at"] = iso(integration.created_at / 1000)
    shown["updated_at"] = iso(integration.updated_at / 1000)
    return shown


def webhook_url(
    integration: Integration, provider: Provider | None, environment: Environment, base_url: str
) -> str | None:
    """Return where the provider sends its own webhooks; None where it is not asked to."""
    if provider is None or not provider.definition.get("webhook_routing_script"):
        return None
    return f"{base_url}/webhook/{environment.uuid}/{integration.unique_key}"
