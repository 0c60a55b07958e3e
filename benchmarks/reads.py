"""A warm get_connection: what it asks AWS, and its time against bare boto3 that asks for the same.

All clients talk to one stub in another process. The three contestants take turns read by read, so
that a busy machine slows all of them; the ratio of their medians needs no tolerance then.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import time
import urllib.request
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks import child
from benchmarks.report import Line
from benchmarks.world import World, log_into, make_world
from keystow import context as contexts
from keystow.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 300
BUDGET = 0.45
CONNECTION = "customer-1"


@dataclass(frozen=True)
class Units:
    """What one read takes of DynamoDB, and how long the answer is."""

    read: float
    answer_bytes: int


@dataclass(frozen=True)
class Reading:
    """What reads did, for the lines and for the cost model. Times in seconds."""

    lines: list[Line]
    cpu: float
    log_bytes: float
    units: Units
    first: dict[str, int]


class StoppedClock:
    """Keeps caches of seconds from ending in the middle of a measurement."""

    def __init__(self) -> None:
        self._now = time.time()

    def now(self) -> float:
        """Return the moment of construction."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Never: nothing waits in a read."""
        raise AssertionError(seconds)


def _event(key: str) -> dict[str, Any]:
    route = "GET /connections/{connectionId+}"
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": f"/connections/{CONNECTION}",
        "rawQueryString": "provider_config_key=bench",
        "queryStringParameters": {"provider_config_key": "bench"},
        "pathParameters": {"connectionId": CONNECTION},
        "headers": {"host": "keystow.example", "authorization": f"Bearer {key}"},
        "requestContext": {
            "domainName": "keystow.example",
            "http": {"method": "GET", "path": f"/connections/{CONNECTION}"},
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route,
            "stage": "$default",
        },
        "isBase64Encoded": False,
    }


def run() -> Reading:
    """Measure."""
    clock = StoppedClock()
    world = make_world(clock=clock)
    world.connect([CONNECTION], life=86_400)
    given = world.as_stub()
    world.store.take()
    path = f"/connections/{CONNECTION}?provider_config_key=bench"
    world.app.get(path)
    world.store.take()
    answered = world.app.get(path)
    if answered.status != 200:  # noqa: PLR2004
        raise RuntimeError("the read failed")
    units = Units(world.store.take().read_units, len(answered.body))
    with child.serving("benchmarks.aws_stub", given) as port:
        endpoint = f"http://127.0.0.1:{port}"
        with patch.dict(os.environ, environment(endpoint)):
            return _measure(world, clock, endpoint, units)


def environment(endpoint: str) -> dict[str, str]:
    """Return the environment variables of a function whose AWS is a stub."""
    return {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "KEYSTOW_CONNECTIONS_TABLE": "connections",
        "KEYSTOW_REGISTRY_TABLE": "registry",
        "KEYSTOW_KEYS_TABLE": "keys",
        "KEYSTOW_SESSIONS_TABLE": "sessions",
        "KEYSTOW_EVENTS_TABLE": "events",
        "KEYSTOW_ACTIVITY_TABLE": "activity",
        "KEYSTOW_KMS_KEY_ID": "key",
    }


def _bare_boto3(world: World) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return one query by boto3, and the query with the decryption of a data key."""
    import boto3

    dynamodb, kms = boto3.client("dynamodb"), boto3.client("kms")
    items = world.store.everything()
    pk = items["connections"][0]["pk"]
    wrapped = next(item["wrapped"] for item in items["registry"] if "wrapped" in item)

    def query() -> None:
        found = dynamodb.query(
            TableName="connections",
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": pk}, ":sk": {"S": "connection"}},
            ConsistentRead=True,
        )
        assert len(found["Items"]) == 2  # noqa: PLR2004 - the description and the credential

    def both() -> None:
        query()
        kms.decrypt(CiphertextBlob=wrapped, EncryptionContext={"purpose": "bench"})

    return query, both


def _measure(world: World, clock: StoppedClock, endpoint: str, units: Units) -> Reading:
    app = importlib.import_module("tests.app").function("get_connection")
    log = io.StringIO()
    event = _event(world.secret_key)
    settings: Settings = load()
    ctx = contexts.Context(settings, clock=clock)
    cpu: list[float] = []

    def ours() -> None:
        started = time.process_time()
        found = app.handler(event, None)
        cpu.append(time.process_time() - started)
        if found["statusCode"] != 200:  # noqa: PLR2004
            raise RuntimeError(found["body"])

    query, both = _bare_boto3(world)
    times: dict[Callable[[], None], list[float]] = {ours: [], query: [], both: []}
    log_into(log)
    with patch.object(contexts, "_current", ctx):
        before = _asked(endpoint)
        ours()
        first = _difference(before, _asked(endpoint))
        before = _asked(endpoint)
        for _ in range(ROUNDS):
            ours()
        warm = _difference(before, _asked(endpoint))
        cpu.clear()
        log.truncate(0)
        log.seek(0)
        for place in range(ROUNDS):
            turn = list(times)
            turn = turn[place % 3 :] + turn[: place % 3]
            for contestant in turn:
                started = time.perf_counter()
                contestant()
                times[contestant].append(time.perf_counter() - started)
    against_both = median(times[ours]) / median(times[both])
    against_query = median(times[ours]) / median(times[query])
    reads = warm.get("Query", 0) + warm.get("GetItem", 0)
    writes = sum(warm.values()) - reads - warm.get("Decrypt", 0)
    lines = [
        Line("DynamoDB requests", f"{reads / ROUNDS:g}", "1", reads == ROUNDS),
        Line("KMS requests", f"{warm.get('Decrypt', 0) / ROUNDS:g}", "0", "Decrypt" not in warm),
        Line("writes", f"{writes / ROUNDS:g}", "0", writes == 0),
        Line(
            "whole handler : boto3 query + decrypt",
            f"{against_both:.2f} x",
            f"<= {BUDGET} x",
            against_both <= BUDGET,
        ),
        Line("whole handler : boto3 query alone", f"{against_query:.2f} x"),
        Line("whole handler, this machine", f"{median(times[ours]) * 1000:.2f} ms"),
        Line("first read of a container", _said(first)),
    ]
    return Reading(lines, median(cpu), len(log.getvalue()) / ROUNDS, units, first)


def _asked(endpoint: str) -> dict[str, int]:
    with urllib.request.urlopen(endpoint, timeout=5) as answer:  # noqa: S310 - the stub's own
        found: dict[str, int] = json.load(answer)
        return found


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    names = after.keys() | before.keys()
    found = {name: after.get(name, 0) - before.get(name, 0) for name in sorted(names)}
    return {name: count for name, count in found.items() if count}


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
