"""GET and POST /oauth/callback: end users come back from their providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.authorization import answer as answers
from keystow.authorization.callback import Ended, finish, handed_on
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import MAX_BODY_BYTES, Response
from keystow.modes.callbacks import PATH, is_place
from keystow.needs import EGRESS, QUEUES, SOCKETS, STORE, VAULT, open_now
from keystow.pages import callback as pages
from keystow.pages.sentences import BEGIN_HERE

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (
    *(STORE, VAULT, QUEUES, SOCKETS, EGRESS),
    *("keystow.modes.oauth2", "keystow.oauth.introspection", "keystow.oauth.issuer"),
    *("keystow.oauth.authorization_params", "keystow.oauth.token_endpoint"),
)

NO_SUCH_PLACE = Ended("state_err", "There is no such callback")
TOO_LARGE = Ended("callback_err", "The provider's answer is too large")


def callback(ctx: Context, request: Request) -> Response:
    """End an authorization; show a page that tells its opener and closes."""
    try:
        answer = answers.read(request.raw_query)
    except answers.TooLarge:
        return _page(TOO_LARGE)
    ended = finish(
        ctx,
        answer,
        request.cookies,
        place=request.path_params.get("integration"),
        secure=request.base_url.startswith("https://"),
    )
    return _page(ended)


def form_post(ctx: Context, request: Request) -> Response:
    """Turn a callback that came as a form into a GET, to which the browser adds its cookie."""
    try:
        if len(request.body) > MAX_BODY_BYTES:
            return _page(TOO_LARGE)
        answer = answers.read(request.raw_query, request.body.decode("utf-8", "replace"))
        query = handed_on(ctx, answer)
    except answers.TooLarge:
        return _page(TOO_LARGE)
    place = request.path_params.get("integration")
    if place is not None and not is_place(place):
        return _page(NO_SUCH_PLACE)
    path = PATH if place is None else f"{PATH}/{place}"
    return Response(303, headers={"location": f"{request.base_url}{path}?{query}"})


def _page(ended: Ended) -> Response:
    if ended.succeeded:
        page = pages.success_page(pending=ended.pending)
        return Response(200, page, pages.headers())
    page = pages.error_page(
        ended.description,
        ended.error_type or "unknown_err",
        ended.provider_said,
        ended.log_id,
        BEGIN_HERE if ended.from_elsewhere else None,
    )
    return Response(400, page, pages.headers())


handler = lambda_handler_for(
    {
        "GET /oauth/callback": callback,
        "POST /oauth/callback": form_post,
        "GET /oauth/callback/{integration}": callback,
        "POST /oauth/callback/{integration}": form_post,
    }
)

open_now(*NEEDS)
