"""What the activity tells of tokens that will give trouble later."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from keystow.clock import iso
from tests.authorization_server import DEFINITION, answer
from tests.integration.authorization.popup import World, make_world


def messages(world: World) -> list[dict[str, Any]]:
    first = world.app.get("/activity?type=auth").json()["data"][0]
    return list(world.app.get(f"/activity/{first['id']}").json()["data"]["messages"])


def warnings(world: World) -> list[str]:
    world.connected()
    return [each["message"] for each in messages(world) if each["level"] == "warn"]


def test_a_new_connection_has_the_end_that_introspection_tells() -> None:
    entry = {**DEFINITION, "introspection": {"url": "https://rotating.example/introspect"}}
    world = make_world(entry)
    world.provider.life = None
    ends = int(world.ctx.clock.now()) + 7_200
    world.provider.introspection = lambda: answer(200, {"active": True, "exp": ends})
    found = world.read(world.connected()).json()["credentials"]
    assert found["expires_at"][:19] == iso(ends)[:19]


def test_an_end_that_nobody_knows_is_told_when_a_connection_is_made() -> None:
    world = make_world()
    world.provider.life = None
    (text,) = warnings(world)
    assert text.startswith("Nobody knows when the token ends")


@pytest.mark.parametrize(("entry", "told"), [({}, True), ({"no_refresh_token": True}, False)])
def test_a_missing_refresh_token_is_told_unless_the_entry_says_that_there_is_none(
    entry, told
) -> None:
    world = make_world({**DEFINITION, **entry})
    world.provider.extra = {"refresh_token": None}
    assert any("no refresh token came" in each for each in warnings(world)) is told


def test_a_token_with_an_end_and_a_refresh_token_brings_no_remark() -> None:
    assert warnings(make_world()) == []


@pytest.mark.parametrize("junk", [1, 60_000])
def test_a_grant_is_kept_though_its_answer_is_too_large_to_be_stored(junk: int) -> None:
    world = make_world()
    digest = "".join(sha256(str(n).encode()).hexdigest() for n in range(14_000 // junk + 1))
    world.provider.extra = {**{f"junk{n}": digest + str(n) for n in range(junk)}, "kept": [1]}
    found = world.read(world.connected()).json()["credentials"]
    assert (found["access_token"], found["refresh_token"]) == ("at-1", "rt-1")
    assert len(str(found["raw"])) < 600_000
    if junk == 1:
        assert found["raw"]["kept"] == [1]
        assert found["raw"]["access_token"] == "at-1"
