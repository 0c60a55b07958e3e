"""What the domain works with: settings, clock, store, vault, and the ways out.

Each part is made when it is first asked for, so that a function pays only for what it uses
(get_connection never loads an HTTP client unless it must refresh). While Lambda starts a function,
:mod:`keystow.needs` asks for what its usual first request uses.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from keystow import settings as settings_module
from keystow.clock import SystemClock
from keystow.ids import SystemRandomness

if TYPE_CHECKING:
    from keystow.clock import Clock
    from keystow.egress.client import Egress
    from keystow.ids import Randomness
    from keystow.queues import Queues
    from keystow.settings import Settings
    from keystow.slow_hosts import SlowHosts
    from keystow.sockets import Sockets
    from keystow.store import Store
    from keystow.vault import Vault
    from keystow.vault.kms import KeyWrapper


class Context:
    """One container's parts; tests hand in their own.

    Args:
        settings: names and URLs.
        clock: time.
        random: randomness.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        random: Randomness | None = None,
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.random: Randomness = random or SystemRandomness()
        self.cache: dict[tuple[str, ...], tuple[float, object]] = {}

    @cached_property
    def store(self) -> Store:
        """The tables."""
        from keystow.aws.clients import client
        from keystow.store.dynamodb import DynamoStore

        names = {
            "connections": self.settings.connections_table,
            "registry": self.settings.registry_table,
            "keys": self.settings.keys_table,
            "sessions": self.settings.sessions_table,
            "events": self.settings.events_table,
            "activity": self.settings.activity_table,
        }
        return DynamoStore(client("dynamodb"), names)

    @cached_property
    def kms(self) -> KeyWrapper:
        """What wraps data keys."""
        from keystow.aws.clients import client
        from keystow.vault.kms import KmsKeyWrapper

        return KmsKeyWrapper(client("kms"), self.settings.kms_key_id)

    @cached_property
    def vault(self) -> Vault:
        """Sealing."""
        from keystow.vault.vault import Vault

        return Vault(self.store, self.kms, self.clock, self.random)

    @cached_property
    def egress(self) -> Egress:
        """The one guarded way out to the internet."""
        from keystow.egress.client import Egress
        from keystow.settings import TRACED

        kind = Egress
        if self.settings.tracing == TRACED:
            from keystow.egress.traced import TracedEgress

            kind = TracedEgress
        return kind(allow_loopback=self.settings.loopback_allowed)

    @cached_property
    def queues(self) -> Queues:
        """The refresh queue and the webhook queue."""
        from keystow.aws.clients import client
        from keystow.queues import SqsQueues

        return SqsQueues(
            client("sqs"),
            self.settings.refresh_queue_url,
            self.settings.webhook_queue_url,
            self.settings.webhook_dead_letter_url,
        )

    @cached_property
    def slow_hosts(self) -> SlowHosts:
        """What this container knows of hosts that are slow to answer."""
        from keystow.slow_hosts import SlowHosts

        return SlowHosts(self.clock)

    @cached_property
    def sockets(self) -> Sockets:
        """The browsers that wait for the end of an authorization."""
        from keystow.aws.clients import client
        from keystow.sockets import ApiGatewaySockets

        endpoint = self.settings.websocket_endpoint
        return ApiGatewaySockets(client("execute-api", endpoint), self.store)


_current: Context | None = None


def current() -> Context:
    """Return the container's context, made from its environment variables at first."""
    global _current  # noqa: PLW0603 - one context for the life of the container
    if _current is None:
        _current = Context(settings_module.load())
    return _current
