"""GET /oauth/connect/{providerConfigKey}: the popup sets out for the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from keystow import sockets
from keystow.authorization.start import start
from keystow.errors import ApiError
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.log import logger
from keystow.modes.failure import AuthorizationFailed
from keystow.needs import STORE, VAULT, open_now
from keystow.pages import callback as pages

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE, VAULT, "keystow.modes.oauth2", "keystow.oauth.authorization")

MOVED = "keystow_moved"  # stands in the query of a browser that was sent to the canonical host


def connect(ctx: Context, request: Request) -> Response:
    """Send the browser to the provider."""
    if request.host_url != request.base_url and MOVED not in request.query:
        # The cookie must reach the callback, so it is set where the callback is. Moved once only:
        # behind a front door every request comes to another host than the browser sees.
        query = f"?{request.raw_query}&{MOVED}=1" if request.raw_query else f"?{MOVED}=1"
        # API Gateway has decoded the path (payload 2.0); a header takes it encoded only.
        path = quote(request.path, safe="/:@~.,-_")
        return Response(302, headers={"location": f"{request.base_url}{path}{query}"})
    unique_key = request.path_params.get("providerConfigKey", "")
    session = None
    try:
        session = auth.session_in_query(ctx, request, unique_key)
        unique_key = parameters.unique_key(request, "providerConfigKey")
        query = {name: value for name, value in request.query.items() if name != MOVED}
        started = start(ctx, session, unique_key, query, request.base_url)
    except ApiError as error:
        _tell(ctx, request, error.code, error.message or error.code, unique_key)
        if not request.wants_page:
            raise
        page = pages.error_page(error.message or error.code, error.code)
        return Response(error.status, page, pages.headers(), code=error.code)
    except AuthorizationFailed as failure:
        _tell(ctx, request, failure.error_type, failure.description, unique_key)
        log_id = session.operation_id if session else ""
        page = pages.error_page(failure.description, failure.error_type, {}, log_id)
        return Response(400, page, pages.headers())
    return Response(
        302,
        headers={"location": started.location, "referrer-policy": "no-referrer"},
        cookies=(started.cookie,),
    )


def _tell(
    ctx: Context, request: Request, error_type: str, description: str, unique_key: str
) -> None:
    """Tell the opener, whose promise would stay open otherwise; the answer itself stands.

    The page tells it as well. The session's status does not: what is refused changes nothing.
    """
    socket = request.query.get("ws_client_id")
    if not isinstance(socket, str) or not socket:
        return
    frame = sockets.failure(error_type, description, unique_key)
    try:
        ctx.sockets.push_to_client(socket, frame)
    except Exception as error:  # noqa: BLE001 - the page tells it too
        logger.warning("frame not sent", extra={"cause": type(error).__name__})


handler = lambda_handler_for({"GET /oauth/connect/{providerConfigKey}": connect})

open_now(*NEEDS)
