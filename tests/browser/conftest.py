"""A real browser, and the stub of the API for it to talk to."""

import pytest
from playwright.sync_api import sync_playwright

from tests import chromium
from tests.browser.stub import Served, Stub, free_port


@pytest.fixture(scope="session")
def _stub():
    stub = Stub()
    served = Served(stub.app(), stub.port)
    host_port = free_port()
    host = Served(stub.app(), host_port)
    stub.host = f"http://127.0.0.1:{host_port}"
    yield stub
    served.stop()
    host.stop()


@pytest.fixture
def stub(_stub):
    _stub.reset()
    return _stub


@pytest.fixture(scope="module")
def browser():
    # Not longer than a module: while Playwright runs, no other test may start an event loop.
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1000, "height": 760})
    context.set_default_timeout(chromium.WAIT_MS)
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on(
        "console",
        lambda message: (
            page.problems.append(message.text)
            if message.type == "error" and "Failed to load resource" not in message.text
            else None
        ),
    )
    yield page
    context.close()
    assert page.problems == []
