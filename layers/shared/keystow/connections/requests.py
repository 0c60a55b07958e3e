"""Bodies of the connection endpoints (contract 5.4 to 5.8), validated with pydantic."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
)

from keystow.clock import LAST_MOMENT, iso, parse_date
from keystow.connections.end_users import EndUserBody, Tags, WebhookUrl
from keystow.validation import (
    CLIENT_ID_MAX,
    TOKEN_MAX,
    Body,
    ClientId,
    ClientSecret,
    ConnectionId,
    Key,
    Password,
    ProviderConfigKey,
    Token,
    Trimmed,
    UserName,
    issue_error,
)

MAX_METADATA_KEYS = 1_000
MAX_IDS = 90


def _date(value: Any) -> str:
    """Return a date of a body in the form of credentials; numbers are epoch milliseconds."""
    seconds: float | None = None
    if isinstance(value, str):
        seconds = parse_date(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value / 1000
    if seconds is None or not 0 <= seconds <= LAST_MOMENT:
        raise issue_error("invalid_type", "expected a date")
    return iso(seconds)


Date = Annotated[str, BeforeValidator(_date)]
OptionalToken = Annotated[str, Trimmed, StringConstraints(max_length=TOKEN_MAX)]


class ConfigOverride(Body):
    """A connection's own OAuth client."""

    client_id: Annotated[str, Trimmed, StringConstraints(max_length=CLIENT_ID_MAX)] | None = None
    client_secret: ClientSecret | None = None


class OAuth2Credentials(Body):
    """Tokens of an authorization code grant."""

    type: Literal["OAUTH2"]
    access_token: Token
    refresh_token: OptionalToken | None = None
    expires_at: Date | None = None
    config_override: ConfigOverride | None = None


class ClientCredentialsCredentials(Body):
    """A token of a client credentials grant, with the client."""

    type: Literal["OAUTH2_CC"]
    token: Token
    client_id: ClientId
    client_secret: ClientSecret
    client_certificate: OptionalToken | None = None
    client_private_key: OptionalToken | None = None
    expires_at: Date | None = None


class OAuth1Credentials(Body):
    """An OAuth 1.0a token."""

    type: Literal["OAUTH1"]
    oauth_token: Token
    oauth_token_secret: Token


class ApiKeyCredentials(Body):
    """An API key."""

    type: Literal["API_KEY"]
    apiKey: Key  # noqa: N815


class BasicCredentials(Body):
    """A user name and a password."""

    type: Literal["BASIC"]
    username: UserName
    password: Password


class TbaCredentials(Body):
    """A NetSuite token."""

    type: Literal["TBA"]
    token_id: Token
    token_secret: Token
    config_override: ConfigOverride | None = None


class NoneCredentials(Body):
    """No credential."""

    type: Literal["NONE"]


Credentials = Annotated[
    OAuth2Credentials
    | ClientCredentialsCredentials
    | OAuth1Credentials
    | ApiKeyCredentials
    | BasicCredentials
    | TbaCredentials
    | NoneCredentials,
    Discriminator("type"),
]


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    if "" in value:
        raise issue_error("invalid_key", "a metadata key must not be empty")
    if len(value) > MAX_METADATA_KEYS:
        raise issue_error("too_big", f"at most {MAX_METADATA_KEYS} keys")
    return value


Metadata = Annotated[dict[str, Any], AfterValidator(_metadata)]


class ConnectionConfigBody(Body):
    """``connection_config`` of an import: anything, but ``oauth_scopes_override`` is a list."""

    model_config = ConfigDict(extra="allow", strict=True, hide_input_in_errors=True)

    oauth_scopes_override: list[str] | None = None


class ImportBody(Body):
    """``POST /connections``."""

    provider_config_key: ProviderConfigKey
    connection_id: ConnectionId | None = None
    metadata: Metadata | None = None
    connection_config: ConnectionConfigBody | None = None
    webhook_url_override: WebhookUrl | None = None
    end_user: EndUserBody | None = None
    tags: Tags | None = None
    credentials: Credentials


class PatchBody(Body):
    """``PATCH /connections/{connectionId}``."""

    end_user: EndUserBody | None = None
    tags: Tags | None = None
    webhook_url_override: WebhookUrl | None = None


class ConfirmBody(Body):
    """``POST /connections/{connectionId}/confirm``; a body need not be sent."""

    pending_id: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None


def _ids(value: Any) -> list[str]:
    from pydantic import TypeAdapter, ValidationError

    many = value if isinstance(value, list) else [value]
    try:
        found = TypeAdapter(list[ConnectionId]).validate_python(many, strict=True)
    except ValidationError:
        raise issue_error("invalid_union", "expected a connection id or a list of them") from None
    if not found:
        raise issue_error("too_small", "at least one connection id")
    if len(found) > MAX_IDS:
        raise issue_error("too_big", f"at most {MAX_IDS} connection ids")
    return found


class MetadataBody(Body):
    """``POST`` and ``PATCH /connections/metadata``."""

    connection_id: Annotated[list[str], BeforeValidator(_ids)] = Field(
        default=None,
        validate_default=True,
    )
    provider_config_key: ProviderConfigKey
    metadata: Metadata
