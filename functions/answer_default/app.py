"""Everything without a function of its own: health, CORS preflights, and the 404 (contract 1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from keystow.aws.errors import AwsError
from keystow.errors import ApiError
from keystow.http import preflight
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.log import logger
from keystow.store import StoreUnavailable
from keystow.store.tables import environment_settings

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# Nothing to open before the first request.
NEEDS = ()

# A page that is being closed sends its last event as a beacon, which comes with credentials.
TELEMETRY = "/connect/telemetry"
TELEMETRY_PREFLIGHT = {
    "access-control-allow-credentials": "true",
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "Authorization, Content-type",
    "access-control-expose-headers": "content-type",
    "access-control-max-age": "36000",
    "vary": "Origin",
}


def health(_ctx: Context, _request: Request) -> Response:
    """Answer that the function runs."""
    return Response(body={"result": "ok"})


def ready(ctx: Context, _request: Request) -> Response:
    """Answer whether the tables can be reached; 503 when not, whatever the reason."""
    try:
        ctx.store.get(environment_settings("account"))
    except Exception as error:  # noqa: BLE001 - any reason means: not ready
        logger.warning("not ready", extra={"cause": type(error).__name__, "detail": _detail(error)})
        raise ApiError("temporarily_unavailable", "The registry table does not answer") from None
    return Response(body={"result": "ok"})


def _detail(error: Exception) -> str:
    """Return what AWS calls the error; never a text, which may hold names of resources."""
    return str(error) if isinstance(error, StoreUnavailable | AwsError) else ""


# API Gateway has no HEAD of its own beside a GET route.
PROBES = {"/health": health, "/ready": ready}


def default(ctx: Context, request: Request) -> Response:
    """Answer a preflight of any path, a HEAD of what monitors ask, and 404 to everything else."""
    probe = PROBES.get(request.path) if request.method == "HEAD" else None
    if probe is not None:
        return Response(probe(ctx, request).status)
    if request.method != "OPTIONS":
        raise ApiError("not_found", "There is no such route")
    if request.path.rstrip("/") == TELEMETRY:
        parts = urlsplit(request.base_url)
        origin = f"{parts.scheme}://{parts.netloc}"
        return Response(204, None, {**TELEMETRY_PREFLIGHT, "access-control-allow-origin": origin})
    return preflight.answer(request)


handler = lambda_handler_for({"GET /health": health, "GET /ready": ready, "$default": default})
