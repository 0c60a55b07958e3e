"""POST /connect/sessions and /connect/sessions/reconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.http import auth
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.http.urls import connect_ui_url
from keystow.needs import STORE, open_now
from keystow.sessions import service
from keystow.sessions.requests import ReconnectBody, SessionBody
from keystow.validation import body_of

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE,)

SCOPE = "environment:connect_sessions:write"


def create(ctx: Context, request: Request) -> Response:
    """Create a connect session."""
    principal = auth.secret_key(ctx, request, SCOPE)
    request.refuse_query()
    created = service.create(ctx, principal.environment, body_of(request, SessionBody))
    return Response(201, created.as_json(connect_ui_url(request)))


def reconnect(ctx: Context, request: Request) -> Response:
    """Create a session in which an existing connection is authorized anew."""
    principal = auth.secret_key(ctx, request, SCOPE)
    request.refuse_query()
    created = service.create_reconnect(ctx, principal.environment, body_of(request, ReconnectBody))
    return Response(201, created.as_json(connect_ui_url(request)))


handler = lambda_handler_for(
    {"POST /connect/sessions": create, "POST /connect/sessions/reconnect": reconnect}
)

open_now(*NEEDS)
