"""The older, flat body of an import (contract 5.5), as the body of today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.connections.requests import ImportBody
from keystow.errors import ApiError, invalid
from keystow.modes import mode_of
from keystow.modes.base import Mode
from keystow.registry import integrations, providers
from keystow.validation import validated

if TYPE_CHECKING:
    from keystow.context import Context

_COMMON: Final = ("provider_config_key", "connection_id", "metadata", "connection_config")


def from_flat_body(ctx: Context, environment: str, flat: dict[str, Any]) -> ImportBody:
    """Return the import body of a flat one.

    Raises:
        ApiError: 400 with the codes of contract 5.5, or ``invalid_body``.
    """
    key = flat.get("provider_config_key")
    if not isinstance(key, str) or not key:
        raise ApiError("missing_provider_config", "provider_config_key is missing")
    integration = integrations.by_unique_key(ctx, environment, key, fresh=True)
    provider = integration and providers.find(ctx, environment, integration.provider)
    if not integration or not provider:
        raise ApiError("unknown_provider_config", "There is no integration of this key", payload={})
    body: dict[str, Any] = {name: flat[name] for name in _COMMON if flat.get(name) is not None}
    if flat.get("webhook_url_override") is not None:
        body["webhook_url_override"] = flat["webhook_url_override"]
    mode = mode_of(provider.auth_mode) or Mode()
    body["credentials"] = mode.from_flat(flat, ctx.clock.now())
    return validated(ImportBody, body, "invalid_body")


def raw_of(flat: dict[str, Any]) -> dict[str, Any] | None:
    """Return the token answer that a flat body brings along, to be kept as it is.

    Raises:
        ApiError: 400 ``invalid_body`` when it is no object.
    """
    raw = flat.get("raw")
    if raw is not None and not isinstance(raw, dict):
        raise invalid("invalid_body", "invalid_type", "expected an object", "raw")
    return raw
