"""``GET /config/{providerConfigKey}``: an integration in the older shape (contract 6.3)."""

from __future__ import annotations

from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from keystow import paging
from keystow.clock import iso
from keystow.integrations import counting, views
from keystow.records.connection import integration_partition
from keystow.store import tables

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.environment import Environment
    from keystow.records.integration import AppSecrets, Integration

# The newest; ``connection_count`` says how many there are.
MOST_CONNECTIONS: Final = 1_000


def described(integration: Integration) -> dict[str, Any]:
    """Return what is public of an integration."""
    return {
        "unique_key": integration.unique_key,
        "provider": integration.provider,
        "syncs": [],
        "actions": [],
    }


def with_credentials(
    ctx: Context,
    integration: Integration,
    provider: Provider | None,
    environment: Environment,
    base_url: str,
) -> dict[str, Any]:
    """Return an integration with its client's credentials and its connections.

    Connections come without their config: it is sealed with the credential.

    Raises:
        VaultError, VaultUnavailable: as the vault does.
    """
    definition = provider.definition if provider is not None else {}
    mode = provider.auth_mode if provider is not None else None
    secrets = integration.secrets(ctx.vault)
    webhook_url = views.webhook_url(integration, provider, environment, base_url)
    newest = paging.newest(
        ctx.store,
        tables.CONNECTIONS,
        "by_integration",
        integration_partition(integration.environment, integration.id),
    )
    return {
        **described(integration),
        "auth_mode": mode,
        "client_id": integration.client_id,
        "client_secret": secrets.client_secret.reveal() or None,
        "custom": secrets.custom.reveal() or None,
        "scopes": integration.scopes,
        "app_link": integration.app_link,
        "created_at": iso(integration.created_at / 1000),
        "docs": definition.get("docs"),
        "has_webhook": webhook_url is not None,
        "has_webhook_user_defined_secret": bool(definition.get("webhook_user_defined_secret")),
        "webhook_secret": _webhook_secret(integration, secrets, mode),
        "webhook_url": webhook_url,
        "connections": [
            {
                "id": item["id"],
                "connection_id": item["connection_id"],
                "environment_id": environment.number,
                "provider_config_key": integration.unique_key,
            }
            for item in islice(newest, MOST_CONNECTIONS)
        ],
        "connection_count": counting.of_one(ctx, integration),
    }


def _webhook_secret(integration: Integration, secrets: AppSecrets, mode: str | None) -> str | None:
    """Return what the provider signs its webhooks with; an app's is made of its key."""
    custom = secrets.custom.reveal()
    parts = {
        "APP": (integration.client_id, secrets.client_secret.reveal(), integration.app_link),
        "CUSTOM": (custom.get("app_id"), custom.get("private_key"), integration.app_link),
    }
    if mode not in parts:
        return secrets.webhook_secret.reveal() or None
    return sha256("".join(each or "" for each in parts[mode]).encode()).hexdigest()
