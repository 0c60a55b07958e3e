"""The local stack for tests: one for the session, on ports and in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.harness import RunningStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A running stack, started as `make run` starts it; it may run beside a user's own."""
    running = RunningStack(tmp_path_factory.mktemp("stack") / "local")
    running.start()
    yield running
    running.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests that use the stack in one xdist worker, so that only one is started."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.xdist_group("stack"))
