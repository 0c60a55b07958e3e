"""Creating, showing and ending connect sessions (contract 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from keystow import ids
from keystow.activity import log as activity
from keystow.clock import iso
from keystow.connections.end_users import check_webhook_url, end_user_of, generated_tags
from keystow.connections.views import without_inputs
from keystow.errors import ApiError, Issue
from keystow.events import destinations
from keystow.oauth.redaction import plain
from keystow.records.connection import Connection
from keystow.records.environment import ConnectUiSettings, Environment
from keystow.records.session import ConnectSession
from keystow.registry import integrations, providers
from keystow.sessions import quotas, starting
from keystow.sessions.tokens import LIFE_SECONDS, item_of, new_token
from keystow.store import Put, tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.secret import Secret
    from keystow.sessions.requests import (
        IntegrationDefaults,
        ReconnectBody,
        SessionBody,
        TelemetryEvent,
    )


# Events of a page that somebody may have to look into.
TROUBLE: Final = frozenset(
    {
        "view:unknown_error",
        "view:credentials_error",
        "popup:blocked_by_browser",
        "popup:closed_early",
    }
)
# Shown to a browser for a secret that the session has settled.
MASK: Final = "********"


@dataclass(frozen=True)
class Created:
    """A new session and its token."""

    session: ConnectSession
    token: Secret[str]

    def as_json(self, connect_ui_url: str) -> dict[str, Any]:
        """Return the public shape; the link opens the Connect UI of this deployment."""
        token = self.token.reveal()
        return {
            "data": {
                "token": token,
                "connect_link": f"{connect_ui_url}?session_token={token}",
                "expires_at": iso(self.session.expires_at / 1000),
            }
        }


def create(ctx: Context, environment: str, body: SessionBody) -> Created:
    """Create a connect session.

    Raises:
        ApiError: 400 ``invalid_body``.
    """
    if body.end_user is None and body.tags is None:
        issue = Issue("invalid_type", "expected an end user, or tags", ("end_user",))
        raise ApiError("invalid_body", issues=[issue])
    known = {each.unique_key for each in integrations.list_all(ctx, environment)}
    issues = [
        Issue("custom", "Integration does not exist", ("allowed_integrations", str(place)))
        for place, key in enumerate(body.allowed_integrations or [])
        if key not in known
    ]
    _refuse(issues + _unknown_keys(known, body))
    return _create(
        ctx,
        environment,
        body,
        allowed=(
            None
            if body.allowed_integrations is None
            else tuple(dict.fromkeys(body.allowed_integrations))
        ),
    )


def create_reconnect(ctx: Context, environment: str, body: ReconnectBody) -> Created:
    """Create a session in which an existing connection is authorized anew.

    Raises:
        ApiError: 400 ``invalid_body``.
    """
    integration = integrations.by_unique_key(ctx, environment, body.integration_id, fresh=True)
    found = integration and _connection(ctx, integration, body.connection_id)
    if not integration or not found:
        raise ApiError("invalid_body", "ConnectionID or IntegrationId does not exist")
    known = {each.unique_key for each in integrations.list_all(ctx, environment)}
    _refuse(_unknown_keys(known, body))
    return _create(
        ctx,
        environment,
        body,
        allowed=(body.integration_id,),
        reconnect=(integration.id, body.connection_id, found.identity),
        before=found,
    )


def _connection(ctx: Context, integration: Integration, connection_id: str) -> Connection | None:
    place = tables.connection(integration.environment, integration.id, connection_id)
    item = ctx.store.get(place)
    return None if item is None else Connection.from_item(item)


def _unknown_keys(known: set[str], body: SessionBody | ReconnectBody) -> list[Issue]:
    return [
        Issue("custom", "Integration does not exist", (name, key))
        for name, found in (
            ("integrations_config_defaults", body.integrations_config_defaults),
            ("overrides", body.overrides),
        )
        for key in found or {}
        if key not in known
    ]


def _refuse(issues: list[Issue]) -> None:
    if issues:
        raise ApiError("invalid_body", issues=issues)


def _create(
    ctx: Context,
    environment: str,
    body: SessionBody | ReconnectBody,
    *,
    allowed: tuple[str, ...] | None,
    reconnect: tuple[str, str, str] | None = None,
    before: Connection | None = None,
) -> Created:
    check_webhook_url(body.webhook_url_override, loopback_allowed=ctx.settings.loopback_allowed)
    defaults, legacy_webhook = _defaults(ctx, environment, body.integrations_config_defaults or {})
    webhook = body.webhook_url_override
    if webhook is None:
        webhook = legacy_webhook
    end_user = end_user_of(body.end_user, body.organization)
    tags = {**generated_tags(end_user, body.organization), **(body.tags or {})}
    if before is not None and end_user is None:
        end_user = before.end_user
        tags = tags if tags or body.tags is not None else before.tags
    now = ctx.clock.now()
    token = new_token(ctx.random)
    session = ConnectSession(
        token_hash=ids.sha256_hex(token.reveal()),
        environment=environment,
        operation_id=ids.operation_id(now, ctx.random),
        created_at=int(now * 1000),
        expires_at=int((now + LIFE_SECONDS) * 1000),
        tags=tags,
        end_user=end_user,
        organization_name=body.organization.display_name if body.organization else None,
        allowed_integrations=allowed,
        defaults=defaults,
        overrides={
            key: value.model_dump(exclude_none=True)
            for key, value in (body.overrides or {}).items()
        },
        webhook_url_override=(
            destinations.stored(webhook, environment, ctx.vault) if webhook else None
        ),
        reconnect=reconnect,
        single_use=body.single_use,
        confirm=body.confirm,
    )
    starting.store(ctx, session, Put(session.key, item_of(session, token, ctx.random)))
    activity.begin(
        ctx,
        environment,
        "auth",
        "create_connection",
        operation=session.operation_id,
        connection_id=reconnect[1] if reconnect else None,
        end_user=end_user.id if end_user else None,
    )
    return Created(session, token)


def _secret_inputs(ctx: Context, environment: str, unique_key: str) -> frozenset[str]:
    integration = integrations.by_unique_key(ctx, environment, unique_key)
    provider = integration and providers.find(ctx, environment, integration.provider)
    return provider.secret_inputs if provider else frozenset()


def _defaults(
    ctx: Context, environment: str, given: dict[str, IntegrationDefaults]
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Return the defaults as stored, and the webhook URL of the older form (contract 3.1).

    Raises:
        ApiError: 400 ``invalid_body`` for a webhook URL that may not be called, and for an input
            that the integration fixes.
    """
    found: dict[str, dict[str, Any]] = {}
    webhook: str | None = None
    issues: list[Issue] = []
    for key, value in given.items():
        entry = value.model_dump(exclude_none=True)
        config = entry.get("connection_config") or {}
        old = config.pop("webhook_url", None)
        check_webhook_url(
            old,
            loopback_allowed=ctx.settings.loopback_allowed,
            path=("integrations_config_defaults", key, "connection_config", "webhook_url"),
        )
        webhook = webhook or old
        secret = _secret_inputs(ctx, environment, key) if config else ()
        issues += _settled_already(ctx, environment, key, config)
        found[key] = {**entry, **({"secret_inputs": sorted(secret)} if secret else {})}
    _refuse(issues)
    return found, webhook


def _settled_already(
    ctx: Context, environment: str, unique_key: str, config: Mapping[str, Any]
) -> list[Issue]:
    """Return an issue for each input that the integration fixes: a session's would not be used."""
    integration = integrations.by_unique_key(ctx, environment, unique_key, fresh=bool(config))
    place = ("integrations_config_defaults", unique_key, "connection_config")
    return [
        Issue("custom", "the integration fixes this input", (*place, name))
        for name in config
        if integration is not None and name in integration.fixed_names
    ]


def describe(ctx: Context, session: ConnectSession) -> dict[str, Any]:
    """Return a session as its own token may see it (contract 3.3)."""
    data: dict[str, Any] = {
        "endUser": session.end_user.as_json() if session.end_user else None,
        "connectUISettings": _looks(ctx, session.environment).public(),
    }
    if session.allowed_integrations is not None:
        data["allowed_integrations"] = list(session.allowed_integrations)
    if session.defaults:
        data["integrations_config_defaults"] = {
            key: _shown_defaults(value) for key, value in session.defaults.items()
        }
    if session.reconnect is not None:
        data["isReconnecting"] = True
    if session.overrides:
        data["overrides"] = session.overrides
    data["websocketsPath"] = websockets_path(ctx.settings.websocket_url, ctx.settings.public_url)
    return {"data": data}


def _looks(ctx: Context, environment: str) -> ConnectUiSettings:
    item = ctx.store.get(tables.environment_settings(environment))
    return ConnectUiSettings() if item is None else Environment.from_item(item).connect_ui


def _shown_defaults(fixed: dict[str, Any]) -> dict[str, Any]:
    """Return what a session fixes; of secrets a form is only told that they are settled."""
    names = ("authorization_params", "connection_config")
    shown: dict[str, Any] = {name: fixed[name] for name in names if name in fixed}
    if "connection_config" in shown:
        kept = without_inputs(shown["connection_config"], fixed.get("secret_inputs") or ())
        shown["connection_config"] = {
            name: kept.get(name, MASK) for name in shown["connection_config"]
        }
    return shown


def websockets_path(websocket_url: str, public_url: str) -> str:
    """Return where a browser finds the WebSocket, relative to the API (contract 2.5).

    A path beginning with two slashes names another host: on AWS the WebSocket API has its own.
    """
    _, _, place = websocket_url.partition("://")
    _, _, own = public_url.partition("://")
    if own and (place == own or place.startswith(f"{own}/")):
        return place[len(own) :] or "/"
    return f"//{place}" if place else "/"


def end(ctx: Context, session: ConnectSession) -> None:
    """End a session; its token is unknown from now on, and what it began makes no connection."""
    ctx.store.delete(session.key)


def note_telemetry(ctx: Context, session: ConnectSession, events: Sequence[TelemetryEvent]) -> None:
    """Write what the Connect UI tells of itself into the session's operation.

    A browser's clock may be wrong, so the last event counts as of now, and the others as of so long
    before it as the browser says.

    Raises:
        ApiError: 429 ``too_many_request`` when that is more than is taken of one session.
    """
    last = events[-1].moment() or 0
    messages = [_noted(each, last - (each.moment() or 0)) for each in events]
    taken = activity.note_of_browser(ctx, session.environment, session.operation_id, messages)
    if not taken:
        limit, now = activity.MOST_OF_BROWSER, int(ctx.clock.now() * 1000)
        raise quotas.too_many("telemetry", limit, "session", now, session.expires_at)


def _noted(told: TelemetryEvent, ago: float) -> activity.Message:
    integration = told.dimensions.integration if told.dimensions else None
    return activity.Message(
        "error" if told.event in TROUBLE else "info",
        f"[UI] {told.event}",
        {"integration": plain(integration, 255) if integration else None},
        ago=max(0, ago),
    )


def applies_to(session: ConnectSession, unique_key: str) -> bool:
    """Return whether a session lets its end user connect an integration.

    No list allows all; an empty one allows none.
    """
    return session.allowed_integrations is None or unique_key in session.allowed_integrations
