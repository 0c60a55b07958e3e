"""The shell of every HTTP handler: routes, errors, CORS and one log line."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

from keystow import context as contexts
from keystow import metrics
from keystow.errors import ApiError
from keystow.http.messages import Request, Response, request_from, result_of
from keystow.log import logger
from keystow.store import ItemTooLarge, StoreUnavailable, TransactionConflict
from keystow.vault import VaultError, VaultUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystow.context import Context

Handler: TypeAlias = "Callable[[Context, Request], Response]"

EXPOSED_HEADERS = (
    "Authorization, Etag, Content-Type, Content-Length, X-Nango-Signature, X-RateLimit-Limit, "
    "X-RateLimit-Remaining, X-RateLimit-Reset"
)
CORS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": EXPOSED_HEADERS,
}
BASE_HEADERS = {
    **CORS,
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "strict-transport-security": "max-age=31536000",
}


def lambda_handler_for(
    routes: Mapping[str, Handler],
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """Return the Lambda entry point of some routes.

    Args:
        routes: API Gateway route key (``GET /connections/{connectionId+}``) → handler.
    """

    def entry(event: Mapping[str, Any], _lambda_context: Any) -> dict[str, Any]:
        started = time.perf_counter()
        ctx = contexts.current()
        request = request_from(event, ctx.settings.public_url)
        response = answer(ctx, routes, request)
        logger.info(
            "request",
            extra={
                "route": request.route,
                "status": response.status,
                "code": response.code,
                "ms": round((time.perf_counter() - started) * 1000, 1),
                "request_id": request.request_id,
            },
        )
        metrics.flush()
        return result_of(response)

    return entry


def answer(ctx: Context, routes: Mapping[str, Handler], request: Request) -> Response:
    """Return the response of a request.

    Every error becomes the envelope of the contract, or a page where a browser asks for one.
    """
    try:
        response = (routes.get(request.route) or _no_route)(ctx, request)
    except ApiError as error:
        response = error_response(error, request)
    except ItemTooLarge:
        response = error_response(
            ApiError("request_too_large", "What would be stored is over the limit of 400 KB"),
            request,
        )
    except (StoreUnavailable, TransactionConflict, VaultUnavailable) as error:
        logger.warning("unavailable", extra={"cause": type(error).__name__, "detail": str(error)})
        response = error_response(
            ApiError(
                "temporarily_unavailable",
                "A service this needs did not answer; try again shortly",
                headers={"retry-after": "2"},
            ),
            request,
        )
    except VaultError as error:
        metrics.count(metrics.SECRETS_UNOPENED)
        logger.error("a stored secret does not open", extra={"at": _place(error)})
        response = error_response(
            ApiError(
                "invalid_credentials",
                "A stored secret cannot be opened; it must be given anew",
                status=424,
            ),
            request,
        )
    except Exception as error:  # noqa: BLE001 - the last line of defence; nothing may leak
        reference = str(uuid.uuid4())
        # The class and the place of the fault are logged, never its text, which may hold input.
        metrics.count(metrics.FAULTS)
        logger.error(
            "fault",
            extra={"reference": reference, "cause": type(error).__name__, "at": _place(error)},
        )
        response = error_response(
            ApiError(
                "generic_error_support",
                f"Something failed on our side; it is logged under {reference}",
                payload=reference,
            ),
            request,
        )
    return Response(
        response.status,
        response.body,
        {**BASE_HEADERS, **response.headers},
        response.cookies,
        response.code,
    )


def _no_route(_ctx: Context, _request: Request) -> Response:
    raise ApiError("not_found", "There is no such route")


def error_response(error: ApiError, request: Request) -> Response:
    """Return an error as the one shape of the contract; as a page to a browser that navigates."""
    if not request.wants_page:
        return Response(error.status, error.as_json(), error.headers, code=error.code)
    from keystow.pages import problem  # most functions never meet a browser: start-up time

    reference = error.payload if isinstance(error.payload, str) else ""
    headers = {**error.headers, **problem.headers()}
    return Response(error.status, problem.page(error.code, reference), headers, code=error.code)


def _place(error: BaseException) -> list[str]:
    places = []
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 2)[-1]}:{frame.tb_lineno} {code.co_name}")
        frame = frame.tb_next
    return places[-8:]
