"""Promise 1 in a real browser: the official browser client, the Connect UI and the demo page."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from tests import chromium
from tests.browser.wire import Wire
from tests.e2e import driving

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from playwright.sync_api import Browser, Page

    from local.harness import RunningStack

pytestmark = pytest.mark.full

CLIENT = Path(__file__).resolve().parents[1] / "clients/node_modules/@nangohq/frontend/dist"
MOST_BYTES = 25_000  # of ours, before the provider's page
PAGE = b"""<!doctype html><title>A customer's page</title><h1>A customer's page</h1>
<button>Connect</button><pre></pre>
<script type="module">
import Nango from './index.js';
window.events = [];
// What the promise became stands in `outcome`; the click is the gesture that popups need.
window.prepare = (config, work) => {
    const nango = new Nango(config);
    document.querySelector('button').onclick = () => {
        window.outcome = null;
        Promise.resolve(eval(work)(nango)).then(
            (value) => { window.outcome = { value }; },
            (error) => { window.outcome = { type: error.type, text: error.message }; });
    };
};
window.ready = true;
</script>"""


class Site(SimpleHTTPRequestHandler):
    """A customer's site: one page, and the official client as npm brings it."""

    extensions_map = {".js": "text/javascript", ".map": "application/json"}  # noqa: RUF012

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The origin of a customer's site; another one than Keystow's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(CLIENT)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not longer than a module: while Playwright runs, no other test may start an event loop.
    with sync_playwright() as playwright:
        running = chromium.launch(playwright)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 760})
    context.set_default_timeout(chromium.WAIT_MS)
    yield context.new_page()
    context.close()


class Customer:
    """A customer's page with the official client in it."""

    def __init__(self, page: Page, site: str, stack: RunningStack) -> None:
        self.page = page
        self._stack = stack
        page.goto(site)
        page.wait_for_function("window.ready")

    def prepare(self, token: str, work: str) -> None:
        """Make the button do this with a client of this session."""
        self.prepare_client({"connectSessionToken": token}, work)

    def prepare_client(self, given: dict[str, str], work: str) -> None:
        """Make the button do this with a client that is given this."""
        config = {"host": self._stack.api_url, **given}
        self.page.evaluate("([config, work]) => prepare(config, work)", [config, work])

    def click(self) -> None:
        self.page.locator("button").click()

    def popup(self) -> Page:
        """Click, and return the window that opens, at the provider."""
        with self.page.expect_popup() as opening:
            self.click()
        opening.value.wait_for_url("**/authorize**")
        return opening.value

    def outcome(self) -> dict[str, Any]:
        self.page.wait_for_function("window.outcome")
        return dict(self.page.evaluate("window.outcome"))

    def events(self, last: str) -> list[dict[str, Any]]:
        """What the Connect UI told the page, once an event of this type is among it."""
        self.page.wait_for_function("(type) => events.some((each) => each.type === type)", arg=last)
        return list(self.page.evaluate("window.events"))


@pytest.fixture
def customer(page: Page, site: str, stack: RunningStack) -> Customer:
    return Customer(page, site, stack)


def answer(popup: Page, label: str) -> None:
    with popup.expect_event("close"):
        popup.get_by_role("button", name=label).click()


def test_auth_resolves_when_the_account_is_connected(
    customer: Customer, api: httpx.Client, provider: driving.Provider
) -> None:
    customer.prepare(
        driving.session(api, provider.integration),
        f"(nango) => nango.auth('{provider.integration}', {{detectClosedAuthWindow: true}})",
    )
    answer(customer.popup(), "Approve")
    made = customer.outcome()["value"]
    assert made["providerConfigKey"] == provider.integration
    assert made["isPending"] is False
    found = driving.done(driving.read(api, provider.integration, made["connectionId"]))
    assert provider.works(found["credentials"]["access_token"])


def test_auth_rejects_when_access_is_denied(
    customer: Customer, api: httpx.Client, provider: driving.Provider
) -> None:
    customer.prepare(
        driving.session(api, provider.integration),
        f"(nango) => nango.auth('{provider.integration}')",
    )
    answer(customer.popup(), "Deny")
    outcome = customer.outcome()
    assert outcome["type"] == "callback_err"
    assert "access_denied" in outcome["text"]


def test_auth_rejects_when_the_window_is_closed(
    customer: Customer, api: httpx.Client, provider: driving.Provider
) -> None:
    customer.prepare(
        driving.session(api, provider.integration),
        f"(nango) => nango.auth('{provider.integration}', {{detectClosedAuthWindow: true}})",
    )
    customer.popup().close()
    assert customer.outcome()["type"] == "window_closed"


def test_auth_rejects_what_the_server_refuses_before_the_provider(
    customer: Customer, api: httpx.Client, provider: driving.Provider
) -> None:
    customer.prepare(driving.session(api, provider.integration), "(nango) => nango.auth('nope')")
    customer.click()
    assert customer.outcome()["type"]


@pytest.mark.parametrize(("key", "type_"), [("demo-key-ada-0001", None), ("demo-key-x", "failed")])
def test_auth_with_an_api_key_opens_no_window(
    customer: Customer, api: httpx.Client, key: str, type_: str | None
) -> None:
    customer.prepare(
        driving.session(api, "demo-api-key"),
        f"(nango) => nango.auth('demo-api-key', {{credentials: {{apiKey: '{key}'}}}})",
    )
    customer.click()
    outcome = customer.outcome()
    if type_ is not None:
        assert outcome["type"] == "connection_test_failed"
        return
    made = outcome["value"]
    assert made["providerConfigKey"] == "demo-api-key"
    found = driving.done(driving.read(api, "demo-api-key", made["connectionId"]))
    assert found["credentials"]["apiKey"] == key


def test_create_connects_what_needs_no_credential(customer: Customer, api: httpx.Client) -> None:
    body = {"provider": "unauthenticated", "unique_key": "open"}
    driving.done(api.post("/integrations", json=body))
    customer.prepare(driving.session(api, "open"), "(nango) => nango.create('open')")
    customer.click()
    made = customer.outcome()["value"]
    assert made["providerConfigKey"] == "open"
    found = driving.done(driving.read(api, "open", made["connectionId"]))
    assert found["credentials"] == {}


def test_reconnect_keeps_the_connection(
    stack: RunningStack, customer: Customer, api: httpx.Client, provider: driving.Provider
) -> None:
    made = driving.connect(stack, api, provider.integration)["connection_id"]
    before = driving.done(driving.read(api, provider.integration, made))
    body = {"connection_id": made, "integration_id": provider.integration}
    session = driving.done(api.post("/connect/sessions/reconnect", json=body))["data"]["token"]
    customer.prepare(session, f"(nango) => nango.reconnect('{provider.integration}')")
    answer(customer.popup(), "Approve")
    assert customer.outcome()["value"]["connectionId"] == made
    after = driving.done(driving.read(api, provider.integration, made))
    assert after["id"] == before["id"]
    assert after["credentials"]["access_token"] != before["credentials"]["access_token"]


HMAC_KEY = "a key that only the backend knows"


@pytest.fixture
def public_key(stack: RunningStack) -> Iterator[str]:
    """The public key of an environment that takes it."""
    with driving.client(stack, stack.keys["account_key"]) as account:
        (dev,) = driving.done(account.get("/environments?name=dev"))["data"]
        place = f"/environments/{dev['uuid']}"
        wish = {"hmac_enabled": True, "hmac_key": HMAC_KEY}
        driving.done(account.patch(place, json=wish))
        assert dev["public_key"] == stack.keys["public_key"]
        yield dev["public_key"]
        driving.done(account.patch(place, json={"hmac_enabled": False}))


def signed(integration: str, connection_id: str) -> str:
    """What a backend hands to its page."""
    text = f"{integration}:{connection_id}"
    return hmac.new(HMAC_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


def with_hmac(integration: str, connection_id: str, digest: str, **more: Any) -> str:
    """The call of the early guides."""
    options = {"hmac": digest, "detectClosedAuthWindow": True, **more}
    given = ", ".join(json.dumps(each) for each in (integration, connection_id, options))
    return f"(nango) => nango.auth({given})"


def test_auth_with_a_public_key_and_an_hmac_makes_the_connection_that_was_signed(
    customer: Customer, api: httpx.Client, provider: driving.Provider, public_key: str
) -> None:
    name, connection_id = provider.integration, "user@1"
    work = with_hmac(name, connection_id, signed(name, connection_id), user_scope=["a", "b"])
    for _made_and_authorized_anew in range(2):
        customer.prepare_client({"publicKey": public_key}, work)
        popup = customer.popup()
        assert "user_scope=a%2Cb" in popup.url
        answer(popup, "Approve")
        made = customer.outcome()["value"]
        assert (made["connectionId"], made["isPending"]) == (connection_id, False)
        found = driving.done(driving.read(api, name, connection_id))
        assert provider.works(found["credentials"]["access_token"])


def test_auth_with_a_public_key_and_a_typed_in_key_opens_no_window(
    customer: Customer, api: httpx.Client, public_key: str
) -> None:
    credentials = {"apiKey": "demo-key-ada-0001"}
    digest = signed("demo-api-key", "user@2")
    work = with_hmac("demo-api-key", "user@2", digest, credentials=credentials)
    customer.prepare_client({"publicKey": public_key}, work)
    customer.click()
    assert customer.outcome()["value"]["connectionId"] == "user@2"
    found = driving.done(driving.read(api, "demo-api-key", "user@2"))
    assert found["credentials"]["apiKey"] == credentials["apiKey"]


@pytest.mark.parametrize(("digest", "type_"), [("0" * 64, "invalid_hmac"), ("", "missing_hmac")])
def test_auth_with_a_public_key_rejects_what_the_backend_did_not_sign(
    customer: Customer, provider: driving.Provider, public_key: str, digest: str, type_: str
) -> None:
    customer.prepare_client(
        {"publicKey": public_key}, with_hmac(provider.integration, "user@3", digest)
    )
    customer.click()
    assert customer.outcome()["type"] == type_


def test_auth_with_a_public_key_rejects_where_it_is_not_switched_on(
    customer: Customer, stack: RunningStack, provider: driving.Provider
) -> None:
    name = provider.integration
    key = {"publicKey": stack.keys["public_key"]}
    customer.prepare_client(key, with_hmac(name, "user@4", signed(name, "user@4")))
    customer.click()
    assert customer.outcome()["type"] == "deprecated_authentication"


OPEN = """(nango) => {{
    const ui = nango.openConnectUI({{
        baseURL: {base}, apiURL: {api}, onEvent: (event) => window.events.push(event), {more} }});
    ui.setSessionToken({token});
}}"""


def open_interface(customer: Customer, stack: RunningStack, token: str, more: str = "") -> Any:
    """Open the Connect UI as a customer's page does, and return its frame."""
    work = OPEN.format(
        base=json.dumps(stack.info.connect_ui_url),
        api=json.dumps(stack.api_url),
        token=json.dumps(token),
        more=more,
    )
    customer.prepare(token, work)
    customer.click()
    return customer.page.frame_locator("#connect-ui")


def test_the_connect_ui_tells_the_page_what_happens(
    stack: RunningStack, customer: Customer, api: httpx.Client, provider: driving.Provider
) -> None:
    frame = open_interface(customer, stack, driving.session(api, provider.integration))
    with customer.page.expect_popup() as opening:
        frame.get_by_role("button", name="Connect", exact=True).click()
    answer(opening.value, "Approve")
    frame.get_by_role("button", name="Finish").click()
    events = customer.events("close")
    assert [each["type"] for each in events] == ["ready", "connect", "close"]
    made = events[1]["payload"]
    assert made["providerConfigKey"] == provider.integration
    assert driving.read(api, provider.integration, made["connectionId"]).status_code == 200
    expect(customer.page.locator("#connect-ui")).to_have_count(0)


def test_the_connect_ui_takes_two_requests_to_the_provider_and_one_the_second_time(
    stack: RunningStack, page: Page, site: str, api: httpx.Client, provider: driving.Provider
) -> None:
    visits = []
    for _visit in range(2):
        customer = Customer(page, site, stack)
        wire = Wire(page, stack.api_url)
        frame = open_interface(customer, stack, driving.session(api, provider.integration))
        with page.expect_popup() as opening:
            frame.get_by_role("button", name="Connect", exact=True).click()
        opening.value.wait_for_url("**/authorize**")
        # On a busy machine a socket may greet after three seconds; then the status is asked for.
        late = "/connect/session/status"
        asked = [each for each in wire.take() if not each.cached and each.url != late]
        visits.append(asked)
        answer(opening.value, "Approve")
        customer.events("connect")
    paths = [[each.url.split("?")[0] for each in visit] for visit in visits]
    assert paths == [["/ui/connect/", "/connect/session"], ["/connect/session"]]
    assert sum(each.size for each in visits[0]) <= MOST_BYTES
    assert sum(each.size for each in visits[1]) <= 1_500


def test_the_connect_ui_tells_of_a_refusal_and_lets_one_try_again(
    stack: RunningStack, customer: Customer, api: httpx.Client
) -> None:
    frame = open_interface(customer, stack, driving.session(api, "demo-api-key"))
    frame.get_by_label("API key", exact=True).fill("demo-key-wrong")
    frame.get_by_role("button", name="Connect", exact=True).click()
    expect(frame.get_by_role("alert")).to_be_visible()
    frame.get_by_label("API key", exact=True).fill("demo-key-ada-0001")
    frame.get_by_role("button", name="Connect", exact=True).click()
    expect(frame.get_by_role("heading", name="Connected")).to_be_visible()
    kinds = [each["type"] for each in customer.events("connect")]
    assert kinds == ["ready", "error", "connect"]


def test_the_connect_ui_reconnects_a_connection(
    stack: RunningStack, customer: Customer, api: httpx.Client, provider: driving.Provider
) -> None:
    made = driving.connect(stack, api, provider.integration)["connection_id"]
    body = {"connection_id": made, "integration_id": provider.integration}
    session = driving.done(api.post("/connect/sessions/reconnect", json=body))["data"]["token"]
    frame = open_interface(customer, stack, session)
    with customer.page.expect_popup() as opening:
        frame.get_by_role("button", name="Reconnect", exact=True).click()
    answer(opening.value, "Approve")
    (told,) = (each for each in customer.events("connect") if each["type"] == "connect")
    assert told["payload"]["connectionId"] == made


def test_a_connect_link_opens_in_a_tab_of_its_own(
    page: Page, api: httpx.Client, provider: driving.Provider
) -> None:
    body = {"end_user": {"id": "u-2"}, "allowed_integrations": [provider.integration]}
    made = driving.done(api.post("/connect/sessions", json=body))["data"]
    page.goto(made["connect_link"])
    expect(page.get_by_role("button", name="Connect", exact=True)).to_be_visible()
    assert made["token"] not in page.url
    with page.expect_popup() as opening:
        page.get_by_role("button", name="Connect", exact=True).click()
    answer(opening.value, "Approve")
    expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    listed = driving.done(api.get("/connections", params={"endUserId": "u-2"}))["connections"]
    assert [each["provider_config_key"] for each in listed] == [provider.integration]


def test_the_demo_page_shows_a_connection_its_refresh_and_its_webhook(
    stack: RunningStack, page: Page, api: httpx.Client
) -> None:
    page.goto(stack.info.demo_url)
    with page.expect_popup() as opening:
        page.get_by_role("button", name="Connect with a popup").click()
    answer(opening.value, "Approve")
    expect(page.get_by_text("Connected:")).to_be_visible()
    made = page.locator("#told").inner_text().removeprefix("Connected: ")
    card = page.locator(f"[data-id='{made}']")
    expect(card.get_by_text("working")).to_be_visible()
    token = driving.done(driving.read(api, "demo", made))["credentials"]["access_token"]
    masked = card.locator(".token")
    expect(masked).not_to_have_text("—")
    assert token not in page.content()
    before = masked.inner_text()
    webhook = page.locator("#events li.webhook", has_text=made[:8])
    expect(webhook).to_contain_text("signature verified")
    card.get_by_role("button", name="Refresh now").click()
    expect(card.locator(".count")).to_contain_text("1 time")
    expect(masked).not_to_have_text(before)
    expect(page.locator("#events li.refresh", has_text=made[:8])).to_be_visible()
    card.get_by_role("button", name="Use it").click()
    expect(card.locator(".answer")).to_contain_text("200: Ada Lovelace")
    card.get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)
