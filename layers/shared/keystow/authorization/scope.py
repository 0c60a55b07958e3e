"""What a connect session allows for an integration, and what it fixes (contract 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from keystow.errors import ApiError, Issue, invalid
from keystow.ids import uuid4
from keystow.integrations import fixed
from keystow.registry import integrations, providers
from keystow.sessions.service import applies_to
from keystow.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystow.authorization.ahead import Rows
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.environment import Environment
    from keystow.records.integration import Integration
    from keystow.records.session import ConnectSession

# What is asked for in the end user's name is decided by who made the session (contract 4.1).
_NOT_OF_BROWSERS: Final = frozenset({"oauth_scopes_override"})


@dataclass(frozen=True)
class Scope:
    """One end user connecting one integration.

    ``identity`` is that of the connection to be authorized anew; None: a new one is made.
    """

    session: ConnectSession
    environment: Environment
    integration: Integration
    provider: Provider
    connection_id: str
    identity: str | None


def refuse_connection_id(session: ConnectSession, query: dict[str, Any]) -> None:
    """Refuse a connection id beside a session token. Raises 400 ``invalid_query_params``."""
    if "connection_id" in query and not session.by_public_key:
        issue = Issue(
            "custom", "connection_id is forbidden when using session token", ("connection_id",)
        )
        raise ApiError("invalid_query_params", issues=[issue])


def find_integration(
    ctx: Context, session: ConnectSession, unique_key: str, rows: Rows
) -> tuple[Integration, Provider]:
    """Return an integration and its provider.

    Args:
        ctx: the container's context.
        session: who connects.
        unique_key: which integration.
        rows: hold the claim on the key.

    Raises:
        ApiError: 404 ``unknown_provider_config``, ``unknown_provider_template``.
    """
    claim = rows.get(tables.integration_name(session.environment, unique_key))
    integration = integrations.of_claim(ctx, session.environment, unique_key, claim)
    if integration is None:
        raise ApiError("unknown_provider_config", status=404)
    provider = providers.find(ctx, session.environment, integration.provider)
    if provider is None:
        raise ApiError("unknown_provider_template")
    return integration, provider


def open_scope(
    ctx: Context,
    session: ConnectSession,
    integration: Integration,
    provider: Provider,
    environment: Callable[[], Environment],
) -> Scope:
    """Return what the session allows.

    Args:
        ctx: the container's context.
        session: who connects.
        integration: what to.
        provider: its provider.
        environment: returns the environment, or raises 401 ``unknown_account``.

    Raises:
        ApiError: 400 ``integration_not_allowed``; ``invalid_connection`` when the connection to be
            authorized anew is gone.
    """
    if not applies_to(session, integration.unique_key):
        raise ApiError("integration_not_allowed")
    identity = None
    connection_id = session.connection_id or uuid4(ctx.random)
    if session.reconnect is not None:
        integration_id, connection_id, identity = session.reconnect
        place = tables.connection(session.environment, integration_id, connection_id)
        item = ctx.store.get(place)
        # Deleted and made anew under the same id, it is another connection.
        if item is None or integration_id != integration.id or item["identity"] != identity:
            raise ApiError("invalid_connection")
    return Scope(session, environment(), integration, provider, connection_id, identity)


def connection_config(ctx: Context, query: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """Return the connection config, cleaned.

    Over the browser's texts the session's win, and over both what the integration fixes.

    Raises:
        ApiError: 400 ``invalid_query_params`` when ``params`` is not written ``params[name]=text``.
        VaultError, VaultUnavailable: what the integration fixes cannot be opened.
    """
    from keystow.catalog.inputs import cleaned_config
    from keystow.catalog.interpolate import connection_config_of

    given = query.get("params", {})
    if not isinstance(given, dict):
        raise invalid("invalid_query_params", "invalid_type", "expected params[name]", "params")
    # What the provider itself tells may name the host that secrets are sent to.
    fields = scope.provider.connection_config
    found: dict[str, Any] = {
        name: value
        for name, value in connection_config_of(given).items()
        if name not in _NOT_OF_BROWSERS
        and not (isinstance(fields.get(name), dict) and fields[name].get("automated"))
    }
    defaults = scope.session.defaults.get(scope.integration.unique_key, {})
    config = {**found, **(defaults.get("connection_config") or {})}
    config.pop("webhook_url", None)
    settled = fixed.of(ctx, scope.integration, scope.provider)
    config = {**fixed.without(config, settled), **settled}
    return cleaned_config(scope.provider.definition, config)


def check_inputs(scope: Scope, config: dict[str, Any]) -> None:
    """Refuse inputs that do not have the form their provider's entry gives them.

    They may stand in the host that a secret is sent to. Raises 400 ``invalid_query_params``.
    """
    from keystow.catalog.loader import unfit_inputs

    unfit = unfit_inputs(scope.provider, config)
    if unfit:
        issues = [
            Issue("invalid_format", "does not have the form it should", ("params", name))
            for name in unfit
        ]
        raise ApiError("invalid_query_params", issues=issues)
