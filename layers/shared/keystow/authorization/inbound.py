"""What a provider itself sends: ``POST /webhook/{environmentUuid}/{providerConfigKey}``.

The address is no secret and names nobody, so what comes is a stranger's until a mode has checked
the provider's signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.environments import service as environments
from keystow.errors import ApiError
from keystow.modes import listening
from keystow.modes.base import Heard
from keystow.registry import integrations, providers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.context import Context
    from keystow.records.environment import Environment

CACHE_SECONDS: Final = 30


def receive(
    ctx: Context,
    uuid: str,
    unique_key: str,
    headers: Mapping[str, str],
    query: Mapping[str, Any],
    body: bytes,
) -> None:
    """Hand a webhook to the mode of its integration.

    Args:
        ctx: store, clock and cache.
        uuid: the environment's, in lower case.
        unique_key: the integration's.
        headers: names in lower case.
        query: parsed.
        body: as it came.

    Raises:
        ApiError: 404 ``unknown_environment``; 404 ``unknown_provider_config``; what the mode
            refuses.
    """
    environment = environment_of_uuid(ctx, uuid)
    if environment is None:
        raise ApiError("unknown_environment")
    integration = integrations.by_unique_key(ctx, environment.id, unique_key)
    if integration is None:
        raise ApiError("unknown_provider_config", status=404)
    provider = providers.find(ctx, environment.id, integration.provider)
    mode = None if provider is None else listening(provider.auth_mode)
    if provider is None or mode is None:
        return
    heard = Heard(
        environment=environment,
        integration=integration,
        provider=provider,
        headers=headers,
        query=query,
        body=body,
    )
    mode.hear(ctx, heard)


def environment_of_uuid(ctx: Context, uuid: str) -> Environment | None:
    """Return the environment of a UUID; which one it is may be remembered for 30 s."""
    name = ("environment-uuid", uuid)
    now = ctx.clock.now()
    cached = ctx.cache.get(name)
    if cached is not None and cached[0] > now:
        assert isinstance(cached[1], str)
        return environments.find(ctx, cached[1])
    try:
        found = environments.by_reference(ctx, uuid)
    except ApiError:
        return None
    ctx.cache[name] = (now + CACHE_SECONDS, found.id)
    return None if found.deleting else found
