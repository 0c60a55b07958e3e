"""GET /connections/{connectionId}: a connection with a credential that works now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.connections.read import read
from keystow.errors import ApiError
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import STORE, VAULT, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE, VAULT, "keystow.modes.oauth2")

READ = "environment:connections:read"
READ_CREDENTIALS = "environment:connections:read_credentials"
FLAGS = ("force_refresh", "refresh_token", "refresh_github_app_jwt_token")


def get(ctx: Context, request: Request) -> Response:
    """Read a connection."""
    principal = auth.secret_key(ctx, request, READ, READ_CREDENTIALS)
    connection_id = parameters.connection_id(request)
    request.refuse_query("provider_config_key", *FLAGS)
    provider_config_key = parameters.provider_config_key(request)
    force_refresh, refresh_token, app_token = (parameters.flag(request, name) for name in FLAGS)
    with_credentials = principal.may(READ_CREDENTIALS)
    if not with_credentials and (force_refresh or refresh_token or app_token):
        raise ApiError("forbidden", f"Refresh options need the scope {READ_CREDENTIALS}")
    found = read(
        ctx,
        principal.environment,
        provider_config_key,
        connection_id,
        force_refresh=force_refresh,
        refresh_token=refresh_token,
        with_credentials=with_credentials,
    )
    return Response(200, found)


handler = lambda_handler_for(
    {
        "GET /connections/{connectionId+}": get,
        "GET /connection/{connectionId+}": get,
    }
)

open_now(*NEEDS)
