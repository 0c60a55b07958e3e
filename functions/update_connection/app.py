"""PATCH /connections/{connectionId}, and metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.connections import update
from keystow.connections.requests import MetadataBody, PatchBody
from keystow.errors import ApiError, invalid
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import STORE, open_now
from keystow.validation import body_of, validated

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE,)

SCOPE = "environment:connections:update"


def patch(ctx: Context, request: Request) -> Response:
    """Change end user, tags or webhook override."""
    principal = auth.secret_key(ctx, request, SCOPE)
    connection_id = parameters.connection_id(request)
    request.refuse_query("provider_config_key")
    key = parameters.provider_config_key(request)
    update.patch(ctx, principal.environment, key, connection_id, body_of(request, PatchBody))
    return Response(200, {"success": True})


def metadata(ctx: Context, request: Request) -> Response:
    """Replace (POST) or merge (PATCH) metadata; answers the body."""
    principal = auth.secret_key(ctx, request, SCOPE)
    request.refuse_query()
    body = body_of(request, MetadataBody)
    _change(ctx, request.method, principal.environment, body)
    return Response(201 if request.method == "POST" else 200, request.json())


def legacy_metadata(ctx: Context, request: Request) -> Response:
    """Replace or merge metadata by the older path ``/connection/{connectionId}/metadata``."""
    principal = auth.secret_key(ctx, request, SCOPE)
    connection_id, slash, last = request.path_params.get("connectionId", "").rpartition("/")
    if not slash or last != "metadata":
        raise ApiError("not_found", "There is no such route")
    key = request.query.get("provider_config_key") or request.headers.get("provider-config-key")
    if not key:
        raise invalid("invalid_query_params", "invalid_type", "is missing", "provider_config_key")
    found = request.json_object()
    given = {"connection_id": connection_id, "provider_config_key": key, "metadata": found}
    _change(
        ctx, request.method, principal.environment, validated(MetadataBody, given, "invalid_body")
    )
    return Response(201 if request.method == "POST" else 200, found)


def _change(ctx: Context, method: str, environment: str, body: MetadataBody) -> None:
    change = update.set_metadata if method == "POST" else update.merge_metadata
    change(ctx, environment, body.provider_config_key, body.connection_id, body.metadata)


handler = lambda_handler_for(
    {
        "PATCH /connections/{connectionId+}": patch,
        "POST /connections/metadata": metadata,
        "PATCH /connections/metadata": metadata,
        "POST /connection/metadata": metadata,
        "PATCH /connection/metadata": metadata,
        "POST /connection/{connectionId+}": legacy_metadata,
        "PATCH /connection/{connectionId+}": legacy_metadata,
    }
)

open_now(*NEEDS)
