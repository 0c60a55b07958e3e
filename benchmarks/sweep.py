"""Finding what is due: what the sweep asks of the tables as more is stored and no more is due.

Requests and rows are counted, not timed, so nothing here is noisy and nothing is tolerated: they
must be the same at every size. (The query has no filter, so what it examines is what it returns.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.reads import StoppedClock
from benchmarks.report import Line
from benchmarks.world import Counted, make_world
from keystow.refresh import sweep
from keystow.refresh.due import shard_of

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK = (1_000, 10_000)
LARGE = (10_000, 100_000, 1_000_000)
DUE = 50
MORE_DUE = 500


def run(sizes: Sequence[int] = QUICK) -> list[Line]:
    """Measure."""
    counted = {stored: count(stored, DUE) for stored in sizes}
    most = count(sizes[0], MORE_DUE)
    first = counted[sizes[0]]
    lines = []
    for stored, found in counted.items():
        same = _shape(found) == _shape(first) and found.rows == DUE
        budget = f"{first.reads} / {DUE} / {DUE}"
        lines.append(
            Line(
                f"queries / rows / writes: {stored:,} stored, {DUE} due", _text(found), budget, same
            )
        )
    lines.append(Line(f"queries / rows / writes: {sizes[0]:,} stored, {MORE_DUE} due", _text(most)))
    return lines


def count(stored: int, due: int) -> Counted:
    """Return what one sweep asks when so many of the stored connections are due."""
    clock = StoppedClock()
    world = make_world(clock=clock)
    world.connect(["template"], life=86_400)
    rows: Any = world.store.inner._tables["connections"]  # noqa: SLF001 - a million puts take long
    secret = next(item for item in rows.values() if item["sk"] == "connection#secret")
    rows.clear()
    now = int(clock.now() * 1000)
    for number in range(stored):
        name = f"customer-{number}"
        pk = secret["pk"].replace("template", name)
        wait = -1000 if number < due else 3_600_000 + number
        rows[pk, secret["sk"]] = {
            **secret,
            "pk": pk,
            "due_shard": shard_of(name),
            "due_at": now + wait,
        }
    world.store.take()
    queued = sweep.sweep(world.ctx)
    if queued != due:
        raise RuntimeError(f"{queued} queued, {due} due")
    return world.store.take()


def _shape(counted: Counted) -> tuple[int, int, int]:
    return counted.reads, counted.rows, counted.writes


def _text(counted: Counted) -> str:
    return " / ".join(f"{each:,}" for each in _shape(counted))
