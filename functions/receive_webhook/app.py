"""Webhooks of providers: POST /webhook/{environmentUuid}/{providerConfigKey} (contract 4.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.authorization import inbound
from keystow.environments.keys import is_uuid
from keystow.errors import ApiError, invalid
from keystow.http import parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import MAX_BODY_BYTES, Response
from keystow.needs import STORE, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE,)


def receive(ctx: Context, request: Request) -> Response:
    """Take what a provider sends."""
    uuid = request.path_params.get("environmentUuid", "")
    if not is_uuid(uuid):
        raise invalid("invalid_uri_params", "invalid_format", "expected a UUID", "environmentUuid")
    unique_key = parameters.unique_key(request, "providerConfigKey")
    if len(request.body) > MAX_BODY_BYTES:
        raise ApiError("request_too_large", f"The body is over {MAX_BODY_BYTES} bytes")
    inbound.receive(ctx, uuid.lower(), unique_key, request.headers, request.query, request.body)
    return Response(204)


handler = lambda_handler_for({"POST /webhook/{environmentUuid}/{providerConfigKey}": receive})

open_now(*NEEDS)
