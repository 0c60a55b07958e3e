"""The endpoints to which a browser posts credentials that its user typed in, one for each mode."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from keystow.authorization.typed import submit
from keystow.errors import ApiError
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.modes import ROOMS
from keystow.needs import EGRESS, QUEUES, STORE, VAULT, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (
    *(STORE, VAULT, QUEUES, EGRESS),
    *("keystow.modes.api_key", "keystow.modes.bodies", "keystow.oauth.errors"),
)

MODES = {room.path: name for name, room in ROOMS.items() if room.path}


def connect(folder: str, ctx: Context, request: Request) -> Response:
    """Connect with what was typed in."""
    auth_mode = MODES.get("/".join(filter(None, (folder, request.path_params.get("mode")))))
    if auth_mode is None:
        raise ApiError("not_found", "There is no such route")
    named = request.path_params.get("providerConfigKey", "")
    session = auth.session_in_query(ctx, request, named)
    body = {}
    if ROOMS[auth_mode].asks:
        body = request.json_object()
    else:
        request.refuse_body()
    unique_key = parameters.unique_key(request, "providerConfigKey")
    return Response(200, submit(ctx, session, unique_key, auth_mode, body, request.query))


handler = lambda_handler_for(
    {
        "POST /api-auth/{mode}/{providerConfigKey}": partial(connect, "api-auth"),
        "POST /auth/{mode}/{providerConfigKey}": partial(connect, "auth"),
        "POST /oauth2/auth/{providerConfigKey}": partial(connect, "oauth2/auth"),
    }
)

open_now(*NEEDS)
