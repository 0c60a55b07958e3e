"""Wraps the data keys of all environments anew, as far as one call gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.environments import service
from keystow.log import logger
from keystow.vault.rewrapping import rewrap_environment

if TYPE_CHECKING:
    from keystow.context import Context


def rewrap(ctx: Context, since: int | None, until: float) -> dict[str, Any]:
    """Wrap the data keys of all environments with the KMS key of the settings.

    Args:
        ctx: the container's context.
        since: what an earlier call answered, to go on with it; None begins.
        until: epoch seconds after which no further data key is begun.

    Returns:
        ``since``; ``rewrapped``, how many data keys this call wrapped anew; ``refused``, those that
        KMS does not take as what they should be; ``done``, false when the same call with ``since``
        goes on.

    Raises:
        VaultUnavailable, StoreUnavailable: a later call with ``since`` goes on.
    """
    since = int(ctx.clock.now() * 1000) if since is None else since
    rewrapped = 0
    refused: list[str] = []
    done = True
    for claim in service.claims(ctx):
        environment = str(claim["environment"])
        result = rewrap_environment(ctx.store, ctx.kms, ctx.clock, environment, since, until)
        rewrapped += result.rewrapped
        refused += [f"{environment}/{name}" for name in result.refused]
        if not result.done:
            done = False
            break
    logger.info("data keys rewrapped", extra={"count": rewrapped, "refused": refused, "done": done})
    return {"since": since, "rewrapped": rewrapped, "refused": refused, "done": done}
