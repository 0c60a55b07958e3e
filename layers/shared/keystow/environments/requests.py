"""Bodies of the environment endpoints (contract 6.5, and our own webhook settings)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from keystow.egress.errors import EgressRefused
from keystow.egress.guard import check_destination
from keystow.environments.keys import is_scope
from keystow.errors import ApiError, Issue
from keystow.events import destinations
from keystow.validation import Body, issue_error

if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST = 2**53


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


Url = Annotated[str, StringConstraints(max_length=2048)]
Scope = Annotated[str, StringConstraints(max_length=255), AfterValidator(_scope)]
Number = Annotated[int, Field(ge=0, le=_LARGEST)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class WebhookSettingsBody(Body):
    """``PUT /environment/webhook-settings``: the whole object; what is left out is the default."""

    primary_url: Url | None = None
    secondary_url: Url | None = None
    on_auth_creation: bool = True
    on_auth_refresh_error: bool = True


class CreateEnvironment(Body):
    """``POST /environments``.

    Members from ``hmac_key`` on belong to features that are not offered; they are taken, so that
    clients which send them work, and have no effect.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[a-z0-9_-]+$")]
    is_production: bool = False
    callback_url: Url | None = None
    hmac_key: Annotated[str, StringConstraints(max_length=1000)] | None = None
    hmac_enabled: bool | None = None
    slack_notifications: bool | None = None
    otlp_endpoint: str | None = None
    otlp_headers: list[dict[str, Any]] | None = None


class CreateApiKey(Body):
    """``POST /environment/api-keys``; ``scopes`` is an addition of ours."""

    environment_id: Number
    display_name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=100)] | None = None


class DeleteApiKey(Body):
    """``DELETE /environment/api-keys``."""

    environment_id: Number
    key_id: Number
