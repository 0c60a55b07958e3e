"""Deliveries of webhooks: listed, read, sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.events import deliveries, replay
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import STORE, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE,)

READ = "environment:webhook_deliveries:read"
REPLAY = "environment:webhook_deliveries:replay"


def list_deliveries(ctx: Context, request: Request) -> Response:
    """List deliveries, newest first."""
    principal = auth.secret_key(ctx, request, READ)
    request.refuse_query("state", "connection_id", "limit", "cursor")
    limit = parameters.number(request, "limit", least=1, most=deliveries.MOST)
    query = deliveries.Query(
        state=parameters.choice(request, "state", deliveries.STATES),
        connection_id=parameters.text(request, "connection_id"),
        limit=limit or deliveries.DEFAULT_LIMIT,
        cursor=parameters.text(request, "cursor", most=2_000),
    )
    return Response(body=deliveries.find(ctx, principal.environment, query))


def read_delivery(ctx: Context, request: Request) -> Response:
    """Answer a delivery with its attempts and its body."""
    principal = auth.secret_key(ctx, request, READ)
    request.refuse_query()
    delivery_id = request.path_params.get("deliveryId", "")
    found = deliveries.detailed(ctx, principal.environment, delivery_id)
    return Response(body={"data": found})


def replay_delivery(ctx: Context, request: Request) -> Response:
    """Begin a delivery anew."""
    principal = auth.secret_key(ctx, request, REPLAY)
    request.refuse_query()
    request.refuse_body()
    delivery_id = request.path_params.get("deliveryId", "")
    begun = replay.request(ctx, principal.environment, delivery_id)
    return Response(202, {"data": begun})


handler = lambda_handler_for(
    {
        "GET /webhook-deliveries": list_deliveries,
        "GET /webhook-deliveries/{deliveryId}": read_delivery,
        "POST /webhook-deliveries/{deliveryId}/replay": replay_delivery,
    }
)

open_now(*NEEDS)
