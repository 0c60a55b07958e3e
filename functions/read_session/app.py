"""GET and DELETE /connect/session, its status, POST /connect/telemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.errors import invalid
from keystow.http import auth, compression
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.http.urls import telemetry_cors
from keystow.needs import STORE, open_now
from keystow.sessions import opening, outcomes, service, tokens
from keystow.sessions.requests import TelemetryBody
from keystow.validation import body_of

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE,)

PAGE: Final = "page"
"""What ``include`` of ``GET /connect/session`` may name."""


def show(ctx: Context, request: Request) -> Response:
    """Show a session to the holder of its token; with all that a page begins with, if asked for."""
    session = auth.session_token(ctx, request)
    request.refuse_query("include")
    request.refuse_body()
    include = request.query.get("include")
    if include is None:
        return Response(200, service.describe(ctx, session))
    if include != PAGE:
        raise invalid("invalid_query_params", "invalid_value", f"expected {PAGE}", "include")
    return compression.json_response(request, opening.describe(ctx, session, request.base_url))


def status(ctx: Context, request: Request) -> Response:
    """Tell how the session's latest attempt went."""
    # An attempt that began in the session's last minute may end half an hour after it.
    session = auth.session_token(ctx, request, grace=tokens.LIFE_SECONDS)
    request.refuse_query()
    request.refuse_body()
    return Response(200, outcomes.describe(session))


def end(ctx: Context, request: Request) -> Response:
    """End a session."""
    session = auth.session_token(ctx, request)
    request.refuse_query()
    request.refuse_body()
    service.end(ctx, session)
    return Response(204)


def telemetry(ctx: Context, request: Request) -> Response:
    """Take what the Connect UI tells of itself."""
    request.refuse_query()
    body = body_of(request, TelemetryBody)
    now = ctx.clock.now()
    told = [(("timestamp",), body)]
    told += [(("earlier", str(at), "timestamp"), each) for at, each in enumerate(body.earlier)]
    for place, each in told:
        if not each.is_recent(now):
            raise invalid("invalid_body", "custom", "not a date within two hours", *place)
    service.note_telemetry(ctx, tokens.find(ctx, body.token), [*body.earlier, body])
    return Response(204, headers=telemetry_cors(request))


handler = lambda_handler_for(
    {
        "GET /connect/session": show,
        "GET /connect/session/status": status,
        "DELETE /connect/session": end,
        "POST /connect/telemetry": telemetry,
    }
)

open_now(*NEEDS)
