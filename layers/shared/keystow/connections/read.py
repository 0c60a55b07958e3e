"""Reading a connection with a working credential: the call that everything else exists for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from keystow.connections import views
from keystow.connections.holding import hold
from keystow.modes import mode_of
from keystow.registry import integrations

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.connection import Connection, Sealed


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
    shown = _handed_out(ctx, connection, provider_config_key, sealed, with_credentials)
    if with_credentials:
        hidden: frozenset[str] = frozenset()
    else:
        hidden = _secret_inputs(ctx, connection, sealed.connection_config.reveal())
    return views.full(
        connection,
        provider_config_key,
        shown,
        with_credentials=with_credentials,
        with_refresh_token=refresh_token,
        fetched_at=held.fetched_at,
        hidden_inputs=hidden,
    )


def _handed_out(
    ctx: Context,
    connection: Connection,
    provider_config_key: str,
    sealed: Sealed,
    with_credentials: bool,  # noqa: FBT001 - as it was asked for
) -> Sealed:
    """Return what a reader gets, with the app's client where the mode's readers sign with it."""
    mode = mode_of(str(sealed.credentials.reveal().get("type") or "NONE"))
    if mode is None or not with_credentials:
        return sealed
    environment = connection.environment
    find_integration = partial(integrations.by_unique_key, ctx, environment, provider_config_key)
    return mode.with_client(ctx, sealed, find_integration)


def _secret_inputs(ctx: Context, connection: Connection, config: dict[str, Any]) -> frozenset[str]:
    """Return the names of what the provider's entry marks as secret; all, if there is no entry."""
    if not config:
        return frozenset()
    from keystow.registry import providers  # only for keys that may not read credentials

    provider = providers.find(
        ctx, connection.environment, connection.provider, max_age=integrations.CACHE_SECONDS
    )
    return frozenset(config) if provider is None else provider.secret_inputs
