"""POST /connections, and its older form POST /connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.connections.importing import import_connection
from keystow.connections.legacy import from_flat_body, raw_of
from keystow.connections.requests import ImportBody
from keystow.http import auth
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import QUEUES, STORE, VAULT, open_now
from keystow.validation import body_of

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE, VAULT, QUEUES, "keystow.modes.oauth2", "keystow.oauth.token_life")

SCOPE = "environment:connections:create"
READ_CREDENTIALS = "environment:connections:read_credentials"


def create(ctx: Context, request: Request) -> Response:
    """Store a connection whose credential the caller has."""
    principal = auth.secret_key(ctx, request, SCOPE)
    request.refuse_query()
    body = body_of(request, ImportBody)
    reads = principal.may(READ_CREDENTIALS)
    made = import_connection(ctx, principal.environment, body, reads_credentials=reads)
    return Response(201, made)


def create_legacy(ctx: Context, request: Request) -> Response:
    """Store a connection from the older, flat body; answers that body."""
    principal = auth.secret_key(ctx, request, SCOPE)
    flat = request.json_object()
    body = from_flat_body(ctx, principal.environment, flat)
    made = import_connection(
        ctx,
        principal.environment,
        body,
        untested=True,
        raw=raw_of(flat),
        endless=flat.get("no_expiration") is True,
    )
    answer = {**flat, "connection_id": made["connection_id"]}
    if flat.get("webhook_url_override"):  # without its login
        answer["webhook_url_override"] = made["webhook_url_override"]
    return Response(201, answer)


handler = lambda_handler_for({"POST /connections": create, "POST /connection": create_legacy})

open_now(*NEEDS)
