"""The refresh worker against a token endpoint that takes 200 ms.

Compared is its throughput with concurrency / latency, which a worker that cost nothing would have.
"""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from statistics import median

from keystow.refresh import sweep, worker

from benchmarks import child
from benchmarks.report import Line
from benchmarks.world import World, make_world

LATENCY = 0.2
ROUNDS = 5
BUDGET = 0.8
CONNECTIONS = 1000


@dataclass(frozen=True)
class Working:
    """What refreshing did; ``cpu`` is in seconds for each refresh."""

    lines: list[Line]
    cpu: float


def run() -> Working:
    """Measure."""
    from keystow.egress.client import Egress

    given = {"latency": LATENCY, "life": 1}
    with child.serving("benchmarks.token_stub", given) as port:
        origin = f"http://127.0.0.1:{port}"
        world = make_world(origin=origin, egress=Egress(allow_loopback=True))
        world.ctx.store = world.store.inner
        world.connect([f"customer-{number}" for number in range(CONNECTIONS)], life=-60)
        found = [_round(world, origin) for _ in range(ROUNDS + 1)][1:]
    return found  # type: ignore[return-value]


def _round(world: World, origin: str) -> tuple[float, float, int]:
    queued = sweep.sweep(world.ctx)
    return 0, 0, queued
