"""GET /connections, and how many there are of each integration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.connections import listing
from keystow.errors import invalid
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.integrations import counting
from keystow.needs import STORE, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE,)

FAILING = "failing"
STATUSES = frozenset({"working", FAILING})
SCOPES = ("environment:connections:list", "environment:connections:list_credentials")
PARAMETERS = (
    "connectionId",
    "search",
    "endUserId",
    "endUserOrganizationId",
    "integrationId",
    "tags",
    "status",
    "limit",
    "page",
    "cursor",
)


def list_connections(ctx: Context, request: Request) -> Response:
    """List connections, newest first."""
    principal = auth.secret_key(ctx, request, *SCOPES)
    request.refuse_query(*PARAMETERS)
    keys = _integrations(request)
    status = parameters.choice(request, "status", STATUSES)
    limit = parameters.number(request, "limit", least=1, most=listing.MOST)
    page = parameters.number(request, "page", least=0, most=1_000_000)
    query = listing.Query(
        connection_id=parameters.text(request, "connectionId"),
        search=parameters.text(request, "search"),
        end_user_id=parameters.text(request, "endUserId"),
        organization_id=parameters.text(request, "endUserOrganizationId"),
        integration_keys=keys or (),
        tags=parameters.texts(request, "tags"),
        failing=None if status is None else status == FAILING,
        limit=limit or listing.DEFAULT_LIMIT,
        page=page or 0,
        cursor=parameters.text(request, "cursor", most=2_000),
        by_offset=limit is not None or page is not None,
    )
    return Response(200, listing.find(ctx, principal.environment, query))


def count_connections(ctx: Context, request: Request) -> Response:
    """Tell how many connections each integration has, and how many of them fail."""
    principal = auth.secret_key(ctx, request, *SCOPES)
    request.refuse_query("integrationId")
    found = counting.by_integration(ctx, principal.environment, _integrations(request))
    return Response(200, {"data": found})


def _integrations(request: Request) -> tuple[str, ...] | None:
    """Return the unique keys that are named; None: there is no such filter."""
    named = parameters.text(request, "integrationId", most=10_000)
    keys = None if named is None else tuple(filter(None, named.split(",")))
    if keys == ():
        # A client whose list holds empty texts only; it does not want all connections.
        raise invalid("invalid_query_params", "too_small", "names no integration", "integrationId")
    return keys


handler = lambda_handler_for(
    {
        "GET /connections": list_connections,
        "GET /connection": list_connections,
        "GET /connection-counts": count_connections,
    }
)

open_now(*NEEDS)
