"""Importing a connection whose credential the SaaS already has (contract 5.4, 5.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.catalog.inputs import cleaned_config, cleaned_credentials
from keystow.catalog.loader import unfit_inputs
from keystow.clock import iso
from keystow.connections import views
from keystow.connections.end_users import check_webhook_url, end_user_of, generated_tags
from keystow.connections.save import KEEP, Draft, Saved, save
from keystow.errors import ApiError, Issue
from keystow.events import destinations
from keystow.ids import uuid4
from keystow.integrations import fixed
from keystow.modes import mode_of, takes
from keystow.modes.base import Offer
from keystow.records.connection import LARGEST_SEALED, Sealed
from keystow.records.environment import Environment
from keystow.registry import integrations, providers
from keystow.secret import Secret
from keystow.store import gates, tables

if TYPE_CHECKING:
    from collections.abc import Collection

    from keystow.catalog.loader import Provider
    from keystow.connections.requests import ImportBody
    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Item


def import_connection(
    ctx: Context,
    environment: str,
    body: ImportBody,
    *,
    untested: bool = False,
    raw: dict[str, Any] | None = None,
    endless: bool = False,
    reads_credentials: bool = False,
) -> dict[str, Any]:
    """Store a connection from a body and return it whole, refresh token included.

    Args:
        ctx: the container's context.
        environment: the caller's environment.
        body: as validated.
        untested: take the credential without trying it.
        raw: the token answer the credential came in, where the caller has it (OAuth 2.0).
        endless: the caller says that the token has no end.
        reads_credentials: the caller may read credentials, and so the app's client where the mode
            shows it with them.

    Raises:
        ApiError: 404 ``not_found``; 400 ``invalid_body``, ``connection_test_failed``.
    """
    integration = integrations.by_unique_key(ctx, environment, body.provider_config_key, fresh=True)
    if integration is None:
        raise ApiError("not_found", "Integration does not exist")
    provider = providers.find(ctx, environment, integration.provider)
    if provider is None:
        raise ApiError("not_found", "Provider does not exist")
    kind = body.credentials.type
    mode = mode_of(provider.auth_mode)
    if mode is None or not takes(provider.auth_mode, kind):
        raise ApiError("invalid_body", f"Provider {provider.auth_mode} does not take {kind}")
    check_webhook_url(body.webhook_url_override, loopback_allowed=ctx.settings.loopback_allowed)

    config = _config(ctx, integration, provider, body)
    own = body.credentials.model_dump(exclude_none=True)
    mode.check_import(provider, own, config)
    credentials = mode.from_import(own, ctx.clock.now(), raw, endless=endless)
    if mode.form or mode.by_entry:  # what people would type in
        credentials = cleaned_credentials(provider.definition, credentials)
    sealed = Sealed(Secret(credentials), Secret(config)).within(LARGEST_SEALED)
    if not untested:
        sealed = mode.admit(ctx, Offer(integration, provider, sealed, {}))
    end_user = end_user_of(body.end_user)
    tags: dict[str, str] = {**generated_tags(end_user), **(body.tags or {})}
    override = body.webhook_url_override
    if override:
        override = destinations.stored(override, environment, ctx.vault)
    saved = save(
        ctx,
        Draft(
            environment=environment_of(ctx, environment),
            integration=integration,
            provider=provider,
            connection_id=body.connection_id or uuid4(ctx.random),
            sealed=sealed,
            metadata=body.metadata or {},
            tags=tags if (end_user or body.tags is not None) else KEEP,
            end_user=end_user or KEEP,
            webhook_url_override=KEEP if override is None else (override or None),
            fetched=mode.has_secret,
        ),
    )
    # Whoever imports has given the rest, and need not be one who may read the owner's secrets.
    hidden = provider.secret_inputs & set(integration.fixed_names)
    shown = mode.with_client(ctx, sealed, lambda: integration) if reads_credentials else sealed
    return _shown(saved, integration.unique_key, shown, hidden)


def _config(
    ctx: Context, integration: Integration, provider: Provider, body: ImportBody
) -> dict[str, Any]:
    """Return the connection config of a body. Raises 400 ``invalid_body``."""
    config: dict[str, Any] = {}
    if body.connection_config is not None:
        config = body.connection_config.model_dump(exclude_unset=True)
        config.pop("webhook_url", None)
        config = cleaned_config(provider.definition, config)
    config = _with_fixed(ctx, integration, provider, config)
    unfit = unfit_inputs(provider, config)
    if unfit:
        # They may stand in the host that the app's secret is sent to.
        issues = [
            Issue("invalid_format", "does not have the form it should", ("connection_config", name))
            for name in unfit
        ]
        raise ApiError("invalid_body", issues=issues)
    return config


def _with_fixed(
    ctx: Context, integration: Integration, provider: Provider, config: dict[str, Any]
) -> dict[str, Any]:
    """Return a config with what the integration fixes.

    Raises:
        ApiError: 400 ``invalid_body`` for another value than the fixed one: it would not be used.
    """
    settled = fixed.of(ctx, integration, provider)
    issues = [
        Issue("custom", "the integration fixes another value", ("connection_config", name))
        for name, value in settled.items()
        if config.get(name) not in (None, "", value)
    ]
    if issues:
        raise ApiError("invalid_body", issues=issues)
    return {**fixed.without(config, settled), **settled}


def environment_of(ctx: Context, environment: str) -> Environment:
    """Return an environment. Raises 401 ``unknown_account`` when it is being deleted, or was."""
    return open_environment(ctx.store.get(tables.environment_settings(environment)))


def open_environment(item: Item | None) -> Environment:
    """Return the environment of its row. Raises as :func:`environment_of`."""
    if item is None or item.get("deleting"):
        raise gates.EnvironmentClosed
    return Environment.from_item(item)


def _shown(
    saved: Saved, unique_key: str, sealed: Sealed, hidden: Collection[str]
) -> dict[str, Any]:
    return views.full(
        saved.connection,
        unique_key,
        sealed,
        with_credentials=True,
        with_refresh_token=True,
        fetched_at=saved.secret.fetched_at,
        hidden_inputs=hidden,
        date=iso,
    )
