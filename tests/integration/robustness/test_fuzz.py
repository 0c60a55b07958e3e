"""Requests that nobody thought of."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.integration.robustness.routes import World, all_routes, check_answer
from tests.integration.robustness.test_bad_input import COMPLETE, FIELDS

LEAVES = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(max_size=40)
    | some.sampled_from(["", "key", "c1", "https://a.example", "2026-01-01T00:00:00Z", "OAUTH2"])
)
VALUES = some.recursive(
    LEAVES,
    lambda inner: (
        some.lists(inner, max_size=4)
        | some.dictionaries(some.text(max_size=8) | some.sampled_from(FIELDS), inner, max_size=5)
    ),
    max_leaves=20,
)
GOOD = [each for body in COMPLETE.values() for each in body.items()]
BODIES = some.dictionaries(some.sampled_from(FIELDS) | some.text(max_size=6), VALUES, max_size=6)
MIXED = some.builds(
    lambda good, odd: {**dict(good), **odd},
    some.lists(some.sampled_from(GOOD), max_size=6),
    some.dictionaries(some.sampled_from(FIELDS), VALUES, max_size=2),
)
ENCODED = (BODIES | MIXED | VALUES).map(lambda body: json.dumps(body).encode())
RAW = some.binary(max_size=200) | ENCODED
QUERY = some.text(
    alphabet=some.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=80
).map(lambda text: quote(text, safe="&=[]%+"))


@pytest.mark.full
@settings(
    max_examples=3_000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(route=some.sampled_from(all_routes()), raw=RAW, query=QUERY, world=some.just([World()]))
def test_no_request_is_a_fault_of_ours(
    route: str, raw: bytes, query: str, world: list[World]
) -> None:
    before = world[0].state()
    kind = {"content-type": "application/json"}
    answer = world[0].call(route, query=query, raw=raw, headers=kind)
    check_answer(route, answer)
    if answer.status >= 400:
        after: Any = world[0].state()
        told = answer.status == 400 and "connection_test_failed" in answer.body.decode()
        assert told or after == before
    elif route.split(maxsplit=1)[0] != "GET":
        world[0] = World()
