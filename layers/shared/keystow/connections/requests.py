"""Bodies of the connection endpoints (contract 5.4 to 5.8), validated with pydantic."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
)

from keystow.connections.end_users import EndUserBody, Tags, WebhookUrl
from keystow.modes import bodies, mode_of
from keystow.validation import Body, ConnectionId, ProviderConfigKey, issue_error

MAX_METADATA_KEYS = 1_000
MAX_IDS = 90


def _credentials(value: Any) -> Body:
    """Choose the model by ``type``; only that mode is loaded."""
    if not isinstance(value, dict):
        raise issue_error("invalid_type", "expected an object")
    kind = value.get("type")
    mode = mode_of(kind) if isinstance(kind, str) else None
    if mode is None or mode.credential_type != kind:
        fault = issue_error("invalid_union", "not a type of credential that can be imported")
        raise ValidationError.from_exception_data(
            "credentials", [{"type": fault, "loc": ("type",), "input": None}], hide_input=True
        )
    return bodies.import_body(mode).model_validate(value)


Credentials = Annotated[Any, PlainValidator(_credentials)]


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
