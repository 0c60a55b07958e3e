"""A callback on a domain of the customer's own that sends browsers on with 308, in a browser."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from tests import chromium
from tests.e2e import driving

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from playwright.sync_api import Page

    from local.harness import RunningStack

pytestmark = pytest.mark.full

NAME = "moved"


class Domain(ThreadingHTTPServer):
    """The customer's domain; another site than Keystow's, so no cookie of one is the other's."""

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), Moved)
        self.daemon_threads = True
        self.target = target
        self.seen: list[str] = []

    @property
    def callback(self) -> str:
        return f"http://localhost:{self.server_address[1]}/integrations/callback"


class Moved(BaseHTTPRequestHandler):
    """Answers 308 to Keystow's callback, with what stands below and the query."""

    server: Domain

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        below = self.path.removeprefix("/integrations/callback")
        self.send_response(308)
        self.send_header("location", f"{self.server.target}{below}")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def domain(stack: RunningStack) -> Iterator[Domain]:
    server = Domain(f"{stack.api_url}/oauth/callback")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def there(stack: RunningStack, domain: Domain) -> Iterator[httpx.Client]:
    """A client of an environment whose callback is on that domain."""
    with driving.client(stack, stack.keys["account_key"]) as account:
        body = {"name": NAME, "callback_url": domain.callback}
        uuid = driving.done(account.post("/environments", json=body))["data"]["uuid"]
        place = f"/environments/{uuid}"
        key = driving.done(account.post(f"{place}/api-keys", json={"display_name": NAME}))
        with driving.client(stack, key["data"]["secret"]) as client:
            yield client
        account.delete(place)


@pytest.fixture(scope="module")
def at(
    there: httpx.Client, domain: Domain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[driving.Provider]:
    folder = tmp_path_factory.mktemp(NAME)
    opened = driving.open_provider(there, folder, NAME, domain.callback, access_life_s=3600)
    yield opened
    opened.http.close()
    opened.server.stop()


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        running = chromium.launch(playwright)
        # The demo provider's page lets its form lead to the registered origin only, as some
        # providers' do (docs/aws.md); this one shall not.
        context = running.new_context(bypass_csp=True)
        context.set_default_timeout(chromium.WAIT_MS)
        yield context.new_page()
        running.close()


def test_state_code_and_cookie_survive_the_way_over_another_site(
    stack: RunningStack, there: httpx.Client, domain: Domain, at: driving.Provider, page: Page
) -> None:
    shown = driving.done(there.get(f"/integrations/{NAME}"))["data"]
    assert shown["callback_url"] == domain.callback
    token = driving.session(there, NAME)
    page.goto(f"{stack.api_url}/oauth/connect/{NAME}?connect_session_token={token}")
    asked = parse_qs(urlsplit(page.url).query)
    assert asked["redirect_uri"] == [domain.callback]
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("h1")).to_contain_text("connected", ignore_case=True)
    assert page.url.startswith(stack.api_url)
    assert len(domain.seen) == 1
    assert {"state", "code"} <= parse_qs(urlsplit(domain.seen[0]).query).keys()
    status = there.get("/connect/session/status", headers={"authorization": f"Bearer {token}"})
    made = driving.done(status)["data"]
    assert made["status"] == "connected"
    found = driving.done(driving.read(there, NAME, made["connection_id"]))
    assert at.works(found["credentials"]["access_token"])
