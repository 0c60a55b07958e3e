"""Webhooks of providers: whom their address names, and what is answered."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.authorization import inbound
from keystow.environments import removal
from keystow.environments import service as environments
from keystow.errors import ApiError
from keystow.modes import ROOMS, mode_of
from keystow.modes.base import Heard
from keystow.value import replace
from tests.integration.connections.world import World
from tests.support import claim_names


@pytest.fixture
def world() -> World:
    world = World()
    claim_names(world.ctx, world.seeded.environment)
    return world


def send(world: World, uuid: str, key: str, **options: Any) -> Any:
    return world.app.post(f"/webhook/{uuid}/{key}", key=None, **options)


@pytest.mark.parametrize(
    ("content_type", "raw"),
    [
        ("application/json", b'{"event": "installed"}'),
        ("application/x-www-form-urlencoded", b"payload=%7B%7D"),
        ("text/xml", b"<a/>"),
        ("application/octet-stream", b"\xff\x00"),
        (None, b""),
    ],
)
def test_what_a_provider_sends_is_taken_whatever_it_is(
    world: World, content_type: str | None, raw: bytes
) -> None:
    uuid = world.seeded.environment.uuid
    headers = {"content-type": content_type} if content_type else {}
    before = world.ctx.store.everything()
    for name in (uuid, uuid.upper()):
        taken = send(world, name, "rot", raw=raw, headers=headers)
        assert (taken.status, taken.body) == (204, b"")
    assert world.ctx.store.everything() == before


def test_the_mode_of_the_integration_hears_it_and_may_refuse(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Heard] = []

    def hear(_ctx: Any, told: Heard) -> None:
        heard.append(told)
        if b"forged" in told.body:
            raise ApiError("forbidden", "The signature does not fit")

    monkeypatch.setattr(mode_of("OAUTH2"), "hear", hear)
    monkeypatch.setitem(ROOMS, "OAUTH2", replace(ROOMS["OAUTH2"], hears=True))
    uuid = world.seeded.environment.uuid
    sent = {"raw": b"{}", "headers": {"X-Signature": "s"}}
    assert send(world, uuid, "rot?a=1", **sent).status == 204
    assert send(world, uuid, "rot", raw=b"forged").code == "forbidden"
    assert send(world, uuid, "pat", raw=b"forged").status == 204  # another mode's
    told = heard[0]
    assert (told.integration.unique_key, told.provider.id) == ("rot", "rotating")
    assert (told.environment.uuid, told.body, told.query) == (uuid, b"{}", {"a": "1"})
    assert told.headers["x-signature"] == "s"
    assert "s" not in repr(told).removeprefix("Heard")
    assert len(heard) == 2


def test_what_is_too_large_is_refused(world: World) -> None:
    large = send(world, world.seeded.environment.uuid, "rot", raw=b"x" * 1_100_000)
    assert (large.status, large.code) == (413, "request_too_large")


def test_an_address_that_names_nothing_says_what_it_lacks(world: World) -> None:
    uuid = world.seeded.environment.uuid
    nobody = send(world, "11111111-1111-4111-8111-111111111111", "rot")
    assert (nobody.status, nobody.json()) == (404, {"error": {"code": "unknown_environment"}})
    nothing = send(world, uuid, "nope")
    assert (nothing.status, nothing.json()) == (404, {"error": {"code": "unknown_provider_config"}})
    number = send(world, str(world.seeded.environment.number), "rot")
    assert (number.status, number.code) == (400, "invalid_uri_params")
    assert number.issues == [("invalid_format", ["environmentUuid"])]
    assert send(world, uuid, "a%00b").issues == [("invalid_format", ["providerConfigKey"])]


def test_another_environments_integration_is_not_found_by_this_address(world: World) -> None:
    other = World(of=world, environment="env2")
    claim_names(world.ctx, other.seeded.environment)
    other.integration("theirs", "untried")
    assert send(world, other.seeded.environment.uuid, "theirs").status == 204
    assert send(world, world.seeded.environment.uuid, "theirs").code == "unknown_provider_config"


def test_an_environment_that_is_removed_is_unknown_at_once(world: World) -> None:
    environment = world.seeded.environment
    assert send(world, environment.uuid, "rot").status == 204  # remembered from now on
    removal._shut(world.ctx, environments.required(world.ctx, environment.id))
    assert send(world, environment.uuid, "rot").code == "unknown_environment"
    world.ctx.clock.advance(inbound.CACHE_SECONDS + 1)
    assert send(world, environment.uuid, "rot").code == "unknown_environment"


def test_an_address_is_looked_up_once_in_a_while(world: World) -> None:
    uuid = world.seeded.environment.uuid
    asked: list[str] = []
    query = world.ctx.store.query

    def counting(table: str, pk: str, **options: Any) -> Any:
        asked.append(pk)
        return query(table, pk, **options)

    world.ctx.store.query = counting
    for _ in range(3):
        assert send(world, uuid, "rot").status == 204
    assert asked == ["account"]
    world.ctx.clock.advance(inbound.CACHE_SECONDS + 1)
    assert send(world, uuid, "rot").status == 204
    assert asked == ["account", "account"]
