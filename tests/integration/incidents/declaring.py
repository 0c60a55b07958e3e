"""Declaring incidents, and letting workers and the schedule go on with them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from keystow.connections import pending
from keystow.incidents import taking
from keystow.refresh import worker
from tests.app import invoke
from tests.integration.connections.world import World

TIME = SimpleNamespace(get_remaining_time_in_millis=lambda: 29_000)
REASON = "laptop stolen"


def declared(world: Any, **scope: Any) -> dict[str, Any]:
    found = world.app.post("/incidents", {"reason": REASON, **scope})
    assert found.status == 202, found.body
    return dict(found.json()["data"])


def told(world: Any, incident: dict[str, Any], query: str = "") -> dict[str, Any]:
    found = world.app.get(f"/incidents/{incident['id']}{query}")
    assert found.status == 200, found.body
    return dict(found.json()["data"])


def work(world: Any) -> list[str]:
    """Let one worker take all that is on the refresh queue; return what must come again."""
    messages = enumerate(world.ctx.queues.take_refreshes())
    bodies = [(str(number), json.dumps(body)) for number, (body, _) in messages]
    return worker.handle(world.ctx, bodies, expire=pending.expire, incidents=taking)


def scheduled(world: Any) -> Any:
    world.ctx.clock.advance(300)
    return invoke(world.ctx, "manage_environment", {}, TIME)


def outcomes(incident: dict[str, Any]) -> dict[str, str]:
    return {each["connection_id"]: each["outcome"] for each in incident["tokens"]}


def made(count: int = 3) -> World:
    world = World()
    for number in range(count):
        world.rotating(f"c{number}", expires_in=3_600)
    world.imported("typed")
    return world
