"""Providers: the catalogue and the environment's own (contract 6.4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from keystow.errors import ApiError, Issue
from keystow.http import auth
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.modes import form_of
from keystow.needs import STORE, open_now
from keystow.registry import integrations, providers

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.http.auth import Principal
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE, "keystow.sessions.service")

# API Gateway and Lambda end at 6 MB; what does not fit is answered under ``next_cursor``.
MAX_ANSWER = 4_500_000
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
LONGEST_NAME = 255
LONGEST_SEARCH = 255


def list_providers(ctx: Context, request: Request) -> Response:
    """Answer the providers that ``search`` finds, or all."""
    principal = auth.session_or_secret_key(ctx, request)
    request.refuse_query("search", "cursor")
    search = _text(request, "search")
    cursor = _text(request, "cursor")
    data: list[dict[str, Any]] = []
    size = 0
    allowed = _of_session(ctx, principal)
    for provider in providers.list_all(ctx, principal.environment, search):
        if provider.id <= cursor or (allowed is not None and provider.id not in allowed):
            continue
        shown = _shown(provider, request, principal)
        size += len(json.dumps(shown, ensure_ascii=False).encode())
        if size > MAX_ANSWER and data:
            return Response(body={"data": data, "next_cursor": data[-1]["name"]})
        data.append(shown)
    return Response(body={"data": data})


def read(ctx: Context, request: Request) -> Response:
    """Answer one provider."""
    principal = auth.session_or_secret_key(ctx, request)
    request.refuse_query()
    provider = _provider(ctx, request, principal)
    return Response(body={"data": _shown(provider, request, principal)})


def templates(ctx: Context, request: Request) -> Response:
    """Answer that a provider has no function templates: functions are not offered."""
    principal = auth.secret_key(ctx, request)
    request.refuse_query()
    _provider(ctx, request, principal)
    return Response(body={"data": []})


def _shown(provider: Provider, request: Request, principal: Principal) -> dict[str, Any]:
    """Return a definition for who asks: whole for a key, what a form needs for a session."""
    if principal.session is not None:
        return form_of(provider, request.base_url)
    return provider.public(request.base_url)


def _of_session(ctx: Context, principal: Principal) -> set[str] | None:
    """Return the providers that a session may connect; None for a key, which sees all."""
    session = principal.session
    if session is None:
        return None
    from keystow.sessions.service import applies_to

    return {
        each.provider
        for each in integrations.list_all(ctx, principal.environment)
        if applies_to(session, each.unique_key)
    }


def _provider(ctx: Context, request: Request, principal: Principal) -> Provider:
    name = request.path_params.get("provider", "")
    if not 1 <= len(name) <= LONGEST_NAME or not set(name) <= NAME_CHARACTERS:
        issue = Issue("invalid_format", "letters, digits, _ and -", ("provider",))
        raise ApiError("invalid_uri_params", issues=[issue])
    found = providers.find(ctx, principal.environment, name)
    allowed = _of_session(ctx, principal)
    if found is None or (allowed is not None and found.id not in allowed):
        raise ApiError("not_found", f"Unknown provider {name}")
    return found


def _text(request: Request, name: str) -> str:
    value = request.query.get(name, "")
    if not isinstance(value, str):
        issue = Issue("invalid_type", "expected one text", (name,))
        raise ApiError("invalid_query_params", issues=[issue])
    if len(value) > LONGEST_SEARCH:
        issue = Issue("too_big", f"at most {LONGEST_SEARCH} characters", (name,))
        raise ApiError("invalid_query_params", issues=[issue])
    return value


handler = lambda_handler_for(
    {
        "GET /providers": list_providers,
        "GET /providers/{provider}": read,
        "GET /providers/{provider}/templates": templates,
    }
)

open_now(*NEEDS)
