"""Token hosts that ask for patience, and what a deployment knows of their pauses."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keystow.refresh import throttle
from tests.app import App
from tests.authorization_server import answer
from tests.support import make_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.egress.client import Answer
    from tests.app import Result
    from tests.integration.connections.world import World

HOST = "rotating.example"
LIFE = 7_200


class Hosts:
    """Token endpoints of any host; those in ``busy`` refuse, with this ``Retry-After``."""

    def __init__(self) -> None:
        self.busy: dict[str, str | None] = {}
        self.status = 429
        self.asked: list[str] = []
        self.together: threading.Barrier | None = None
        self._lock = threading.Lock()

    def send(self, _method: str, url: str, **_request: Any) -> Answer:
        host = urlsplit(url).netloc
        with self._lock:
            self.asked.append(host)
            number = len(self.asked)
        if self.together:
            self.together.wait(10)
        if host in self.busy:
            patience = self.busy[host]
            headers: Mapping[str, str] = {} if patience is None else {"retry-after": patience}
            return answer(self.status, {}, headers)
        token = {"access_token": f"at-{number}", "refresh_token": "rt", "expires_in": LIFE}
        return answer(200, {**token, "token_type": "bearer"})


def read(world: World, connection_id: str, query: str = "", app: App | None = None) -> Result:
    place = f"/connections/{connection_id}?provider_config_key=rot{query}"
    return (app or world.app).get(place)


def elsewhere(world: World) -> App:
    """The same deployment as another container sees it: nothing remembered."""
    ctx = make_context(
        store=world.ctx.store,
        clock=world.ctx.clock,
        kms=world.ctx.kms,
        egress=world.ctx.egress,
        queues=world.ctx.queues,
    )
    return App(ctx, world.seeded.secret_key)


def pause_of(world: World) -> float:
    """How many seconds the host is left alone from now."""
    until = throttle.paused_until(world.ctx, world.environment, HOST)
    return 0 if until is None else round(until / 1000 - world.ctx.clock.now(), 3)


def host_paused(world: World, seconds: float = 600) -> None:
    """Let two connections have been told to wait so long."""
    for name in ("one", "another"):
        throttle.note(world.ctx, world.environment, HOST, name, seconds)
    assert pause_of(world) == seconds
