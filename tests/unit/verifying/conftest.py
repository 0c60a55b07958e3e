"""The account and the network that every test here looks at."""

from __future__ import annotations

import pytest

from tests.unit.verifying.web import Web
from tests.unit.verifying.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def web(world: World, monkeypatch: pytest.MonkeyPatch) -> Web:
    from verify_aws import doors, watching

    found = Web(world)
    for module in (doors, watching):
        monkeypatch.setattr(module, "ask", found.ask)
    monkeypatch.setattr(doors, "first_frame", found.first_frame)
    return found
