"""From nothing to the first answer, for every function at its memory, against the plain handler.

Both run under Lambda's runtime client with bytecode: init on a full core, the first request at
MB / 1769 of one (Lambda developer guide, "Configure Lambda function memory"). AWS and providers
answer from other processes, AWS after 4 ms. Function and plain handler take turns; the ratio is
that of the quickest turn of each, since other work on the machine only ever adds, and the spread
that of the turns' own ratios. Where the machine lets nobody set a quota, processor time is measured
instead, that of the first request stretched by 1769 / MB; waiting for AWS is not in it then.
What a function waits on purpose is taken off.
"""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import child
from benchmarks.cold import container, firsts, places
from benchmarks.cold.quota import FULL_CORE_MB, quota
from benchmarks.reads import environment
from benchmarks.report import Line
from keystow.end_users import erasure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.cold.container import Start
    from benchmarks.cold.firsts import First
    from benchmarks.cold.places import Places
    from benchmarks.cold.quota import Quota

ROUNDS: Final = 3
AWS_SECONDS: Final = 0.004
BUDGET: Final = 1.3
# What a function waits on purpose, in seconds, for indexes that come late; it costs no processor.
WAITS: Final = {"erase_end_user": erasure.SETTLED_SECONDS}
BUDGETS: Final = {"get_connection": 0.65, "create_session": 1.0, "browser_socket": 0.9}


@dataclass(frozen=True)
class _Contest:
    """One function with one first event; ``name`` is what the report calls it."""

    name: str
    function: str
    first: First
    memory: int


def run(rounds: int = ROUNDS) -> list[Line]:
    """Measure."""
    try:
        where = places.prepare()
    except OSError as error:
        print(f"  {error}")
        why = "packages could not be installed (is there a network?)"
        return [Line("cold starts", "not measured", why, passed=False)]
    given = {"certificate": str(where.certificate), "key": str(where.key)}
    with child.serving("benchmarks.cold.provider_stub", given) as provider:
        world, usual, refused = firsts.made(f"https://127.0.0.1:{provider}")
        contests = [*_contests(usual, ""), *_contests(refused, ", unknown key")]
        with (
            child.serving("benchmarks.aws_stub", world.as_stub(AWS_SECONDS)) as aws,
            quota() as share,
        ):
            print(f"  Python {where.version}, {_said(share)}", flush=True)
            variables = variables_of(f"http://127.0.0.1:{aws}")
            return list(_lines(contests, where, variables, share, rounds))


def _said(share: Quota | None) -> str:
    if share is None:
        return (
            "no processor quota can be set here: processor time, of first answers x 1769 / MB,"
            " without waiting"
        )
    return "init on a full core, first answer at MB / 1769 of one"


def _contests(events: dict[str, First], suffix: str) -> list[_Contest]:
    """Return what is measured, dearest budget first."""
    return [
        _Contest(f"{name}{suffix}", name, events[name], places.memory_of(name))
        for name in sorted(events, key=lambda name: (BUDGETS.get(name, BUDGET), name))
    ]


def variables_of(aws: str) -> dict[str, str]:
    """Return a function's environment, given where the stub of AWS is."""
    return {
        **environment(aws),
        "AWS_REGION": "eu-central-1",
        "AWS_SESSION_TOKEN": "bench",
        "KEYSTOW_LOOPBACK_ALLOWED": "1",
        "KEYSTOW_PUBLIC_URL": "https://keystow.test",
        "KEYSTOW_REFRESH_QUEUE_URL": f"{aws}/000000000000/refresh",
        "KEYSTOW_WEBHOOK_QUEUE_URL": f"{aws}/000000000000/webhook",
        "KEYSTOW_WEBSOCKET_ENDPOINT": aws,
        "KEYSTOW_WEBSOCKET_URL": "wss://keystow.test",
        "KEYSTOW_LOG_LEVEL": "INFO",
    }


def _lines(
    contests: Sequence[_Contest],
    where: Places,
    variables: dict[str, str],
    share: Quota | None,
    rounds: int,
) -> Iterator[Line]:
    def started(function: str, contest: _Contest) -> Start:
        begin_anew(variables["AWS_ENDPOINT_URL"])
        given = {**variables, "PYTHONPATH": where.path_of(function)}
        folder = where.functions / function
        found = container.start(
            where.python, folder, given, contest.first.event, contest.memory, share
        )
        if function != places.PLAIN and not contest.first.fits(found.answer):
            raise RuntimeError(f"{contest.name}: {found.answer}\n{found.printed[-2000:]}")
        return found

    def time_of(start: Start, function: str, memory: int) -> tuple[float, float]:
        if share is not None:
            return start.init, start.first - WAITS.get(function, 0.0)
        return start.init_cpu, start.first_cpu * max(1.0, FULL_CORE_MB / memory)

    for contest in contests:
        ours: list[tuple[float, float]] = []
        plain: list[tuple[float, float]] = []
        for place in range(rounds):
            turns = [(contest.function, ours), (places.PLAIN, plain)]
            for function, times in turns if place % 2 else reversed(turns):
                times.append(time_of(started(function, contest), function, contest.memory))
        ratios = [sum(mine) / sum(theirs) for mine, theirs in zip(ours, plain, strict=True)]
        quickest, floor = min(ours, key=sum), min(plain, key=sum)
        ratio = sum(quickest) / sum(floor)
        budget = BUDGETS.get(contest.function, BUDGET)
        yield Line(
            f"{contest.name}, {contest.memory} MB: {_ms(quickest)} : {_ms(floor)} ms",
            f"{ratio:.2f} x ({min(ratios):.2f}-{max(ratios):.2f})",
            f"<= {budget:.2f} x",
            ratio <= budget,
        )


def begin_anew(aws: str) -> None:
    """Let each container find the same rows."""
    request = urllib.request.Request(aws, method="DELETE")  # noqa: S310 - the stub's own
    with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - the stub's own
        pass


def _ms(time: tuple[float, float]) -> str:
    return f"{time[0] * 1000:.0f}+{time[1] * 1000:.0f}"
