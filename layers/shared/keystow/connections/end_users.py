"""End users, organizations and tags as bodies give them (contract 3), and the tags they make."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, StringConstraints, model_validator

from keystow.errors import ApiError, Issue
from keystow.records.connection import EndUser
from keystow.validation import Body, Email, is_email, issue_error

MAX_TAGS = 10
_TAG_KEY = r"^[a-zA-Z][a-zA-Z0-9_\-./]*$"
MAX_URL = 2048


def _tag_key(key: str) -> str:
    if len(key) > 64 or not re.fullmatch(_TAG_KEY, key):  # noqa: PLR2004 - contract 3
        raise issue_error("invalid_key", "a tag key is a letter, then letters, digits, _ - . /")
    return key


def _bounded(tags: dict[str, str]) -> dict[str, str]:
    lowered: dict[str, str] = {}
    for key, value in tags.items():
        if key.lower() in lowered:
            raise issue_error("custom", "two tag keys differ only in case")
        lowered[key.lower()] = value
    if len(lowered) > MAX_TAGS:
        raise issue_error("too_big", f"at most {MAX_TAGS} tags")
    email = lowered.get("end_user_email")
    if email is not None and not is_email(email):
        raise issue_error("invalid_format", "end_user_email must be an email address")
    return lowered


TagKey = Annotated[str, AfterValidator(_tag_key)]
Tags = Annotated[
    dict[TagKey, Annotated[str, StringConstraints(min_length=1, max_length=255)]],
    AfterValidator(_bounded),
]
EndUserTags = dict[TagKey, Annotated[str, StringConstraints(max_length=255)]]


def _absolute_url(value: str) -> str:
    if value == "":
        return value
    try:
        parts = urlsplit(value)
        usable = bool(parts.scheme and parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(value) > MAX_URL:
        raise issue_error("invalid_union", "expected an absolute URL or an empty text")
    return value


WebhookUrl = Annotated[str, AfterValidator(_absolute_url)]


class EndUserBody(Body):
    """``end_user`` of a body."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    email: Email | None = None
    display_name: Annotated[str, StringConstraints(max_length=255)] | None = None
    tags: EndUserTags | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_nulls(cls, found: Any) -> Any:
        return refuse_nulls(found, "email", "display_name", "tags")


class OrganizationBody(Body):
    """``organization`` of a body."""

    id: Annotated[str, StringConstraints(max_length=255)]
    display_name: Annotated[str, StringConstraints(max_length=255)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_nulls(cls, found: Any) -> Any:
        return refuse_nulls(found, "display_name")


def refuse_nulls(found: Any, *names: str) -> Any:
    """Turn explicit nulls of optional texts into what the type check refuses, as clients expect."""
    if isinstance(found, dict):
        for name in names:
            if name in found and found[name] is None:
                return {**found, name: _NULL}
    return found


class _Null(BaseModel):
    """Stands for an explicit null, which is of no accepted type."""


_NULL = _Null()


def end_user_of(
    body: EndUserBody | None, organization: OrganizationBody | None = None
) -> EndUser | None:
    """Return the end user of a body, with the organization of the same session."""
    if body is None:
        return None
    return EndUser(
        id=body.id,
        email=body.email,
        display_name=body.display_name,
        tags=body.tags,
        organization_id=organization.id if organization else None,
        organization_display_name=organization.display_name if organization else None,
    )


def generated_tags(
    end_user: EndUser | None, organization: OrganizationBody | None = None
) -> dict[str, str]:
    """Return the tags that an end user and an organization make (contract 3.1).

    The end user's own tags are left out when all together would be more than ten.
    """
    found: dict[str, str | None] = {}
    if end_user is not None:
        found |= {
            "end_user_id": end_user.id,
            "end_user_email": end_user.email,
            "end_user_display_name": end_user.display_name,
        }
    if organization is not None:
        found |= {
            "organization_id": organization.id,
            "organization_display_name": organization.display_name,
        }
    tags = {name: value for name, value in found.items() if value}
    own = {name.lower(): value for name, value in ((end_user and end_user.tags) or {}).items()}
    merged = {**own, **tags}
    return merged if len(merged) <= MAX_TAGS else tags


def check_webhook_url(
    url: str | None, *, loopback_allowed: bool, path: tuple[str, ...] = ("webhook_url_override",)
) -> None:
    """Require that a webhook URL of a body may be called.

    Raises:
        ApiError: 400 ``invalid_body`` with a ``custom`` issue at the path.
    """
    if not url:
        return
    from keystow.events.destinations import refusal

    reason = refusal(url, loopback_allowed=loopback_allowed)
    if reason is not None:
        raise ApiError("invalid_body", issues=[Issue("custom", reason, path)])
