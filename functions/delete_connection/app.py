"""DELETE /connections/{connectionId}."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.connections.delete import delete
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import EGRESS, STORE, VAULT, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (
    STORE,
    VAULT,
    EGRESS,
    "keystow.modes.dual_tokens",
    "keystow.modes.oauth2",
    "keystow.oauth.authorization_params",
    "keystow.oauth.revocation",
    "keystow.oauth.token_endpoint",
)


def remove(ctx: Context, request: Request) -> Response:
    """Delete a connection."""
    principal = auth.secret_key(ctx, request, "environment:connections:delete")
    connection_id = parameters.connection_id(request)
    request.refuse_query("provider_config_key")
    key = parameters.provider_config_key(request)
    delete(ctx, principal.environment, key, connection_id)
    return Response(200, {"success": True})


handler = lambda_handler_for(
    {"DELETE /connections/{connectionId+}": remove, "DELETE /connection/{connectionId+}": remove}
)

open_now(*NEEDS)
