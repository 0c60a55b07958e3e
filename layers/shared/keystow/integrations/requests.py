"""Bodies of the integration endpoints (contract 6.2)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    field_validator,
)

from keystow.validation import (
    KEY_MAX,
    TOKEN_MAX,
    Body,
    ClientId,
    ClientSecret,
    ProviderConfigKey,
    Scopes,
    Trimmed,
    issue_error,
)

_PEM_HEAD = "-----BEGIN RSA PRIVATE KEY----"
_PEM_TAIL = "-----END RSA PRIVATE KEY-----"
_MAX_NAMES = 100

ProviderId = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9_-]+$")
]
Short = Annotated[str, Trimmed, StringConstraints(min_length=1, max_length=255)]
ConfigValue = Annotated[str, Trimmed, StringConstraints(max_length=8192)]
ConfigName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Values: TypeAlias = dict[ConfigName, ConfigValue]


def _link(value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        raise issue_error("invalid_format", "must be a link that starts with https://")
    return value


def _private_key(value: str) -> str:
    if not (value.startswith(_PEM_HEAD) and value.endswith(_PEM_TAIL)):
        raise issue_error("invalid_format", "must be an RSA private key in PEM form")
    return value


Link = Annotated[str, Trimmed, StringConstraints(max_length=2048), AfterValidator(_link)]
PrivateKey = Annotated[
    str, Trimmed, StringConstraints(max_length=TOKEN_MAX), AfterValidator(_private_key)
]
RequiredSecret = Annotated[str, Trimmed, StringConstraints(min_length=1, max_length=KEY_MAX)]


class _Present(Body):
    """A body whose optional members may be left out, but not be null (as clients know it)."""

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:
        if value is None:
            raise issue_error("invalid_type", "must not be null")
        return value


class ClientCredentials(_Present):
    """The SaaS's own OAuth client."""

    type: Literal["OAUTH1", "TBA"]
    client_id: ClientId
    client_secret: RequiredSecret
    scopes: Scopes | None = None
    webhook_secret: Annotated[str, Trimmed, StringConstraints(max_length=255)] | None = None


class OAuth2Client(_Present):
    """The SaaS's own OAuth 2.0 client; one without a secret is a public client (RFC 6749 2.1)."""

    type: Literal["OAUTH2"]
    client_id: ClientId
    client_secret: ClientSecret = ""
    scopes: Scopes | None = None
    webhook_secret: Annotated[str, Trimmed, StringConstraints(max_length=255)] | None = None

    @field_validator("client_secret", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any) -> Any:
        return "" if value is None else value


class AppCredentials(_Present):
    """A GitHub App."""

    type: Literal["APP"]
    app_id: ClientId
    app_link: Link
    private_key: PrivateKey


class CustomCredentials(_Present):
    """A GitHub App that also signs users in."""

    type: Literal["CUSTOM"]
    client_id: ClientId
    client_secret: RequiredSecret
    app_id: ClientId
    app_link: Link
    private_key: PrivateKey


Credentials: TypeAlias = ClientCredentials | OAuth2Client | AppCredentials | CustomCredentials
_BY_TYPE: dict[str, type[Credentials]] = {
    "OAUTH1": ClientCredentials,
    "OAUTH2": OAuth2Client,
    "TBA": ClientCredentials,
    "APP": AppCredentials,
    "CUSTOM": CustomCredentials,
}


def _credentials(value: Any) -> Credentials:
    """Choose by ``type``; pydantic's own union would put the type's name into the path."""
    if not isinstance(value, dict):
        raise issue_error("invalid_type", "expected an object")
    kind = value.get("type")
    model = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    if model is None:
        fault = issue_error("invalid_union", "invalid credentials object")
        raise ValidationError.from_exception_data(
            "credentials", [{"type": fault, "loc": ("type",), "input": None}], hide_input=True
        )
    return model.model_validate(value)


def _bounded(values: dict[str, str]) -> dict[str, str]:
    if len(values) > _MAX_NAMES:
        raise issue_error("too_big", f"at most {_MAX_NAMES} entries")
    return values


_Credentials = Annotated[Any, PlainValidator(_credentials)]
_Values = Annotated[Values, AfterValidator(_bounded)]


class CreateIntegration(_Present):
    """``POST /integrations``."""

    provider: ProviderId
    unique_key: ProviderConfigKey
    display_name: Short | None = None
    forward_webhooks: bool = True
    own_callback: bool | None = None
    credentials: _Credentials = None
    integration_config: _Values | None = None
    custom: _Values | None = None


class UpdateIntegration(_Present):
    """``PATCH /integrations/{uniqueKey}``."""

    unique_key: ProviderConfigKey | None = None
    display_name: Short | None = None
    forward_webhooks: bool | None = None
    own_callback: bool | None = None
    credentials: _Credentials = None
    integration_config: _Values | None = None
    custom: _Values | None = None


class UniqueKeyParam(BaseModel):
    """The path parameter."""

    uniqueKey: ProviderConfigKey  # noqa: N815 - the contract's name


class ProviderParam(BaseModel):
    """The path parameter of the provider endpoints."""

    provider: ProviderId = Field()
