"""The browser's WebSocket: a public id for each, told in the first frame."""

from __future__ import annotations

from typing import Any

from keystow import context, ids, sockets
from keystow.log import logger
from keystow.needs import INVOKER, STORE, open_now

# What the usual first request needs.
NEEDS = (STORE, INVOKER)

ATTEMPTS = 8
PAUSE_SECONDS = 0.1


def handler(event: dict[str, Any], lambda_context: Any) -> dict[str, Any]:
    """Answer API Gateway's $connect, $disconnect and $default; or push the first frame.

    A socket can be written to only once $connect has been answered, so the function invokes itself
    for the first frame.
    """
    ctx = context.current()
    if "acknowledge" in event:
        _acknowledge(ctx, event["acknowledge"])
        return {}
    request = event["requestContext"]
    if request["routeKey"] == "$connect":
        client_id = ids.uuid4(ctx.random)
        sockets.remember(ctx.store, ctx.clock, client_id, request["connectionId"])
        sockets.invoke_later(
            lambda_context.invoked_function_arn,
            {"acknowledge": {"client_id": client_id, "connection": request["connectionId"]}},
        )
    return {"statusCode": 200}


def _acknowledge(ctx: context.Context, job: dict[str, str]) -> None:
    frame = sockets.acknowledgement(job["client_id"])
    for attempt in range(ATTEMPTS):
        if ctx.sockets.push(job["connection"], frame):
            return
        ctx.clock.sleep(PAUSE_SECONDS * (attempt + 1))
    logger.info("socket gone before its first frame")


open_now(*NEEDS)
