"""Keeping tokens fresh: who renews, when, and what readers get."""

from __future__ import annotations

import secrets

import pytest

from keystow.clock import SystemClock, iso
from keystow.egress.client import Answer
from tests.integration.connections.world import Refreshing
from tests.support import run_in_parallel


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


def test_an_expired_token_is_renewed_by_the_read_that_finds_it(world: Refreshing) -> None:
    found = world.read()
    assert found.status == 200
    assert found.json()["credentials"]["access_token"] == "at-1"
    assert found.json()["credentials"]["refresh_token"] == "rt-1"
    assert found.json()["errors"] == []
    assert [each["grant_type"] for each in world.provider.requests] == ["refresh_token"]
    assert world.token() == "at-1"
    assert len(world.provider.requests) == 1


def test_a_token_with_more_than_a_minute_left_is_served_as_it_is() -> None:
    world = Refreshing(expires_in=61)
    assert world.token() == "at-0"
    assert world.provider.requests == []


def test_a_token_with_less_than_a_minute_left_is_renewed_first() -> None:
    world = Refreshing(expires_in=59)
    assert world.token() == "at-1"


def test_fifty_readers_of_an_expired_token_make_one_refresh() -> None:
    world = Refreshing(clock=SystemClock())  # fifty waiters would push a stopped one past the lease
    answers = run_in_parallel(50, lambda _place: world.read())
    assert {each.status for each in answers} == {200}
    assert {each.json()["credentials"]["access_token"] for each in answers} == {"at-1"}
    assert len(world.provider.requests) == 1
    assert world.provider.most_in_flight == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600,"team":"caf\\ud83d"}',
        b'{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600,"n":1e400}',
    ],
)
def test_odd_company_does_not_cost_a_token(world: Refreshing, body: bytes) -> None:
    world.provider.fault_after = lambda _n: Answer(200, {"content-type": "application/json"}, body)
    assert world.token() == "at-1"


def test_a_token_that_comes_with_too_much_is_stored_without_the_rest(world: Refreshing) -> None:
    noise = "".join(secrets.token_hex(32) for _ in range(10_000))
    world.provider.extra = {"profile": noise}
    assert world.token() == "at-1"
    raw = world.read().json()["credentials"]["raw"]
    assert (raw["access_token"], "profile" in raw) == ("at-1", False)
    assert world.token() == "at-1"


def test_tokens_that_live_a_minute_are_not_renewed_by_each_read() -> None:
    world = Refreshing()
    world.provider.life = 60
    for _round in range(5):
        assert world.token() == "at-1"
    assert len(world.provider.requests) == 1


def test_an_expiry_in_the_past_is_taken_for_not_known(world: Refreshing) -> None:
    world.provider.life = None
    world.provider.extra = {"expires_at": 1_000_000_000}
    for _round in range(5):
        assert world.token() == "at-1"
    assert len(world.provider.requests) == 1


def test_a_forced_refresh_renews_a_valid_token_but_not_twice_in_ten_seconds() -> None:
    world = Refreshing(expires_in=7200)
    assert world.read("&force_refresh=true").json()["credentials"]["access_token"] == "at-1"
    assert world.read("&force_refresh=true").json()["credentials"]["access_token"] == "at-1"
    world.ctx.clock.advance(11)
    assert world.read("&force_refresh=true").json()["credentials"]["access_token"] == "at-2"


def test_a_refresh_that_nobody_forced_does_not_use_up_a_callers_turn(world: Refreshing) -> None:
    assert world.token() == "at-1"
    assert world.read("&force_refresh=true").json()["credentials"]["access_token"] == "at-2"


def test_without_a_refresh_token_an_expired_token_is_served_as_it_is() -> None:
    world = Refreshing()
    body = {
        "provider_config_key": "rot",
        "connection_id": "c1",
        "credentials": {
            "type": "OAUTH2",
            "access_token": "alone",
            "expires_at": iso(world.ctx.clock.now() - 60),
        },
    }
    assert world.app.post("/connections", body).status == 201
    assert world.token() == "alone"
    assert world.read("&force_refresh=true").status == 200
    assert world.provider.requests == []


def test_an_answer_without_refresh_token_keeps_the_old_one(world: Refreshing) -> None:
    world.provider.extra = {"refresh_token": ""}
    found = world.read().json()["credentials"]
    assert found["access_token"] == "at-1"
    assert found["refresh_token"] == "rt-0"
