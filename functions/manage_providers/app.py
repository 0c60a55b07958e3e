"""An environment's own providers: put and remove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.http import auth
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.integrations import custom
from keystow.needs import STORE, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE, "keystow.catalog.hooks")

WRITE = "environment:providers:write"
READ_SECRETS = (
    "environment:connections:read_credentials",
    "environment:integrations:read_credentials",
)


def put(ctx: Context, request: Request) -> Response:
    """Create or replace a provider; it can be used at once."""
    principal = auth.secret_key(ctx, request, WRITE)
    request.refuse_query()
    provider, new = custom.put(
        ctx,
        principal.environment,
        request.path_params.get("provider", ""),
        request.json_object(),
        may_read_secrets=all(map(principal.may, READ_SECRETS)),
    )
    return Response(201 if new else 200, {"data": provider.public(request.base_url)})


def delete(ctx: Context, request: Request) -> Response:
    """Remove a provider that nothing uses."""
    principal = auth.secret_key(ctx, request, WRITE)
    request.refuse_query()
    custom.delete(ctx, principal.environment, request.path_params.get("provider", ""))
    return Response(body={"success": True})


handler = lambda_handler_for(
    {"PUT /providers/{provider}": put, "DELETE /providers/{provider}": delete}
)

open_now(*NEEDS)
