"""The refresh worker against a token endpoint that takes a second.

What a worker could do at best is concurrency / latency, and it is held against that. A bare loop
(as many threads, each a socket, a request and its answer) takes turns with it and shows what the
machine itself leaves of the theory; under 0.9 the machine is too busy to say more. The faster a
provider answers, the more a refresh's own processor time counts: it is shown too, and bounds the
rate of one worker whatever the latency.
"""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from benchmarks import child
from benchmarks.report import Line
from benchmarks.world import World, make_world, quiet
from keystow.egress.client import Egress
from keystow.refresh import sweep, worker

LATENCY = 1.0
ROUNDS = 3
CONNECTIONS = 500
BUDGET = 0.8
BEST = worker.IN_FLIGHT / LATENCY


@dataclass(frozen=True)
class Working:
    """What refreshing did; ``cpu`` is in seconds for each refresh."""

    lines: list[Line]
    cpu: float


def run() -> Working:
    """Measure."""
    life = 1  # second, so that everything is due again in the next round
    with child.serving("benchmarks.token_stub", {"latency": LATENCY, "life": life}) as port:
        origin = f"http://127.0.0.1:{port}"
        world = make_world(origin=origin, egress=Egress(allow_loopback=True))
        world.store.counting = False
        world.connect([f"customer-{number}" for number in range(CONNECTIONS)], life=-60)
        bare: list[float] = []
        working: list[float] = []
        cpu: list[float] = []
        most: list[int] = []
        for place in range(ROUNDS + 1):
            loop = _bare_loop(port)
            _most_in_flight(origin)
            rate, used = _work(world)
            if place:  # the first round warms up
                bare.append(loop)
                working.append(rate)
                cpu.append(used)
                most.append(_most_in_flight(origin))
            time.sleep(life)
    ratio = median(working) / BEST
    beside = median(mine / loop for mine, loop in zip(working, bare, strict=True))
    full = max(most) == worker.IN_FLIGHT
    lines = [
        Line("token requests in flight at most", str(max(most)), str(worker.IN_FLIGHT), full),
        Line(
            "throughput : concurrency / latency",
            f"{ratio:.2f} x",
            f">= {BUDGET:.2f} x",
            ratio >= BUDGET,
        ),
        Line("throughput : bare loop", f"{beside:.2f} x"),
        Line("bare loop : concurrency / latency", f"{median(bare) / BEST:.2f} x"),
        Line("processor time of one refresh, this machine", f"{median(cpu) * 1000:.2f} ms"),
    ]
    return Working(lines, median(cpu))


def _work(world: World) -> tuple[float, float]:
    """Return refreshes a second, and the processor time of one."""
    queued = sweep.sweep(world.ctx)
    if queued != CONNECTIONS:
        raise RuntimeError(f"{queued} of {CONNECTIONS} were due")
    messages = world.ctx.queues.take_refreshes()
    bodies = [(str(place), json.dumps(body)) for place, (body, _delay) in enumerate(messages)]
    started, used = time.perf_counter(), time.process_time()
    with quiet():
        failed = worker.handle(world.ctx, bodies)
    if failed:
        raise RuntimeError("some refreshes failed")
    took, used = time.perf_counter() - started, time.process_time() - used
    return CONNECTIONS / took, used / CONNECTIONS


def _bare_loop(port: int) -> float:
    """Return requests a second."""

    def ask(_place: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"POST /token HTTP/1.1\r\ncontent-length: 3\r\n\r\na=b")
            while connection.recv(65_536):
                pass

    started = time.perf_counter()
    with ThreadPoolExecutor(worker.IN_FLIGHT) as pool:
        list(pool.map(ask, range(CONNECTIONS)))
    return CONNECTIONS / (time.perf_counter() - started)


def _most_in_flight(origin: str) -> int:
    """Return how many requests were in flight at once since the last question."""
    with urllib.request.urlopen(f"{origin}/most", timeout=5) as answer:  # noqa: S310 - the stub's own
        return int(json.load(answer)["most"])
