"""What it costs, from counted requests and list prices (us-east-1, USD, 2026).

Requests, units and log bytes are counted from the code as it runs; processor time is measured here
and scaled to Lambda, where a function has 1/1769 of a processor for each MB (Lambda developer
guide, "Configure function memory"). What is assumed is in :data:`ASSUMED` and printed. There is no
free tier in it but the million SQS requests that the list price leaves out.
"""

from __future__ import annotations

import importlib
import io
import json
import math
from typing import TYPE_CHECKING, Any, Final

from benchmarks import ROOT, ceilings
from benchmarks.cold.quota import FULL_CORE_MB
from benchmarks.reads import StoppedClock
from benchmarks.report import Line
from benchmarks.world import Counted, log_into, make_world, quiet
from keystow.refresh import sweep, worker
from keystow.vault.vault import CACHE_SECONDS
from local import template as templates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.reads import Reading

MILLION: Final = 1e6
LAMBDA_REQUEST: Final = 0.20 / MILLION
GB_SECOND: Final = 0.0000133334
HTTP_API: Final = 1.00 / MILLION
READ_UNIT: Final = 0.125 / MILLION
WRITE_UNIT: Final = 0.625 / MILLION
KMS_REQUEST: Final = 0.03 / 10_000
KMS_KEY: Final = 1.00
SQS_REQUEST: Final = 0.40 / MILLION
SQS_FREE: Final = MILLION
LOG_BYTE: Final = 0.50 / 1e9
EGRESS_BYTE: Final = 0.09 / 1e9  # from AWS to the internet, after the first 100 GB of a month
ALARM: Final = 0.10
METRIC: Final = 0.30  # of one name, sent in every hour of a month
POLLS: Final = 648_000  # of one event source, in a month
MINUTES: Final = 43_800  # in a month
SECONDS: Final = MINUTES * 60

HEAD_BYTES: Final = 900  # of an answer: its headers, and what TLS adds to each record
HOURLY: Final = 1_000_000  # connections whose tokens live an hour

# START, END and REPORT as Lambda writes them when its own log format is text.
PLATFORM_LOG_BYTES: Final = 275

ASSUMED: Final = {
    "a request to DynamoDB takes, seconds": 0.005,
    "a provider's token endpoint takes, seconds": 0.3,
    "hosts that a million refreshes a month go to": 3,
    "containers that a million reads a month keep warm": 2,
    "data keys that a container's reads need at a time": 1.2,
    "reads of one connection, a day": 24,
    "of a million reads, behind a cold start": 0.01,
    "a cold start takes, seconds": 0.5,
}

BUDGET_IDLE = 3.0
BUDGET_READS = 1.80
BUDGET_REFRESHES = 7.50


def run(reading: Reading, refresh_cpu: float) -> list[Line]:
    """Reckon."""
    template = templates.load(ROOT / "template.yaml")
    lines = []
    for title, parts, budget in (
        ("1 million reads", reads(template, reading), BUDGET_READS),
        ("1 million refreshes", refreshes(template, refresh_cpu, MILLION), BUDGET_REFRESHES),
        ("idle, a month", idle(template), BUDGET_IDLE),
    ):
        whole = sum(parts.values())
        lines.append(Line(title, f"${whole:.2f}", f"<= ${budget:.2f}", whole <= budget))
        lines += [Line(f"    {name}", f"${part:.3f}") for name, part in parts.items()]
    egress = MILLION * (reading.units.answer_bytes + HEAD_BYTES) * EGRESS_BYTE
    lines.append(Line("1 million reads, internet egress on top", f"${egress:.2f}"))
    monthly = HOURLY * MINUTES / ceilings.DUE_EVERY_MINUTES
    hourly = sum(refreshes(template, refresh_cpu, monthly).values())
    lines.append(
        Line(f"{HOURLY:,} connections of 1 h tokens, kept fresh for a month", f"${hourly:,.0f}")
    )
    lines += [Line(f"    assumed: {name}", f"{value:g}") for name, value in ASSUMED.items()]
    return lines


def reads(template: Mapping[str, Any], reading: Reading) -> dict[str, float]:
    """Return the parts of a million reads, as a warm container does them, and its caches' cost."""
    memory = memory_of(template, "get_connection")
    duration = _billed(reading.cpu, memory, ASSUMED["a request to DynamoDB takes, seconds"])
    containers = ASSUMED["containers that a million reads a month keep warm"]
    # A key and an integration are read again after 30 s, a data key after 5 min.
    lookups = containers * SECONDS * (2 / 30 + 1 / 300)
    cold = ASSUMED["of a million reads, behind a cold start"] * MILLION
    first = reading.first
    cold_reads = cold * (first.get("GetItem", 0) + first.get("Query", 0) - 1)
    opened = ASSUMED["data keys that a container's reads need at a time"]
    unwraps = opened * (containers * SECONDS / CACHE_SECONDS + cold)
    noted = note_units()
    notes = MILLION / ASSUMED["reads of one connection, a day"]
    # Init is billed too, and what the first request takes more than others (benchmarks, part cold).
    starts = cold * ASSUMED["a cold start takes, seconds"] * memory / 1024 * GB_SECOND
    return {
        "HTTP API": MILLION * HTTP_API,
        "Lambda requests": MILLION * LAMBDA_REQUEST,
        f"Lambda time ({duration * 1000:.0f} ms at {memory} MB, cold starts)": (
            MILLION * duration * memory / 1024 * GB_SECOND + starts
        ),
        "DynamoDB, the read itself": MILLION * reading.units.read * READ_UNIT,
        f"DynamoDB, a read is noted once a day, {noted:g} write units": (
            notes * noted * WRITE_UNIT
        ),
        "DynamoDB, caches": (lookups + cold_reads) * READ_UNIT,
        "KMS": unwraps * KMS_REQUEST,
        f"the log line ({reading.log_bytes:.0f} bytes)": MILLION * reading.log_bytes * LOG_BYTE,
        "Lambda's own log lines": MILLION * _platform_bytes(template) * LOG_BYTE,
        "the gateway's access log": MILLION * _access_bytes(template) * LOG_BYTE,
    }


def note_units() -> float:
    """Return the write units of a connection's first read on a day, without its key's own note."""
    support = importlib.import_module("tests.support")
    clock = support.StoppedClock()
    world = make_world(clock=clock)
    world.connect(["customer-1"], life=10 * 86_400)
    clock.advance(86_400)
    path = "/connections/customer-1?provider_config_key=bench"
    world.app.get(path)
    world.store.take()
    clock.advance(86_400)
    if world.app.get(path).status != 200:  # noqa: PLR2004
        raise RuntimeError("the read failed")
    return world.store.take().write_units - 1


def refreshes(template: Mapping[str, Any], cpu: float, count: float) -> dict[str, float]:
    """Return the parts of so many refreshes, spread evenly over a month."""
    counted, log_bytes = one_refresh()
    memory = memory_of(template, "refresh_tokens")
    requests = counted.reads + counted.writes
    waiting = (
        ASSUMED["a provider's token endpoint takes, seconds"]
        + requests * ASSUMED["a request to DynamoDB takes, seconds"]
    )
    together = in_a_message(count)
    messages = count / together
    # Refreshes of one message wait side by side; each needs the processor for itself.
    seconds = messages * waiting + count * _billed(cpu, memory, 0)
    return {
        f"DynamoDB, {counted.write_units:g} write units": (
            count * counted.write_units * WRITE_UNIT
        ),
        f"DynamoDB, {counted.read_units:g} read units": count * counted.read_units * READ_UNIT,
        f"SQS, {together:.1f} refreshes a message": messages * 3 * SQS_REQUEST,
        "Lambda requests": messages * LAMBDA_REQUEST,
        f"Lambda time at {memory} MB": seconds * memory / 1024 * GB_SECOND,
        "log": messages * (log_bytes + _platform_bytes(template)) * LOG_BYTE,
        "CloudWatch, the metric Refreshed": METRIC,
    }


def in_a_message(count: float) -> float:
    """Return how many refreshes share a message (one host, ten seconds) and an invocation.

    Args:
        count: refreshes in a month.
    """
    groups = ASSUMED["hosts that a million refreshes a month go to"] * 6
    expected = count / MINUTES / groups
    return min(sweep.BATCH, expected / (1 - math.exp(-expected)))


def one_refresh() -> tuple[Counted, float]:
    """Return what one refresh asks of the tables (sweep's part included), and what it logs."""
    support = importlib.import_module("tests.support")
    clock = StoppedClock()
    body = {
        "access_token": "b" * 220,
        "refresh_token": "s" * 100,
        "token_type": "bearer",
        "expires_in": 3600,
    }
    egress = support.FakeEgress(default=support.json_answer(200, body))
    world = make_world(clock=clock, egress=egress)
    world.connect(["customer-1"], life=-60)
    log = io.StringIO()
    log_into(log)

    # What 16 empty shards cost is idle cost, so only what the one due row adds is counted here.
    world.store.take()
    sweep.sweep(world.ctx)
    swept = world.store.take()
    messages = world.ctx.queues.take_refreshes()
    with quiet() as metrics:
        failed = worker.handle(world.ctx, [("1", json.dumps(messages[0][0]))])
    counted = world.store.take()
    if failed or len(egress.sent) != 1:
        raise RuntimeError("the refresh failed")
    counted.writes += swept.writes
    counted.write_units += swept.write_units
    counted.operations = [each for each in swept.operations if "query" not in each] + (
        counted.operations
    )
    # The handler's own line, what the domain adds, and the line of metrics.
    return counted, 250 + len(log.getvalue()) + len(metrics.getvalue())


def idle(template: Mapping[str, Any]) -> dict[str, float]:
    """Return the parts of a month in which nothing happens."""
    resources = template["Resources"]
    # What somebody must ask for by a parameter is not there.
    kinds = [each["Type"] for each in resources.values() if "Condition" not in each]
    functions = templates.functions(template)
    events = [
        (event, properties)
        for properties in functions.values()
        for event in properties.get("Events", {}).values()
    ]
    sources = kinds.count("AWS::Lambda::EventSourceMapping")
    # What comes every five minutes reads a few rows, and is not worth counting.
    schedules = [
        properties
        for event, properties in events
        if event["Type"] == "Schedule" and event["Properties"]["Schedule"] == "rate(1 minute)"
    ]
    runs = len(schedules) * MINUTES
    queries = sweep_queries()
    seconds = queries * ASSUMED["a request to DynamoDB takes, seconds"] + 0.02
    memories = [_memory(template, properties) for properties in schedules]
    return {
        "KMS keys": kinds.count("AWS::KMS::Key") * KMS_KEY,
        f"{kinds.count('AWS::CloudWatch::Alarm')} alarms": (
            kinds.count("AWS::CloudWatch::Alarm") * ALARM
        ),
        f"SQS, polls of {sources} event sources": max(0, sources * POLLS - SQS_FREE) * SQS_REQUEST,
        "Lambda, the schedules": runs * LAMBDA_REQUEST
        + sum(MINUTES * seconds * memory / 1024 * GB_SECOND for memory in memories),
        f"DynamoDB, {queries} queries a sweep": runs * queries * 0.5 * READ_UNIT,
        "log": runs * (200 + _platform_bytes(template)) * LOG_BYTE,
    }


def sweep_queries() -> int:
    """Return how many queries a sweep makes when nothing is due."""
    world = make_world(clock=StoppedClock())
    world.store.take()
    sweep.sweep(world.ctx)
    return world.store.take().reads


def memory_of(template: Mapping[str, Any], folder: str) -> int:
    """Return the MB that a function has."""
    for properties in templates.functions(template).values():
        if str(properties["CodeUri"]).endswith(f"/{folder}"):
            return _memory(template, properties)
    raise KeyError(folder)


def _memory(template: Mapping[str, Any], properties: Mapping[str, Any]) -> int:
    found = properties.get("MemorySize", template["Globals"]["Function"]["MemorySize"])
    if isinstance(found, dict):
        found = template["Parameters"][found["Ref"]]["Default"]
    return int(found)


def _billed(cpu: float, memory: int, waiting: float) -> float:
    """Return the seconds that Lambda bills: the processor's share stretches what computes."""
    return waiting + cpu * max(1.0, FULL_CORE_MB / memory)


def _platform_bytes(template: Mapping[str, Any]) -> int:
    logging = template["Globals"]["Function"].get("LoggingConfig", {})
    quiet = logging.get("LogFormat") == "JSON" and logging.get("SystemLogLevel") == "WARN"
    return 0 if quiet else PLATFORM_LOG_BYTES


def _access_bytes(template: Mapping[str, Any]) -> int:
    """Return how long an access log line is: the format, its variables about 12 bytes each."""
    _condition, wanted, _otherwise = template["Resources"]["HttpApi"]["Properties"][
        "AccessLogSettings"
    ]["Fn::If"]
    text = wanted["Format"] if template["Parameters"]["AccessLog"]["Default"] == "Enabled" else ""
    bare = "".join(part.partition('"')[1] + part.partition('"')[2] for part in text.split("$"))
    return len(bare) + 12 * text.count("$context.") if text else 0
