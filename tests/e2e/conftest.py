"""The local stack for tests: one for the session, on ports and in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.harness import RunningStack
from tests.e2e import driving

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A running stack, started as `make run` starts it; it may run beside a user's own."""
    running = RunningStack(tmp_path_factory.mktemp("stack") / "local")
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    """A client of the stack's API with its secret key."""
    with driving.client(stack) as client:
        yield client


@pytest.fixture(scope="module")
def provider(
    stack: RunningStack,
    api: httpx.Client,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[driving.Provider]:
    """A provider of the module's own whose tokens live an hour."""
    name = f"own-{request.module.__name__.rpartition('.')[2].replace('_', '-')}"
    folder = tmp_path_factory.mktemp(name)
    callback = f"{stack.api_url}/oauth/callback"
    opened = driving.open_provider(api, folder, name, callback, access_life_s=3600)
    yield opened
    opened.http.close()
    opened.server.stop()


@pytest.fixture(scope="module")
def receiver() -> Iterator[driving.Receiver]:
    """A receiver of webhooks."""
    with driving.Receiver() as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests that use the stack in one xdist worker, so that only one is started."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.xdist_group("stack"))
