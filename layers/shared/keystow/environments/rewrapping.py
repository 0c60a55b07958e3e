"""Wraps the data keys of all environments anew, as far as one call gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.environments import service
from keystow.log import logger
from keystow.value import Value
from keystow.vault.rewrapping import rewrap_environment

if TYPE_CHECKING:
    from keystow.context import Context


class Position(Value):
    """Where an earlier call stopped: when all began, in which environment, after which data key."""

    since: int
    environment: str
    after: str


def rewrap(ctx: Context, begun: Position | None, until: float) -> dict[str, Any]:
    """Wrap the data keys of all environments with the KMS key of the settings.

    Args:
        ctx: the container's context.
        begun: where an earlier call stopped; None begins.
        until: epoch seconds after which no further data key is begun.

    Returns:
        ``rewrapped``, how many data keys this call wrapped anew; ``refused``, those that KMS did
        not take, with its code; ``next``, what to hand in for the rest, or None: that was all.

    Raises:
        VaultUnavailable, StoreUnavailable: the same call goes on.
    """
    begun = begun or Position(int(ctx.clock.now() * 1000), "", "")
    environments = [str(claim["environment"]) for claim in service.claims(ctx)]
    # One that was removed meanwhile is no place to go on at: what is done already is passed over.
    at = environments.index(begun.environment) if begun.environment in environments else 0
    rewrapped = 0
    refused: list[str] = []
    stopped: Position | None = None
    for environment in environments[at:]:
        after = begun.after if environment == begun.environment else ""
        result = rewrap_environment(
            ctx.store, ctx.kms, ctx.clock, environment, begun.since, until, after
        )
        rewrapped += result.rewrapped
        refused += [f"{environment}/{name}: {code}" for name, code in result.refused]
        if not result.done:
            stopped = Position(begun.since, environment, result.last)
            break
    logger.info("data keys rewrapped", extra={"count": rewrapped, "refused": refused})
    left = {name: getattr(stopped, name) for name in Position.names()} if stopped else None
    return {"rewrapped": rewrapped, "refused": refused, "next": left}
