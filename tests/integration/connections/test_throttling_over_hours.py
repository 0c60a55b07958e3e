"""Hours of refusals: one account that is refused always, and a host that refuses everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystow.clock import iso
from keystow.refresh import sweep, throttle
from tests.authorization_server import answer
from tests.integration.connections.world import World

if TYPE_CHECKING:
    from keystow.egress.client import Answer

LIFE = 3_600
HOURS = 8
HEALTHY = 12


class ByAccount:
    """A token endpoint that refuses some accounts, known by their refresh tokens."""

    def __init__(self, patience: str | None) -> None:
        self.patience = {} if patience is None else {"retry-after": patience}
        self.asked: list[bool] = []  # whether each request was granted

    def send(self, _method: str, _url: str, *, body: bytes, **_request: Any) -> Answer:
        self.asked.append(b"rt-bad" not in body)
        if not self.asked[-1]:
            return answer(429, {}, self.patience)
        token = {"access_token": f"at-{len(self.asked)}", "refresh_token": "rt"}
        return answer(200, {**token, "expires_in": LIFE, "token_type": "bearer"})


def connect(world: World, name: str, refresh_token: str) -> None:
    credentials = {
        "type": "OAUTH2",
        "access_token": "at-0",
        "refresh_token": refresh_token,
        "expires_at": iso(world.ctx.clock.now() + LIFE),
    }
    world.imported(name, "rot", credentials=credentials)


def read(world: World, name: str, query: str = "") -> bool:
    return world.read(name, "rot", query).status == 200


@pytest.mark.parametrize(
    ("patience", "forced", "bad"),
    [
        ("3600", False, ["bad"]),
        ("3600", True, ["bad"]),
        (None, True, ["bad"]),
        ("3600", True, ["bad0", "bad1", "bad2"]),
    ],
)
def test_accounts_that_are_refused_always_do_not_hold_up_the_others(
    patience: str | None, forced: bool, bad: list[str]
) -> None:
    world = World()
    host = world.ctx.egress = ByAccount(patience)
    healthy = [f"c{number}" for number in range(HEALTHY)]
    for name in healthy:
        connect(world, name, "rt")
    for name in bad:
        connect(world, name, "rt-bad")
    refused = reads = 0
    for minute in range(HOURS * 60):
        world.ctx.clock.advance(60)
        sweep.sweep(world.ctx)
        assert world.work() == []
        if forced:
            for name in bad:
                read(world, name, "&force_refresh=true")
        if minute % 10 == 0:
            reads += HEALTHY
            refused += sum(not read(world, name) for name in healthy)
    assert refused / reads <= 0.03
    assert host.asked.count(False) <= len(bad) * (HOURS + 4)


@pytest.mark.parametrize(("patience", "most"), [("3600", 50), (None, 150)])
def test_a_host_that_refuses_everybody_gets_few_requests(patience: str | None, most: int) -> None:
    world = World()
    host = world.ctx.egress = ByAccount(patience)
    names = [f"c{number}" for number in range(40)]
    for name in names:
        connect(world, name, "rt-bad")
    for minute in range(HOURS * 60):
        world.ctx.clock.advance(60)
        sweep.sweep(world.ctx)
        assert world.work() == []
        read(world, names[minute % len(names)])
        read(world, names[-minute % len(names)], "&force_refresh=true")
    assert not any(host.asked)
    assert len(host.asked) <= most


def test_a_connection_that_was_refreshed_since_is_heard_again() -> None:
    world = World()
    connect(world, "c1", "rt-0")
    for _time in range(2):
        world.ctx.clock.advance(LIFE)
        world.provider.fault = lambda _number: answer(429, {})
        assert not read(world, "c1")
        until = throttle.paused_until(world.ctx, world.environment, "rotating.example")
        assert until == int(world.ctx.clock.now() + 15) * 1000
        world.provider.fault = None
        world.ctx.clock.advance(60)
        assert read(world, "c1")
