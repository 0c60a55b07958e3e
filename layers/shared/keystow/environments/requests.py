"""Bodies of the environment endpoints (contract 6.5, and our own webhook settings)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from keystow import clock
from keystow.egress.errors import EgressRefused
from keystow.egress.guard import check_destination
from keystow.environments import variables
from keystow.environments.keys import is_scope
from keystow.errors import ApiError, Issue
from keystow.events import destinations
from keystow.records.environment import ConnectUiSettings
from keystow.validation import Body, issue_error

if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST = 2**53
B = TypeVar("B", bound=Body)


def require_destinations(
    urls: Mapping[str, str | None], *, loopback_allowed: bool, webhooks: bool = False
) -> None:
    """Refuse URLs that could never be a destination.

    Args:
        urls: member of the body → its URL; None passes.
        loopback_allowed: the setting of the local stack.
        webhooks: whether events will be sent there.

    Raises:
        ApiError: 400 ``invalid_body`` with one issue for each.
    """
    issues = []
    for name, url in urls.items():
        reason = None if url is None else _refusal(url, loopback_allowed, webhooks)
        if reason is not None:
            issues.append(Issue("invalid_format", reason, (name,)))
    if issues:
        raise ApiError("invalid_body", issues=issues)


def _refusal(url: str, loopback_allowed: bool, webhooks: bool) -> str | None:  # noqa: FBT001
    if webhooks:
        return destinations.refusal(url, loopback_allowed=loopback_allowed)
    try:
        check_destination(url, allow_loopback=loopback_allowed)
    except EgressRefused as refused:
        return str(refused)
    return None


def _scope(value: str) -> str:
    # A key of an environment never reaches the account, nor therefore another environment.
    if not value.startswith("environment:") or not is_scope(value):
        raise issue_error("invalid_value", "not a scope of an environment")
    return value


def _account_scope(value: str) -> str:
    if not value.startswith("account:") or not is_scope(value):
        raise issue_error("invalid_value", "not a scope of the account")
    return value


def _moment(value: str) -> str:
    if clock.parse_iso(value) is None:
        raise issue_error("invalid_format", "not a date of ISO 8601")
    return value


def milliseconds(moment: str | None) -> int | None:
    """Return a checked date in milliseconds since the epoch."""
    seconds = None if moment is None else clock.parse_iso(moment)
    return None if seconds is None else int(seconds * 1000)


def _not_empty(body: B) -> B:
    if not body.model_fields_set:
        raise issue_error("too_small", "name at least one thing to change")
    return body


EnvironmentName = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[a-z0-9_-]+$")
]
SigningKey = Annotated[
    str, StringConstraints(min_length=16, max_length=255, pattern=r"^[\x21-\x7e]+$")
]
HmacKey = Annotated[str, StringConstraints(max_length=1000)]
Moment = Annotated[str, StringConstraints(max_length=40), AfterValidator(_moment)]
AccountScope = Annotated[str, StringConstraints(max_length=255), AfterValidator(_account_scope)]
Url = Annotated[str, StringConstraints(max_length=2048)]
Scope = Annotated[str, StringConstraints(max_length=255), AfterValidator(_scope)]
Number = Annotated[int, Field(ge=0, le=_LARGEST)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
VariableName = Annotated[
    str,
    StringConstraints(max_length=variables.LONGEST_NAME, pattern=r"^[a-zA-Z_][a-zA-Z0-9_.-]*$"),
]
VariableValue = Annotated[str, StringConstraints(max_length=variables.LONGEST_VALUE)]
# A colour of CSS, and nothing that could end a declaration: a page may put it into a style sheet.
Colour = Annotated[
    str,
    StringConstraints(
        max_length=64,
        pattern=r"^(#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,32}|"
        r"(rgba?|hsla?|hwb|(ok)?lab|(ok)?lch)\([0-9a-z.%,/ +-]{1,50}\))$",
    ),
]
_LOOKS = ConnectUiSettings()


class WebhookSettingsBody(Body):
    """``PUT /environment/webhook-settings``: the whole object; what is left out is the default.

    ``on_connection_deletion`` is younger than callers that send "the whole object": left out, it
    stays as it is.
    """

    primary_url: Url | None = None
    secondary_url: Url | None = None
    on_auth_creation: bool = True
    on_auth_refresh_error: bool = True
    on_connection_deletion: bool = False


class Primary(Body):
    """The main colour of a theme."""

    primary: Colour


class Themes(Body):
    """The main colours of the Connect UI; what is left out is the default."""

    light: Primary = Primary(primary=_LOOKS.light_primary)
    dark: Primary = Primary(primary=_LOOKS.dark_primary)


class ConnectUiBody(Body):
    """``PUT /environment/connect-ui-settings``; what is left out is the default."""

    showWatermark: bool = _LOOKS.show_watermark  # noqa: N815 - the contract's name
    defaultTheme: Literal["light", "dark", "system"] = "system"  # noqa: N815 - likewise
    theme: Themes = Themes()

    def settings(self) -> ConnectUiSettings:
        """Return what is stored."""
        return ConnectUiSettings(
            show_watermark=self.showWatermark,
            default_theme=self.defaultTheme,
            light_primary=self.theme.light.primary,
            dark_primary=self.theme.dark.primary,
        )


class Variable(Body):
    """A variable of an environment."""

    name: VariableName
    value: VariableValue


class VariablesBody(Body):
    """``PUT /environment-variables``: all of them."""

    variables: Annotated[list[Variable], Field(max_length=variables.MOST)]

    @field_validator("variables")
    @classmethod
    def _once(cls, value: list[Variable]) -> list[Variable]:
        names = [each.name for each in value]
        if len(set(names)) < len(names):
            raise issue_error("custom", "a name stands twice")
        return value


class _Features(Body):
    """Members of features that are not offered; what turns one on is refused."""

    slack_notifications: bool | None = None
    otlp_endpoint: str | None = None
    otlp_headers: list[dict[str, Any]] | None = None

    @field_validator("slack_notifications", "otlp_endpoint", "otlp_headers")
    @classmethod
    def _off(cls, value: object) -> object:
        if value:
            raise issue_error("invalid_value", "this feature is not offered")
        return value


class CreateEnvironment(_Features):
    """``POST /environments``."""

    name: EnvironmentName
    is_production: bool = False
    callback_url: Url | None = None
    webhook_signing_key: SigningKey | None = None
    hmac_key: HmacKey | None = None
    hmac_enabled: bool | None = None


class ChangeEnvironment(_Features):
    """``PATCH /environments/{environmentUuid}``.

    ``callback_url: null`` and ``hmac_key: null`` remove them.
    """

    name: EnvironmentName | None = None
    is_production: bool | None = None
    callback_url: Url | None = None
    webhook_signing_key: SigningKey | None = None
    hmac_key: HmacKey | None = None
    hmac_enabled: bool | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        return _not_empty(self)


class NewKey(Body):
    """``POST /environments/{environmentUuid}/api-keys``; all but the name is our own."""

    display_name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=100)] | None = None
    expires_at: Moment | None = None


class NewAccountKey(Body):
    """``POST /account/api-keys``."""

    display_name: Name
    scopes: Annotated[list[AccountScope], Field(min_length=1, max_length=100)]
    expires_at: Moment | None = None


class ChangeKey(Body):
    """``PATCH`` of an API key; ``expires_at: null`` lets it live on."""

    display_name: Name | None = None
    expires_at: Moment | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        return _not_empty(self)


class CreateApiKey(NewKey):
    """``POST /environment/api-keys``, the older route."""

    environment_id: Number


class DeleteApiKey(Body):
    """``DELETE /environment/api-keys``."""

    environment_id: Number
    key_id: Number
