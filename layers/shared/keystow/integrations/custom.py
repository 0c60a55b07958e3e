"""An environment's own providers: put, and removed while nothing uses them.

An item counts the integrations that use it (they count themselves in and out in the transactions
that create and remove them), so that a removal cannot overtake a first use. ``revision`` rises with
every change and every use, so that a definition is only replaced while what was decided about it
still holds.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from keystow.catalog import loader
from keystow.catalog.loader import Provider
from keystow.catalog.model import validate_definition
from keystow.errors import ApiError, Issue
from keystow.store import ConditionFailed, Delete, Equals, Put, TransactionConflict, Update, tables
from keystow.store.operations import NEW, THERE, All, Any_, AtMost, Missing
from keystow.validation import issues_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keystow.context import Context

ID_FORMAT: Final = re.compile(r"[a-z0-9-]{1,100}")
_ATTEMPTS: Final = 20
_UNUSED: Final = Any_((Missing("users"), AtMost("users", 0)))
# Texts for people; nothing is ever sent to what they name.
_PROSE: Final = frozenset(
    {"display_name", "title", "description", "example", "docs", "docs_connect", "setup_guide_url"}
    | {"sources", "warnings", "categories", "pattern", "scopes_url", "service_terms_url"}
)
_DESTINATION_NAMES: Final = re.compile(r"(?:^|_)(?:url|uri|host|endpoint|endpoints|base)(?:$|_)")
# Of `proxy`: what is sent with stored credentials, of our own accord (the daily check).
_REQUEST_PARTS: Final = ("headers", "query", "body", "verification")
_ORIGINS: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://(?:\$\{[^}]*\}|[^/?#\s\"])*")


def put(
    ctx: Context, environment: str, provider_id: str, body: Any, *, may_redirect: bool
) -> tuple[Provider, bool]:
    """Store a definition, and return the provider and whether it is new.

    Args:
        ctx: store and settings.
        environment: whose provider it is.
        provider_id: its key.
        body: the decoded JSON.
        may_redirect: whether the caller may read credentials anyway, and so may change where those
            of existing connections are sent, and what is asked with them.

    Raises:
        ApiError: 400 ``invalid_uri_params``, ``invalid_body``; 409 ``conflict`` for the key of a
            built-in provider; 403 ``forbidden`` for new destinations or other checks without
            ``may_redirect``.
    """
    _check_id(provider_id)
    try:
        definition = validate_definition(
            provider_id,
            body,
            builtin=False,
            allow_http_loopback=ctx.settings.loopback_allowed,
        )
    except ValidationError as error:
        raise ApiError("invalid_body", issues=_issues(error)) from None
    key = tables.custom_provider(environment, provider_id)
    now = int(ctx.clock.now() * 1000)
    text = json.dumps(definition, separators=(",", ":"), ensure_ascii=False)
    fresh = {"definition": text, "created_at": now, "updated_at": now, "users": 0, "revision": 1}
    for _ in range(_ATTEMPTS):
        item = ctx.store.get(key)
        try:
            if item is None:
                ctx.store.transact([Put(key, fresh, NEW)])
                return Provider(provider_id, definition), True
            if item.get("users", 0) > 0 and not may_redirect:
                _refuse_other_uses(json.loads(item["definition"]), definition)
            change = {"definition": text, "updated_at": now}
            same = Equals("revision", item["revision"])
            ctx.store.transact([Update(key, set=change, add={"revision": 1}, condition=same)])
        except ConditionFailed:
            continue
        ctx.cache.pop(("provider", environment, provider_id), None)
        return Provider(provider_id, definition), False
    raise TransactionConflict("too many changes of one provider at a time")


def delete(ctx: Context, environment: str, provider_id: str) -> None:
    """Remove a provider of an environment.

    Raises:
        ApiError: 404 ``not_found``; 409 ``provider_in_use`` while an integration uses it, and
            ``conflict`` for a built-in one.
    """
    _check_id(provider_id)
    key = tables.custom_provider(environment, provider_id)
    try:
        ctx.store.transact([Delete(key, All((THERE, _UNUSED)))])
    except ConditionFailed:
        if ctx.store.get(key) is None:
            raise ApiError("not_found", f"Unknown provider {provider_id}") from None
        raise ApiError("provider_in_use", "An integration uses this provider") from None
    ctx.cache.pop(("provider", environment, provider_id), None)


def destinations(definition: Mapping[str, Any]) -> frozenset[str]:
    """Return every origin that a definition can send something to, as written, placeholders too."""
    return frozenset(_found(definition, destination=False))


def _found(value: Any, *, destination: bool) -> Iterator[str]:
    match value:
        case dict():
            for name, inner in value.items():
                if name not in _PROSE:
                    named = bool(_DESTINATION_NAMES.search(name))
                    yield from _found(inner, destination=destination or named)
        case list():
            for inner in value:
                yield from _found(inner, destination=destination)
        case str():
            origins = [origin.lower() for origin in _ORIGINS.findall(value)]
            yield from origins
            # `.example.com`, `@example.com` or `//example.com` behind a base would move it too.
            relative = value.startswith("/") and not value.startswith("//")
            if destination and not origins and not relative:
                yield value.lower()


def checks(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes up the requests that are sent with every stored key once a day."""
    proxy = definition.get("proxy") or {}
    parts = ("base_url", *_REQUEST_PARTS) if proxy.get("verification") else _REQUEST_PARTS
    return {name: proxy[name] for name in parts if proxy.get(name)}


def _refuse_other_uses(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    if destinations(new) - destinations(old):
        what = "sending stored credentials to other hosts"
    elif checks(new) != checks(old):
        parts = ", ".join(_REQUEST_PARTS)
        what = f"changing what is sent with stored credentials (proxy: {parts})"
    else:
        return
    raise ApiError(
        "forbidden",
        f"An integration uses this provider: {what} requires "
        "environment:connections:read_credentials as well",
    )


def _check_id(provider_id: str) -> None:
    if not ID_FORMAT.fullmatch(provider_id):
        issue = Issue("invalid_format", "lower-case letters, digits and hyphens", ("provider",))
        raise ApiError("invalid_uri_params", issues=[issue])
    if loader.built_in(provider_id) is not None:
        raise ApiError("conflict", f"{provider_id} is a built-in provider")


def _issues(error: ValidationError) -> list[Issue]:
    # What is checked before the fields stands under `body`, which is no part of what was sent.
    return [
        Issue(
            issue.code, issue.message, issue.path[1:] if issue.path[:1] == ("body",) else issue.path
        )
        for issue in issues_of(error)
    ]
