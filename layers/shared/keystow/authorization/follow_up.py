"""What a provider's entry wants learnt right after an authorization (contract 11.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from keystow.activity import log as activity
from keystow.catalog.post_connection import run_post_connection
from keystow.catalog.proxy_request import Caller
from keystow.clock import iso
from keystow.ids import uuid4

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.catalog.proxy_request import OutgoingRequest
    from keystow.context import Context
    from keystow.records.attempt import Attempt
    from keystow.records.integration import Integration
    from keystow.secret import Secret

DEADLINE_SECONDS: Final = 6.0


def post_connection(
    ctx: Context,
    attempt: Attempt,
    integration: Integration,
    provider: Provider,
    credentials: Secret[dict[str, Any]],
    config: dict[str, Any],
) -> dict[str, Any]:
    """Return the connection config with what the provider told; its failure is only recorded."""
    if not provider.post_connection:
        return config

    def fetch(request: OutgoingRequest) -> tuple[int, Any]:
        answer = ctx.egress.send(
            request.method,
            request.url,
            headers=request.headers,
            body=request.body,
            deadline=DEADLINE_SECONDS,
        )
        try:
            return answer.status, json.loads(answer.body)
        except ValueError:
            return answer.status, None

    caller = Caller(
        provider,
        credentials.reveal(),
        config,
        iso(ctx.clock.now()),
        uuid4(ctx.random),
        {"client_id": integration.client_id or ""},
    )
    outcome = run_post_connection(caller, fetch)
    if outcome.error is not None:
        activity.record(
            ctx,
            attempt.environment,
            "auth",
            "post_connection",
            "failed",
            activity.Message("warn", outcome.error),
            connection_id=attempt.connection_id,
            integration_key=attempt.unique_key,
            provider=provider.id,
        )
    merged = {**config, **outcome.updates}
    return {name: value for name, value in merged.items() if name not in outcome.removals}
