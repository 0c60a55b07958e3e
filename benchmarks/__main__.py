"""``make bench``: measures, prints each number beside its budget, and fails when one is missed."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import ceilings, cost, layer, reads, sweep, worker
from benchmarks.cold import measuring as cold

if TYPE_CHECKING:
    from benchmarks.report import Line

PARTS = ("cold", "reads", "layer", "worker", "sweep", "ceilings", "cost")


def main() -> int:
    """Run what was asked for; return 1 when a budget is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--large", action="store_true", help="sweep over 100,000 and a million")
    parser.add_argument("--rounds", type=int, default=cold.ROUNDS, help="of cold")
    options = parser.parse_args()
    wanted = set(options.parts or PARTS)
    if unknown := wanted - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processors,"
        f" load {os.getloadavg()[0]:.1f}"
    )
    started = time.monotonic()
    passed = True
    if "cold" in wanted:
        passed &= show("From nothing to the first answer : plain handler", cold.run(options.rounds))
    if "reads" in wanted or "cost" in wanted:
        reading = reads.run()
        passed &= show("get_connection, warm", reading.lines)
    if "layer" in wanted:
        passed &= show("Layer", layer.run())
    if wanted & {"worker", "ceilings", "cost"}:
        working = worker.run()
        passed &= show("Refresh worker", working.lines)
    if "sweep" in wanted:
        sizes = sweep.LARGE if options.large else sweep.QUICK
        passed &= show("Finding what is due", sweep.run(sizes))
    if "ceilings" in wanted:
        passed &= show("Ceilings by memory", ceilings.run(working.cpu))
    if "cost" in wanted:
        passed &= show("Cost at list prices", cost.run(reading, working.cpu))
    verdict = "every budget is kept" if passed else "A BUDGET IS MISSED"
    print(f"\n{verdict} ({time.monotonic() - started:.0f} s)")
    return 0 if passed else 1


def show(title: str, lines: list[Line]) -> bool:
    """Print some lines; return whether all of them are within budget."""
    print(f"\n{title}")
    for line in lines:
        print(line, flush=True)
    return all(line.passed is not False for line in lines)


if __name__ == "__main__":
    sys.exit(main())
