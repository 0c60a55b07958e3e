"""A token whose end nobody told is not served dead for ever."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.clock import iso
from tests.authorization_server import DEFINITION, answer
from tests.integration.connections.world import Refreshing, World
from tests.unit.oauth.doubles import jwt

INTROSPECTION = {"introspection": {"url": "https://rotating.example/introspect"}}


def silent(**entry: Any) -> Refreshing:
    """Return a world whose provider does not tell how long its tokens live."""
    world = Refreshing()
    world.provider.life = None
    if entry:
        assert world.app.put("/providers/rotating", {**DEFINITION, **entry}).status == 200
    return world


def last_log(world: World) -> list[dict[str, Any]]:
    first = world.app.get("/activity?connection_id=c1").json()["data"][0]
    return list(world.app.get(f"/activity/{first['id']}").json()["data"]["messages"])


def test_a_token_whose_end_only_the_provider_knows_is_asked_about_and_renewed_in_time() -> None:
    world = silent(**INTROSPECTION)
    now = world.ctx.clock.now()
    world.provider.introspection = lambda: answer(200, {"active": True, "exp": int(now) + 7_200})
    found = world.read().json()["credentials"]
    assert found["access_token"] == "at-1"
    assert found["expires_at"][:19] == iso(int(now) + 7_200)[:19]
    assert len(world.provider.introspections) == 1
    world.ctx.clock.advance(7_190)
    assert world.token() == "at-2"


def test_a_slow_or_refused_introspection_never_costs_a_rotated_token() -> None:
    world = silent(**INTROSPECTION)

    def slow() -> Any:
        world.ctx.clock.advance(5)
        return answer(500, {})

    world.provider.introspection = slow
    assert world.token() == "at-1"
    assert world.secret().expires_at is None
    (message,) = last_log(world)
    assert (message["level"], "http_500" in message["message"]) == ("warn", True)


def test_an_introspection_takes_none_of_the_time_that_the_exchange_has_used_up() -> None:
    world = silent(**INTROSPECTION)

    def late(_number: int) -> None:
        world.ctx.clock.advance(19.5)

    world.provider.fault_after = late
    assert world.token() == "at-1"
    assert world.provider.introspections == []


def test_a_jwt_without_expires_in_is_renewed_by_its_own_end() -> None:
    world = silent()
    ends = int(world.ctx.clock.now()) + 600
    world.provider.extra = {"access_token": jwt(exp=ends)}
    assert world.read().json()["credentials"]["expires_at"][:19] == iso(ends)[:19]
    world.ctx.clock.advance(595)
    world.provider.extra = {}
    assert world.token() == "at-2"


def test_an_end_that_nobody_knows_stands_in_the_activity() -> None:
    world = silent()
    assert world.token() == "at-1"
    (message,) = last_log(world)
    assert message["level"] == "warn"
    assert message["message"].startswith("Nobody knows when the token ends")


@pytest.mark.parametrize("token", ["opaque", "a.b.c"])
def test_an_imported_token_without_a_date_keeps_none(token) -> None:
    credentials = {"type": "OAUTH2", "access_token": token, "refresh_token": "rt-0"}
    shown = World().imported("c1", "rot", credentials=credentials)
    assert "expires_at" not in shown["credentials"]


def test_an_imported_jwt_brings_its_own_end() -> None:
    world = World()
    now = int(world.ctx.clock.now())
    given = {"type": "OAUTH2", "refresh_token": "rt-0"}
    ahead = {**given, "access_token": jwt(exp=now + 600)}
    shown = world.imported("c1", "rot", credentials=ahead)
    assert shown["credentials"]["expires_at"] == iso(now + 600)
    over = {**given, "access_token": jwt(exp=now - 600)}
    world.imported("c2", "rot", credentials=over)
    found = world.app.get("/connections/c2?provider_config_key=rot").json()
    assert found["credentials"]["access_token"] == "at-1"


def test_an_imported_token_that_was_said_to_have_no_end_has_none() -> None:
    world = World()
    flat = {
        "provider_config_key": "rot",
        "connection_id": "c1",
        "access_token": jwt(exp=int(world.ctx.clock.now()) - 600),
        "refresh_token": "rt-0",
        "no_expiration": True,
    }
    assert world.app.post("/connection", flat).status == 201
    assert world.secret().expires_at is None


def test_what_a_refresh_tells_of_the_account_is_kept() -> None:
    world = silent(refresh_token_response_metadata=["api_domain"])
    world.provider.extra = {"api_domain": "https://eu.rotating.example"}
    shown = world.read().json()["connection_config"]
    assert shown == {"api_domain": "https://eu.rotating.example"}
