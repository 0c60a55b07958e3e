"""GET and POST /oauth/callback: end users come back from their providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.authorization.callback import finish, form_as_query, provider_errors
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.pages import callback as pages

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request


def callback(ctx: Context, request: Request) -> Response:
    """End an authorization; show a page that tells its opener and closes."""
    secure = request.base_url.startswith("https://")
    ended = finish(ctx, request.query, request.cookies, secure=secure)
    if ended.succeeded:
        page = pages.success_page(pending=ended.pending)
        return Response(200, page, pages.headers())
    page = pages.error_page(
        ended.description,
        ended.error_type or "unknown_err",
        provider_errors(request.query),
        ended.log_id,
    )
    return Response(400, page, pages.headers())


def form_post(_ctx: Context, request: Request) -> Response:
    """Turn a callback that came as a form into a GET, to which the browser adds its cookie."""
    location = f"{request.base_url}/oauth/callback?{form_as_query(request.body)}"
    return Response(303, headers={"location": location})


handler = lambda_handler_for({"GET /oauth/callback": callback, "POST /oauth/callback": form_post})
