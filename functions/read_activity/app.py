"""The activity log: what happened, and what a `log_id` leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.activity import reading
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import STORE, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE,)

READ = "environment:activity:read"


def list_operations(ctx: Context, request: Request) -> Response:
    """List operations, newest first."""
    principal = auth.secret_key(ctx, request, READ)
    request.refuse_query("connection_id", "provider_config_key", "type", "state", "limit", "cursor")
    limit = parameters.number(request, "limit", least=1, most=reading.MOST)
    query = reading.Query(
        connection_id=parameters.text(request, "connection_id"),
        provider_config_key=parameters.text(request, "provider_config_key"),
        type=parameters.choice(request, "type", reading.TYPES),
        state=parameters.choice(request, "state", reading.STATES),
        limit=limit or reading.DEFAULT_LIMIT,
        cursor=parameters.text(request, "cursor", most=2_000),
    )
    return Response(body=reading.find(ctx, principal.environment, query))


def read_operation(ctx: Context, request: Request) -> Response:
    """Answer an operation with its messages."""
    principal = auth.secret_key(ctx, request, READ)
    request.refuse_query()
    operation = request.path_params.get("operationId", "")
    return Response(body={"data": reading.detailed(ctx, principal.environment, operation)})


handler = lambda_handler_for(
    {"GET /activity": list_operations, "GET /activity/{operationId}": read_operation}
)

open_now(*NEEDS)
