"""Credentials that the end user types in: API key, password, client, or none (contract 4)."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, Literal

from keystow.activity import log as activity
from keystow.authorization.follow_up import post_connection, with_learnt
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
from keystow.catalog.interpolate import metadata_from
from keystow.connections import pending
from keystow.connections.save import KEEP, Draft, Replaces
from keystow.errors import ApiError
from keystow.modes.verification import verify
from keystow.oauth.errors import TokenError
from keystow.records.connection import Sealed
from keystow.secret import Secret
from keystow.sessions import outcomes, quotas
from keystow.text import trimmed
from keystow.validation import (
    CLIENT_ID_MAX,
    KEY_MAX,
    TOKEN_MAX,
    Body,
    Key,
    Password,
    UserName,
)

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.records.session import ConnectSession

AuthMode = Literal["API_KEY", "BASIC", "NONE", "OAUTH2_CC"]
AUTH_TYPES: Final = {
    "API_KEY": "apikey",
    "BASIC": "basic",
    "NONE": "unauth",
    "OAUTH2_CC": "oauth2CC",
}
_CLIENT_FIELDS: Final = {
    "client_id": CLIENT_ID_MAX,
    "client_secret": KEY_MAX,
    "client_certificate": TOKEN_MAX,
    "client_private_key": TOKEN_MAX,
}
# After this no provider is waited for: the function has 29 s, and still has to store.
FOLLOW_UP_UNTIL_SECONDS: Final = 24.0


class ApiKeyBody(Body):
    """``POST /api-auth/api-key/{providerConfigKey}``."""

    apiKey: Key  # noqa: N815


class BasicBody(Body):
    """``POST /api-auth/basic/{providerConfigKey}``; both may be empty."""

    username: UserName
    password: Password


def submit(
    ctx: Context,
    session: ConnectSession,
    unique_key: str,
    mode: AuthMode,
    credentials: Secret[dict[str, Any]],
    query: dict[str, Any],
) -> dict[str, Any]:
    """Make a connection of what was typed in.

    Args:
        ctx: the container's context.
        session: who connects.
        unique_key: which integration.
        mode: the auth mode of the endpoint.
        credentials: as they will be stored.
        query: parsed query string.

    Returns:
        ``{"connectionId", "providerConfigKey"}``, and ``isPending`` when it waits for confirmation.

    Raises:
        ApiError: in the order of contract 4; 400 ``connection_test_failed``; 429 and 409 of
            :mod:`keystow.sessions.quotas`; 401 ``unknown_connect_session_token`` when the session
            was ended meanwhile.
    """
    started = ctx.clock.now()
    refuse_connection_id(query)
    integration, provider = _integration(ctx, session, unique_key, mode)
    scope = open_scope(ctx, session, integration, provider)
    config = connection_config(ctx, query, scope)
    check_inputs(scope, config)
    quotas.attempt(ctx, session)
    credentials = Secret(cleaned_credentials(provider.definition, credentials.reveal()))
    exchange = nullcontext() if mode == "NONE" else quotas.verification(ctx, session)
    with quotas.connection(ctx, session, new=scope.identity is None) as unit, exchange:
        _connect(ctx, scope, mode, Sealed(credentials, Secret(config)), started, unit)
    waiting = {"isPending": True} if session.confirm else {}
    if mode == "OAUTH2_CC":
        return {"providerConfigKey": unique_key, "connectionId": scope.connection_id, **waiting}
    return {"connectionId": scope.connection_id, "providerConfigKey": unique_key, **waiting}


def _connect(
    ctx: Context,
    scope: Scope,
    mode: AuthMode,
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
        sealed = _tested(ctx, scope, mode, typed)
    except ApiError as error:
        # A mistyped key is between the end user and the form: no event tells of it.
        _failed(ctx, scope, log, error)
        raise
    learnt = post_connection(
        ctx,
        integration,
        provider,
        scope.connection_id,
        sealed,
        until=started + FOLLOW_UP_UNTIL_SECONDS,
    )
    sealed = Sealed(sealed.credentials, Secret(learnt))
    with storing(ctx, unit, integration, provider, scope.connection_id, sealed):
        draft = Draft(
            environment=scope.environment,
            integration=integration,
            provider=provider,
            connection_id=scope.connection_id,
            sealed=sealed,
            metadata={} if scope.identity is None else KEEP,
            tags=session.tags,
            end_user=session.end_user,
            webhook_url_override=session.webhook_url_override,
            fetched=mode != "NONE",
            by_session=True,
            replaces=scope.identity or Replaces.NOTHING,
            operation=session.operation_id,
            session=session.key,
        )
        try:
            message = pending.store(
                ctx,
                draft,
                waits=session.confirm,
                given=typed.connection_config.reveal(),
                details={"auth": AUTH_TYPES[mode]},
            )
        except ApiError as error:
            _failed(ctx, scope, log, error)
            raise
    activity.finish(ctx, session.environment, log, "success", message)
    outcomes.succeeded(
        ctx, session, integration.unique_key, scope.connection_id, pending=session.confirm
    )


def _integration(
    ctx: Context, session: ConnectSession, unique_key: str, mode: AuthMode
) -> tuple[Integration, Provider]:
    """Return an integration, whose provider has the auth mode.

    Raises:
        ApiError: as :func:`find_integration`, 400 ``invalid_auth_mode``; for client credentials
            with a message, and an integration that is not there as 400 (contract 4.3).
    """
    by_client = mode == "OAUTH2_CC"
    try:
        integration, provider = find_integration(ctx, session, unique_key)
    except ApiError as error:
        if by_client and error.code == "unknown_provider_config":
            raise ApiError(error.code, "There is no integration of this key", payload={}) from None
        raise
    if provider.auth_mode == mode:
        return integration, provider
    if by_client:
        message = f"The provider takes {provider.auth_mode}, not client credentials"
        raise ApiError("invalid_auth_mode", message, payload={})
    raise ApiError("invalid_auth_mode")


def _tested(ctx: Context, scope: Scope, mode: AuthMode, sealed: Sealed) -> Sealed:
    if mode == "NONE":
        return sealed
    if mode != "OAUTH2_CC":
        verify(ctx, scope.provider, sealed)
        return sealed
    from keystow.modes.client_credentials import request_token

    config = dict(sealed.connection_config.reveal())
    fixed = scope.session.defaults.get(scope.integration.unique_key, {})
    if fixed.get("authorization_params"):
        config["authorization_params"] = fixed["authorization_params"]
    if scope.integration.scopes and not config.get("oauth_scopes"):
        config["oauth_scopes"] = scope.integration.scopes
    try:
        found = request_token(ctx, scope.provider, Sealed(sealed.credentials, Secret(config)))
    except TokenError as error:
        raise ApiError(
            "client_credentials_fetch_error",
            f"The provider gave no token for this client ({error.code}): {error.description}",
        ) from None
    credentials = found.sealed.credentials
    answer = credentials.reveal()["raw"]
    learnt = metadata_from(answer, scope.provider.definition, "token_response_metadata")
    return Sealed(credentials, Secret(with_learnt(config, learnt)))


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


def client_credentials_of(body: dict[str, Any]) -> Secret[dict[str, Any]]:
    """Return the client of a body of ``POST /oauth2/auth`` (contract 4.3: checked by hand).

    Raises:
        ApiError: 400 ``missing_client_id``, ``missing_client_secret``, ``invalid_body``.
    """
    found: dict[str, Any] = {"type": "OAUTH2_CC", "client_secret": ""}
    for name, most in _CLIENT_FIELDS.items():
        value = body.get(name)
        if not value and not isinstance(value, str):  # null, 0, {} and the like count as missing
            continue
        text = trimmed(value) if isinstance(value, str) else None
        if text is None or len(text) > most:
            raise ApiError("invalid_body", f"{name} must be a text of at most {most} characters")
        if text:
            found[name] = text
    if "client_id" not in found:
        raise ApiError("missing_client_id", "client_id is missing")
    if not found["client_secret"] and "client_private_key" not in found:
        raise ApiError("missing_client_secret", "client_secret is missing")
    return Secret(found)
