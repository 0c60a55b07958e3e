"""Incidents: declared, listed and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.incidents import service
from keystow.incidents.requests import IncidentBody
from keystow.needs import QUEUES, STORE, open_now
from keystow.validation import body_of

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE, QUEUES)

CREATE = "environment:incidents:create"
READ = "environment:incidents:read"

# What an answer has time to hand over in; the schedule of manage_environment goes on.
HAND_OVER_SECONDS = 15


def declare(ctx: Context, request: Request) -> Response:
    """Declare an incident."""
    principal = auth.secret_key(ctx, request, CREATE)
    request.refuse_query()
    body = body_of(request, IncidentBody)
    by = principal.key.uuid if principal.key else ""
    until = ctx.clock.now() + HAND_OVER_SECONDS
    made = service.declare(ctx, principal.environment, body, by, until)
    return Response(202, {"data": made})


def list_incidents(ctx: Context, request: Request) -> Response:
    """List incidents, newest first."""
    principal = auth.secret_key(ctx, request, READ)
    return Response(body=service.listed(ctx, principal.environment, *_page(request)))


def read_incident(ctx: Context, request: Request) -> Response:
    """Answer an incident with what became of each token."""
    principal = auth.secret_key(ctx, request, READ)
    incident_id = request.path_params.get("incidentId", "")
    found = service.detailed(ctx, principal.environment, incident_id, *_page(request))
    return Response(body=found)


def _page(request: Request) -> tuple[int, str | None]:
    request.refuse_query("limit", "cursor")
    limit = parameters.number(request, "limit", least=1, most=service.MOST)
    return limit or service.DEFAULT_LIMIT, parameters.text(request, "cursor", most=2_000)


handler = lambda_handler_for(
    {
        "POST /incidents": declare,
        "GET /incidents": list_incidents,
        "GET /incidents/{incidentId}": read_incident,
    }
)

open_now(*NEEDS)
