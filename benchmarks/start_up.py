"""How long a fresh interpreter takes to a function's first request, against the floor.

The floor is what nobody who calls DynamoDB and KMS from Python and logs in JSON can do without.
Measured is the whole process. What is compared is processor time (user and system, of that
process alone): starting up waits for nothing, so that is what it would take on an idle machine,
and a busy one blurs it less. Each round starts the floor four times and every function; a
function's ratio is the median of its rounds' ratios. The line "floor : floor" shows by how much two
runs of one program differ just now; that much, at most 5 %, is tolerated.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from benchmarks import LAYER, ROOT
from benchmarks.reads import environment
from benchmarks.report import Line
from local import template as templates

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS = 7
READER = "get_connection"
READER_BUDGET = 1.1
BUDGET = 2.0
MOST_TOLERANCE = 0.05

FLOOR = """
import botocore.session
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from aws_lambda_powertools import Logger
Logger(service="floor")
session = botocore.session.get_session()
session.create_client("dynamodb")
session.create_client("kms")
"""

FUNCTION = """
import app
from keystow import context
ctx = context.current()
"""


@dataclass(frozen=True)
class Cost:
    """What one process took, in seconds."""

    cpu: float
    wall: float


def programs() -> dict[str, str]:
    """Return, for each function, a program that imports it and makes its clients.

    The clients are those of the services that the function's policies name.
    """
    found = {}
    template = templates.load(ROOT / "template.yaml")
    for properties in templates.functions(template).values():
        folder = str(properties["CodeUri"]).rpartition("/")[2]
        parts = parts_of(properties)
        found[folder] = FUNCTION + "".join(f"ctx.{part}\n" for part in parts)
    return dict(sorted(found.items()))


def parts_of(properties: Mapping[str, Any]) -> list[str]:
    """Return the parts of a context that a function's policies let it use."""
    text = str(properties.get("Policies", ""))
    services = {
        "dynamodb:": "store",
        "kms:": "vault",
        "sqs:": "queues",
        "execute-api:": "sockets",
    }
    return [part for service, part in services.items() if service in text]


def start(program: str, folder: str = "") -> Cost:
    """Run a program in a fresh interpreter."""
    paths = [str(LAYER)]
    if folder:
        paths.append(str(ROOT / "functions" / folder))
    variables = {
        **{name: text for name, text in os.environ.items() if not name.startswith("AWS_")},
        **environment("http://127.0.0.1:9"),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", program], env=variables, cwd=ROOT)
    _pid, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{folder or 'the floor'} does not start")
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def run(rounds: int = ROUNDS) -> list[Line]:
    """Measure."""
    every = programs()
    start(FLOOR)
    for folder, program in every.items():
        start(program, folder)  # compiles what was not compiled yet
    floors: list[Cost] = []
    again: list[float] = []
    cpu: dict[str, list[float]] = {folder: [] for folder in every}
    wall: dict[str, list[float]] = {folder: [] for folder in every}
    for _ in range(rounds):
        # The reader has the sharpest budget: floor, reader, reader, floor, twice, so that a machine
        # that grows slower or faster meanwhile does so for both.
        here: list[Cost] = []
        for _ in range(2):
            before = start(FLOOR)
            pair = [start(every[READER], READER) for _ in range(2)]
            after = start(FLOOR)
            again.append(after.cpu / before.cpu)
            here += [before, after]
            for cost in pair:
                _take(cost, [before, after], cpu[READER], wall[READER])
        floors += here
        for folder, program in every.items():
            if folder != READER:
                _take(start(program, folder), here, cpu[folder], wall[folder])
    noise = min(MOST_TOLERANCE, abs(median(again) - 1) + _spread(again) / len(again) ** 0.5)
    lines = [
        Line("floor, this machine", f"{median(each.cpu for each in floors) * 1000:.0f} ms"),
        Line("floor : floor (what noise does)", f"{median(again):.2f} x +- {noise:.0%}"),
    ]
    for folder in (READER, *(each for each in every if each != READER)):
        ratio, budget = median(cpu[folder]), READER_BUDGET if folder == READER else BUDGET
        lines.append(
            Line(
                f"{folder} : floor (wall {median(wall[folder]):.2f} x)",
                f"{ratio:.2f} x",
                f"<= {budget:.2f} x",
                ratio <= budget * (1 + noise),
            )
        )
    return lines


def _take(cost: Cost, floors: list[Cost], cpu: list[float], wall: list[float]) -> None:
    cpu.append(cost.cpu / mean(each.cpu for each in floors))
    wall.append(cost.wall / mean(each.wall for each in floors))


def _spread(values: list[float]) -> float:
    middle = median(values)
    return median(abs(value - middle) for value in values) * 1.5
