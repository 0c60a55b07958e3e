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

from keystow.validation import Body, ProviderConfigKey, issue_error

_PEM_HEAD = "-----BEGIN RSA PRIVATE KEY----"
_PEM_TAIL = "-----END RSA PRIVATE KEY-----"
_MAX_NAMES = 100

ProviderId = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9_-]+$")
]
Short = Annotated[str, StringConstraints(min_length=1, max_length=255)]
ConfigValue = Annotated[str, StringConstraints(max_length=8192)]
ConfigName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Values: TypeAlias = dict[ConfigName, ConfigValue]


def _scopes(value: str) -> str:
    allowed = set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:/_.*-")
    if value and not all(part and set(part) <= allowed for part in value.split(",")):
        raise issue_error("invalid_union", "scopes are separated by commas, without spaces")
    return value


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
    text = value.strip()
    if not (text.startswith(_PEM_HEAD) and text.endswith(_PEM_TAIL)):
        raise issue_error("invalid_format", "must be an RSA private key in PEM form")
    return text


Scopes = Annotated[str, AfterValidator(_scopes)]
Link = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_link)]
PrivateKey = Annotated[str, AfterValidator(_private_key)]


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

    type: Literal["OAUTH1", "OAUTH2", "TBA"]
    client_id: Short
    client_secret: Annotated[str, StringConstraints(min_length=1)]
    scopes: Scopes | None = None
    webhook_secret: Annotated[str, StringConstraints(max_length=255)] | None = None


class AppCredentials(_Present):
    """A GitHub App."""

    type: Literal["APP"]
    app_id: Short
    app_link: Link
    private_key: PrivateKey


class CustomCredentials(_Present):
    """A GitHub App that also signs users in."""

    type: Literal["CUSTOM"]
    client_id: Short
    client_secret: Annotated[str, StringConstraints(min_length=1)]
    app_id: Short
    app_link: Link
    private_key: PrivateKey


Credentials: TypeAlias = ClientCredentials | AppCredentials | CustomCredentials
_BY_TYPE: dict[str, type[Credentials]] = {
    "OAUTH1": ClientCredentials,
    "OAUTH2": ClientCredentials,
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
    credentials: _Credentials = None
    integration_config: _Values | None = None
    custom: _Values | None = None


class UpdateIntegration(_Present):
    """``PATCH /integrations/{uniqueKey}``."""

    unique_key: ProviderConfigKey | None = None
    display_name: Short | None = None
    forward_webhooks: bool | None = None
    credentials: _Credentials = None
    integration_config: _Values | None = None
    custom: _Values | None = None


class UniqueKeyParam(BaseModel):
    """The path parameter."""

    uniqueKey: ProviderConfigKey  # noqa: N815 - the contract's name


class ProviderParam(BaseModel):
    """The path parameter of the provider endpoints."""

    provider: ProviderId = Field()
