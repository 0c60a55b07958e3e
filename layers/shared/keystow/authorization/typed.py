"""Credentials that the end user types in, of whatever mode (contract 4)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from keystow.activity import log as activity
from keystow.authorization import ahead
from keystow.authorization.follow_up import post_connection
from keystow.authorization.refused import storing
from keystow.authorization.scope import (
    Scope,
    check_inputs,
    connection_config,
    find_integration,
    open_scope,
    refuse_connection_id,
)
from keystow.catalog.inputs import cleaned_credentials
from keystow.connections import pending
from keystow.connections.save import KEEP, Draft, Replaces, said
from keystow.errors import ApiError
from keystow.modes import mode_of
from keystow.modes.base import Offer
from keystow.records.connection import Sealed, StoredSecret
from keystow.secret import Secret
from keystow.sessions import outcomes, quotas
from keystow.store import tables
from keystow.vault import Purpose

if TYPE_CHECKING:
    from keystow.authorization.ahead import Rows
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.modes.base import Mode
    from keystow.records.integration import Integration
    from keystow.records.session import ConnectSession

# After this no provider is waited for: the function has 29 s, and still has to store.
FOLLOW_UP_UNTIL_SECONDS: Final = 24.0


def submit(
    ctx: Context,
    session: ConnectSession,
    unique_key: str,
    auth_mode: str,
    body: dict[str, Any],
    query: dict[str, Any],
) -> dict[str, Any]:
    """Make a connection of what was typed in.

    Args:
        ctx: the container's context.
        session: who connects.
        unique_key: which integration.
        auth_mode: of the endpoint.
        body: what was typed in.
        query: parsed query string.

    Returns:
        ``{"connectionId", "providerConfigKey"}``, and ``isPending`` when it waits for confirmation.

    Raises:
        ApiError: in the order of contract 4; 400 ``invalid_body``, ``connection_test_failed`` and
            what the mode refuses; 429 and 409 of
            :mod:`keystow.sessions.quotas`; 401 ``unknown_connect_session_token`` when the session
            was ended meanwhile.
    """
    started = ctx.clock.now()
    mode = mode_of(auth_mode)
    assert mode is not None
    credentials = mode.typed(body)
    refuse_connection_id(session, query)
    claim = tables.integration_name(session.environment, unique_key)
    rows = ahead.read(ctx, session.environment, (Purpose.CREDENTIAL,), claim)
    with ctx.vault.unwrapping_ahead(session.environment, rows.data_keys):
        integration, provider = _integration(ctx, session, unique_key, auth_mode, mode, rows)
        scope = open_scope(ctx, session, integration, provider, rows.environment)
        config = connection_config(ctx, query, scope)
        check_inputs(scope, config)
        quotas.attempt(ctx, session)
        credentials = Secret(cleaned_credentials(provider.definition, credentials.reveal()))
        new = scope.identity is None
        with quotas.connection(ctx, session, new=new, exchanges=mode.has_secret) as unit:
            _connect(ctx, scope, mode, Sealed(credentials, Secret(config)), started, unit)
    waiting = {"isPending": True} if session.confirm else {}
    if mode.older_shape:
        return {"providerConfigKey": unique_key, "connectionId": scope.connection_id, **waiting}
    return {"connectionId": scope.connection_id, "providerConfigKey": unique_key, **waiting}


def _connect(
    ctx: Context,
    scope: Scope,
    mode: Mode,
    typed: Sealed,
    started: float,
    unit: quotas.Unit,
) -> None:
    session, integration, provider = scope.session, scope.integration, scope.provider
    log = activity.begin(
        ctx,
        session.environment,
        "auth",
        "create_connection",
        operation=session.operation_id,
        connection_id=scope.connection_id,
        integration_key=integration.unique_key,
        provider=provider.id,
    )
    try:
        fixed = session.defaults.get(integration.unique_key, {})
        before = partial(_config_before, ctx, scope) if scope.identity else None
        granted = mode.accept(ctx, Offer(integration, provider, typed, fixed, before))
    except ApiError as error:
        # A mistyped key is between the end user and the form: no event tells of it.
        _failed(ctx, scope, log, error)
        raise
    learnt = post_connection(
        ctx,
        integration,
        provider,
        scope.connection_id,
        granted.sealed,
        until=started + FOLLOW_UP_UNTIL_SECONDS,
    )
    sealed = Sealed(granted.sealed.credentials, Secret(learnt))
    with storing(ctx, unit, integration, provider, scope.connection_id, sealed):
        draft = Draft(
            environment=scope.environment,
            integration=integration,
            provider=provider,
            connection_id=scope.connection_id,
            sealed=sealed,
            metadata={} if scope.identity is None else KEEP,
            **said(session),
            fetched=mode.has_secret,
            by_session=True,
            replaces=scope.identity or Replaces.NOTHING,
            operation=session.operation_id,
            session=outcomes.made(
                ctx,
                session,
                integration.unique_key,
                scope.connection_id,
                pending=session.confirm,
            ),
        )
        try:
            message = pending.store(
                ctx,
                draft,
                waits=session.confirm,
                given=typed.connection_config.reveal(),
                details={"auth": mode.label, **granted.details},
            )
        except ApiError as error:
            _failed(ctx, scope, log, error)
            raise
    remarks = (activity.Message("warn", each) for each in granted.remarks)
    activity.finish(ctx, session.environment, log, "success", message, *remarks)


def _config_before(ctx: Context, scope: Scope) -> dict[str, Any]:
    """Return the config of the connection that is authorized anew; empty when it is gone."""
    place = (scope.session.environment, scope.integration.id, scope.connection_id)
    item = ctx.store.get(tables.connection_secret(*place))
    if item is None:
        return {}
    return StoredSecret.from_item(item).unseal(ctx.vault).connection_config.reveal()


def _integration(
    ctx: Context,
    session: ConnectSession,
    unique_key: str,
    auth_mode: str,
    mode: Mode,
    rows: Rows,
) -> tuple[Integration, Provider]:
    """Return an integration, whose provider has the auth mode.

    Raises:
        ApiError: as :func:`find_integration`, 400 ``invalid_auth_mode``; in the older envelope with
            a message, and an integration that is not there as 400 (contract 4.3).
    """
    try:
        integration, provider = find_integration(ctx, session, unique_key, rows)
    except ApiError as error:
        if mode.older_shape and error.code == "unknown_provider_config":
            raise ApiError(error.code, "There is no integration of this key", payload={}) from None
        raise
    if provider.auth_mode == auth_mode:
        return integration, provider
    if mode.older_shape:
        message = f"The provider takes {provider.auth_mode}, not {auth_mode}"
        raise ApiError("invalid_auth_mode", message, payload={})
    raise ApiError("invalid_auth_mode")


def _failed(ctx: Context, scope: Scope, log: str, error: ApiError) -> None:
    activity.finish(
        ctx,
        scope.session.environment,
        log,
        "failed",
        activity.Message("error", error.message or error.code, {"code": error.code}),
    )
    outcomes.failed(
        ctx,
        scope.session,
        scope.integration.unique_key,
        error.code,
        error.message or error.code,
    )
