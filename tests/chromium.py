"""How tests start Chromium."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
_ARGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# Long, since it passes only when something is broken, or the machine is busy with other things.
WAIT_MS: Final = 30_000
expect.set_options(timeout=WAIT_MS)


def launch(playwright: Playwright) -> Browser:
    """Start the Chromium of this machine; the variable CHROMIUM names another one."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, "These tests need Chromium: install it, or name it in CHROMIUM"
    return playwright.chromium.launch(executable_path=found, args=list(_ARGS))
