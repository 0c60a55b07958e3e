"""What a provider tells of an account beside its credential (contract 9.3, 11.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.activity import log as activity
from keystow.catalog.post_connection import run_post_connection
from keystow.egress.errors import EgressFailed
from keystow.modes.calling import caller_of

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.catalog.proxy_request import OutgoingRequest
    from keystow.context import Context
    from keystow.records.connection import Sealed
    from keystow.records.integration import Integration

CALL_SECONDS: Final = 6.0


def post_connection(
    ctx: Context,
    integration: Integration,
    provider: Provider,
    connection_id: str,
    sealed: Sealed,
    *,
    until: float,
) -> dict[str, Any]:
    """Return the connection config with what the provider told; its failure is only recorded.

    Args:
        ctx: the container's context.
        integration: under which the connection is made.
        provider: its provider, whose entry says what to ask.
        connection_id: of the connection to be made.
        sealed: its credential and config as they are known so far.
        until: epoch seconds after which no further call is begun or waited for.
    """
    config = sealed.connection_config.reveal()
    if not provider.post_connection:
        return config

    def fetch(request: OutgoingRequest) -> tuple[int, Any]:
        left = min(CALL_SECONDS, until - ctx.clock.now())
        if left <= 0:
            raise EgressFailed("timeout", sent=False)
        answer = ctx.egress.send(
            request.method,
            request.url,
            headers=request.headers,
            body=request.body,
            deadline=left,
        )
        try:
            return answer.status, answer.json()
        except ValueError:
            return answer.status, None

    caller = caller_of(ctx, integration, provider, sealed)
    outcome = run_post_connection(caller, fetch)
    if outcome.error is not None:
        activity.record(
            ctx,
            integration.environment,
            "auth",
            "post_connection",
            "failed",
            activity.Message("warn", outcome.error),
            connection_id=connection_id,
            integration_key=integration.unique_key,
            provider=provider.id,
        )
    merged = {**config, **outcome.updates}
    return {name: value for name, value in merged.items() if name not in outcome.removals}
