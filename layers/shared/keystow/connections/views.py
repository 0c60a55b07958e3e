"""Connections as the API shows them (contract 5.1, 5.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.clock import iso_offset
from keystow.modes import mode_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from keystow.records.connection import Connection, Sealed


def listed(connection: Connection, provider_config_key: str) -> dict[str, Any]:
    """Return a connection as lists show it."""
    return {
        **_description(connection, provider_config_key),
        "created": iso_offset(connection.created_at / 1000),
    }


def full(
    connection: Connection,
    provider_config_key: str,
    sealed: Sealed | None,
    *,
    with_credentials: bool,
    with_refresh_token: bool,
    fetched_at: int | None,
    hidden_inputs: Collection[str] = (),
    date: Callable[[float], str] = iso_offset,
) -> dict[str, Any]:
    """Return a connection as reading and importing show it.

    Args:
        connection: its description.
        provider_config_key: the integration's unique key.
        sealed: what is secret of it; None shows neither credentials nor config.
        with_credentials: False shows ``credentials: {}``.
        with_refresh_token: False takes refresh tokens out, wherever they stand.
        fetched_at: when it was last read, in milliseconds since the epoch.
        hidden_inputs: names of inputs that are left out of the config.
        date: the form of dates.
    """
    credentials: dict[str, Any] = {}
    config: dict[str, Any] = {}
    if sealed is not None:
        config = without_inputs(sealed.connection_config.reveal(), hidden_inputs)
        if with_credentials:
            held = sealed.credentials.reveal()
            mode = mode_of(str(held.get("type") or "NONE"))
            credentials = held if mode is None else mode.shown(held)
    if not with_refresh_token:
        credentials = without_refresh_tokens(credentials)
        config = without_refresh_tokens(config)
    return {
        **_description(connection, provider_config_key),
        "connection_config": config,
        "webhook_url_override": _override(connection),
        "created_at": date(connection.created_at / 1000),
        "updated_at": date(connection.updated_at / 1000),
        "last_fetched_at": None if fetched_at is None else date(fetched_at / 1000),
        "credentials": credentials,
    }


def _description(connection: Connection, provider_config_key: str) -> dict[str, Any]:
    return {
        "id": connection.id,
        "connection_id": connection.connection_id,
        "provider_config_key": provider_config_key,
        "provider": connection.provider,
        "errors": errors(connection),
        "end_user": connection.end_user.as_json() if connection.end_user else None,
        "tags": connection.tags,
        "metadata": connection.metadata,
    }


def errors(connection: Connection) -> list[dict[str, str]]:
    """Return the active errors."""
    if connection.auth_error is None:
        return []
    return [{"type": "auth", "log_id": connection.auth_error.log_id}]


def _override(connection: Connection) -> str | None:
    """Return the webhook URL without its fragment, which holds a sealed login."""
    url = connection.webhook_url_override
    return None if url is None else url.partition("#")[0]


def without_inputs(config: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return a copy without some inputs.

    A name with dots (``incoming_webhook.url``) also stands for a value below others, as it does for
    templates, and one that is spelled like a placeholder for the field it names.
    """
    left: dict[str, Any] = {}
    for name, value in config.items():
        plain = name.removeprefix("connectionConfig.").removeprefix("credentials.")
        if plain in names or name in names:
            continue
        if isinstance(value, dict):
            below = {
                hidden.removeprefix(f"{plain}.")
                for hidden in names
                if hidden.startswith(f"{plain}.")
            }
            left[name] = without_inputs(value, below | set(names)) if below else value
        else:
            left[name] = value
    return left


def without_refresh_tokens(value: Any) -> Any:
    """Return a copy without any key that spells refresh token, in whatever case and punctuation."""
    if isinstance(value, dict):
        return {
            name: without_refresh_tokens(entry)
            for name, entry in value.items()
            if "".join(filter(str.isalpha, name)).lower() != "refreshtoken"
        }
    if isinstance(value, list):
        return [without_refresh_tokens(entry) for entry in value]
    return value
