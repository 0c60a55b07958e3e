"""How much one minute's sweep and the workers can do, by memory: what docs/limits.md tells.

Lambda gives 1/1769 of a processor for each MB. Processor time is measured here, on as many real
requests as the thing makes (against a loopback DynamoDB and SQS, in a process of its own);
waiting is reckoned: 16 shards side by side, 5 ms a request. Take the numbers of a quiet machine.
"""

from __future__ import annotations

import os
import time
from statistics import median
from typing import Final
from unittest.mock import patch

from benchmarks import child
from benchmarks.cold.quota import FULL_CORE_MB
from benchmarks.reads import environment
from benchmarks.report import Line
from benchmarks.world import quiet
from keystow.aws import clients
from keystow.context import Context
from keystow.refresh import sweep
from keystow.settings import Settings
from keystow.store.tables import DUE_SHARDS

ROWS_A_SHARD: Final = 50
ROUNDS: Final = 5
MEMORY: Final = (256, 512, 1024, FULL_CORE_MB)
REQUEST_SECONDS: Final = 0.005
SWEEP_SECONDS: Final = 40
# The worker is measured on tables in memory; on DynamoDB it reads, claims and commits.
REQUESTS_A_REFRESH: Final = 3
# A token of an hour comes due after about 43 min.
DUE_EVERY_MINUTES: Final = 43


def run(refresh_cpu: float) -> list[Line]:
    """Measure the sweep, and reckon with the processor time of one refresh, in seconds."""
    row_cpu = measure()
    lines = [Line("processor time of one row of a sweep, this machine", f"{row_cpu * 1e3:.2f} ms")]
    for memory in MEMORY:
        share = memory / FULL_CORE_MB
        rows = min(share / row_cpu, DUE_SHARDS / REQUEST_SECONDS)
        a_minute = min(rows * SWEEP_SECONDS, DUE_SHARDS * sweep.MOST_PER_SHARD)
        lines.append(
            Line(
                f"{memory} MB: rows a second / a minute / connections of 1 h tokens",
                f"{rows:,.0f} / {a_minute:,.0f} / {a_minute * DUE_EVERY_MINUTES:,.0f}",
            )
        )
        refreshes = share / (refresh_cpu + REQUESTS_A_REFRESH * row_cpu)
        connections = refreshes * 60 * DUE_EVERY_MINUTES
        lines.append(
            Line(
                f"{memory} MB: refreshes a second of one worker / connections of 1 h tokens",
                f"{refreshes:,.0f} / {connections:,.0f}",
            )
        )
    return lines


def measure() -> float:
    """Return the processor time of one row, in seconds."""
    with (
        child.serving("benchmarks.due_stub", {"rows": ROWS_A_SHARD}) as port,
        patch.dict(os.environ, environment(f"http://127.0.0.1:{port}")),
        patch.dict(clients._clients, clear=True),  # noqa: SLF001 - another part had another AWS
    ):
        queue = f"http://127.0.0.1:{port}/1/refresh"
        ctx = Context(Settings(connections_table="connections", refresh_queue_url=queue))
        used = []
        with quiet():
            sweep.sweep(ctx)
            for _ in range(ROUNDS):
                began = time.process_time()
                queued = sweep.sweep(ctx)
                used.append((time.process_time() - began) / queued)
    return median(used)
