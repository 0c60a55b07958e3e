"""GET /connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.connections import listing
from keystow.errors import invalid
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import STORE, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE,)

SCOPES = ("environment:connections:list", "environment:connections:list_credentials")
PARAMETERS = (
    "connectionId",
    "search",
    "endUserId",
    "endUserOrganizationId",
    "integrationId",
    "tags",
    "limit",
    "page",
    "cursor",
)


def list_connections(ctx: Context, request: Request) -> Response:
    """List connections, newest first."""
    principal = auth.secret_key(ctx, request, *SCOPES)
    request.refuse_query(*PARAMETERS)
    integrations = parameters.text(request, "integrationId", most=10_000)
    keys = None if integrations is None else tuple(filter(None, integrations.split(",")))
    if keys == ():
        # A client whose list holds empty texts only; it does not want all connections.
        raise invalid("invalid_query_params", "too_small", "names no integration", "integrationId")
    limit = parameters.number(request, "limit", least=1, most=listing.MOST)
    page = parameters.number(request, "page", least=0, most=1_000_000)
    query = listing.Query(
        connection_id=parameters.text(request, "connectionId"),
        search=parameters.text(request, "search"),
        end_user_id=parameters.text(request, "endUserId"),
        organization_id=parameters.text(request, "endUserOrganizationId"),
        integration_keys=keys or (),
        tags=parameters.texts(request, "tags"),
        limit=limit or listing.DEFAULT_LIMIT,
        page=page or 0,
        cursor=parameters.text(request, "cursor", most=2_000),
        by_offset=limit is not None or page is not None,
    )
    return Response(200, listing.find(ctx, principal.environment, query))


handler = lambda_handler_for(
    {"GET /connections": list_connections, "GET /connection": list_connections}
)

open_now(*NEEDS)
