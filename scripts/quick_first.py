# ruff: noqa: INP001 - it is loaded by its name alone
"""A plugin of pytest for scripts/mutate: the tests that took least time come first.

The first test that notices a change is enough; the tool itself hands them over in any order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Sort the tests by the seconds that the tool has measured, when it has."""
    try:
        seconds = json.loads(Path("mutmut-stats.json").read_text())["duration_by_test"]
    except (OSError, ValueError, KeyError):
        return
    items.sort(key=lambda item: seconds.get(item.nodeid, 0))
