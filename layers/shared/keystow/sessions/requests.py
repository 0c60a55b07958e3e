"""Bodies of the connect session endpoints (contract 3.1, 3.2, 3.5)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from keystow.clock import parse_iso
from keystow.connections.end_users import EndUserBody, OrganizationBody, Tags, WebhookUrl
from keystow.oauth.authorization_params import ReservedParameter, check_authorization_params
from keystow.validation import Body, ConnectionId, ProviderConfigKey, SessionScopes, issue_error


def _authorization_params(params: dict[str, str]) -> dict[str, str]:
    try:
        check_authorization_params(params)
    except ReservedParameter as error:
        raise issue_error("custom", f"{error.name[:64]} is set by the server") from None
    return params


class SessionConnectionConfig(Body):
    """``connection_config`` of a session's defaults: anything.

    ``webhook_url`` is the older form of ``webhook_url_override`` (contract 3.1).
    """

    model_config = ConfigDict(extra="allow", strict=True, hide_input_in_errors=True)

    oauth_scopes_override: SessionScopes | None = None
    webhook_url: WebhookUrl | None = None


class IntegrationDefaults(Body):
    """What a session fixes for one integration; it wins over what the browser sends."""

    user_scopes: str | None = None
    authorization_params: (
        Annotated[dict[str, str], AfterValidator(_authorization_params)] | None
    ) = None
    connection_config: SessionConnectionConfig | None = None


class IntegrationOverrides(Body):
    """What a session shows differently for one integration."""

    docs_connect: Annotated[str, StringConstraints(max_length=2048)] | None = None


class SessionBody(Body):
    """``POST /connect/sessions``."""

    end_user: EndUserBody | None = None
    organization: OrganizationBody | None = None
    allowed_integrations: list[str] | None = None
    integrations_config_defaults: dict[str, IntegrationDefaults] | None = None
    overrides: dict[str, IntegrationOverrides] | None = None
    webhook_url_override: WebhookUrl | None = None
    tags: Tags | None = None
    single_use: bool = False
    confirm: bool = False


class ReconnectBody(Body):
    """``POST /connect/sessions/reconnect``."""

    connection_id: ConnectionId
    integration_id: ProviderConfigKey
    end_user: EndUserBody | None = None
    organization: OrganizationBody | None = None
    integrations_config_defaults: dict[str, IntegrationDefaults] | None = None
    overrides: dict[str, IntegrationOverrides] | None = None
    webhook_url_override: WebhookUrl | None = None
    tags: Tags | None = None
    single_use: bool = False
    confirm: bool = False


RECENT_SECONDS = 2 * 3600
MOST_EARLIER = 20

EVENTS = Literal[
    "open",
    "view:list",
    "view:integration",
    "view:unknown_error",
    "view:credentials_error",
    "view:success",
    "click:integration",
    "click:doc",
    "click:doc_section",
    "click:connect",
    "click:close",
    "click:finish",
    "click:outside",
    "popup:blocked_by_browser",
    "popup:closed_early",
]


class TelemetryDimensions(Body):
    """What an event of the Connect UI is about."""

    integration: Annotated[str, StringConstraints(max_length=255)] | None = None


class TelemetryEvent(Body):
    """One event of a page."""

    event: EVENTS
    timestamp: Any
    dimensions: TelemetryDimensions | None = None

    def moment(self) -> float | None:
        """Return when it happened, in seconds since 1970 by the browser's clock; None: no date."""
        if isinstance(self.timestamp, str):
            return parse_iso(self.timestamp)
        if isinstance(self.timestamp, (int, float)) and not isinstance(self.timestamp, bool):
            return self.timestamp / 1000
        return None

    def is_recent(self, now: float) -> bool:
        """Return whether the event is of the last or the next two hours."""
        moment = self.moment()
        return moment is not None and abs(now - moment) <= RECENT_SECONDS


class TelemetryBody(TelemetryEvent):
    """``POST /connect/telemetry``: an event, and those before it that were not told yet."""

    token: str
    earlier: list[TelemetryEvent] = Field(default_factory=list, max_length=MOST_EARLIER)
