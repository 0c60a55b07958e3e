"""POST /connections/{connectionId}/confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.connections import pending
from keystow.connections.requests import ConfirmBody
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import QUEUES, STORE, VAULT, open_now
from keystow.validation import body_of

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE, VAULT, QUEUES, "keystow.modes.api_key")


def confirm(ctx: Context, request: Request) -> Response:
    """Make a connection of what waits for confirmation."""
    principal = auth.secret_key(ctx, request, "environment:connections:update")
    connection_id = parameters.connection_id_before(request, "confirm")
    request.refuse_query("provider_config_key")
    key = parameters.provider_config_key(request)
    body = body_of(request, ConfirmBody) if request.body else ConfirmBody()
    pending.confirm(ctx, principal.environment, key, connection_id, body.pending_id)
    return Response(200, {"success": True})


handler = lambda_handler_for({"POST /connections/{connectionId+}": confirm})

open_now(*NEEDS)
