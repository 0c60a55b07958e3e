"""Some providers renew a token in its last seconds only, and refuse it before."""

from __future__ import annotations

from keystow.refresh import sweep
from tests.authorization_server import DEFINITION
from tests.integration.connections.world import World

LIFE = 600


def world_of(buffer: int) -> World:
    world = World()
    entry = {**DEFINITION, "token_expiration_buffer": buffer}
    assert world.app.put("/providers/rotating", entry).status == 200
    world.provider.life = LIFE
    world.rotating("c1", expires_in=LIFE)
    return world


def token(world: World) -> str:
    return str(world.read("c1", "rot").json()["credentials"]["access_token"])


def test_a_token_with_a_buffer_is_renewed_within_it_and_not_before() -> None:
    world = world_of(30)
    for number in range(3):
        secret = world.secret()
        assert secret.expires_at is not None
        assert secret.due_at is not None
        assert 10_000 <= secret.expires_at - secret.due_at <= 20_000
        world.ctx.clock.advance(LIFE - 31)
        assert token(world) == f"at-{number}", "a reader does not come too early either"
        world.ctx.clock.advance(2)
        assert token(world) == f"at-{number + 1}"


def test_a_buffer_that_an_entry_gets_later_counts_from_the_next_refresh_on() -> None:
    world = world_of(0)
    world.ctx.clock.advance(LIFE - 59)
    assert token(world) == "at-1"
    entry = {**DEFINITION, "token_expiration_buffer": 30}
    assert world.app.put("/providers/rotating", entry).status == 200
    world.ctx.clock.advance(LIFE - 31)
    assert token(world) == "at-2", "of the token before, nothing else was known"
    world.ctx.clock.advance(LIFE - 31)
    assert token(world) == "at-2"
    world.ctx.clock.advance(2)
    assert token(world) == "at-3"


def test_the_sweep_renews_a_token_with_a_buffer_before_it_ends() -> None:
    world = world_of(60)
    world.ctx.clock.advance(LIFE - 75)
    assert sweep.sweep(world.ctx) == 1
    (message, delay) = world.ctx.queues.refresh[-1]
    assert message["refresh"]
    assert delay >= 30


def test_a_buffer_of_many_minutes_does_not_make_readers_renew() -> None:
    world = world_of(300)
    world.ctx.clock.advance(LIFE - 299)
    assert token(world) == "at-0"
    world.ctx.clock.advance(240)
    assert token(world) == "at-1"
