"""Reading a connection with a working credential: the call that everything else exists for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.connections import views
from keystow.connections.holding import hold
from keystow.registry import integrations

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.connection import Connection


def read(
    ctx: Context,
    environment: str,
    provider_config_key: str,
    connection_id: str,
    *,
    force_refresh: bool = False,
    refresh_token: bool = False,
    with_credentials: bool = True,
) -> dict[str, Any]:
    """Return a connection with a credential that works now.

    Args:
        ctx: the container's context.
        environment: the caller's environment.
        provider_config_key: the integration's unique key.
        connection_id: which connection.
        force_refresh: the caller has seen the current token refused.
        refresh_token: show refresh tokens as well.
        with_credentials: False shows none, and renews none; inputs that the provider's entry marks
            as secret are left out of the config too.

    Raises:
        ApiError: 400 ``unknown_provider_config``; 404 ``not_found``; 400 or 424
            ``invalid_credentials`` with the connection as payload; 503 ``refresh_in_progress``.
    """
    held = hold(
        ctx,
        environment,
        provider_config_key,
        connection_id,
        forced=force_refresh,
        fit_for_use=with_credentials,
    )
    connection, sealed = held.connection, held.sealed
    if with_credentials:
        hidden: frozenset[str] = frozenset()
    else:
        hidden = _secret_inputs(ctx, connection, sealed.connection_config.reveal())
    return views.full(
        connection,
        provider_config_key,
        sealed,
        with_credentials=with_credentials,
        with_refresh_token=refresh_token,
        fetched_at=held.fetched_at,
        hidden_inputs=hidden,
    )


def _secret_inputs(ctx: Context, connection: Connection, config: dict[str, Any]) -> frozenset[str]:
    """Return the names of what the provider's entry marks as secret; all, if there is no entry."""
    if not config:
        return frozenset()
    from keystow.registry import providers  # only for keys that may not read credentials

    provider = providers.find(
        ctx, connection.environment, connection.provider, max_age=integrations.CACHE_SECONDS
    )
    return frozenset(config) if provider is None else provider.secret_inputs
