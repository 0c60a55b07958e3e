"""The demo page: connecting in both ways, and showing what becomes of a connection."""

import hashlib
import hmac
import json
import time
from types import SimpleNamespace

import httpx
import pytest
from playwright.sync_api import expect
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from local.demo import create_app
from local.demo.provider import start
from local.demo.provider_store import fingerprint
from tests.browser.stub import TOKEN, Served, Stub

pytestmark = pytest.mark.full
SIGNING = "signing-key"


class Shop(Stub):
    """The stub of the API with the demo app mounted on the same origin, as the gateway does."""

    def __init__(self, state_dir, provider_url):
        super().__init__()
        self.made = {}
        self.running = None
        stack = SimpleNamespace(
            api_url=self.url,
            websocket_url=self.url.replace("http", "ws"),
            connect_ui_url=f"{self.url}/ui/connect",
            demo_url=f"{self.url}/demo",
            demo_provider_url=provider_url,
            secret_key="11111111-2222-4333-8444-555555555555",
            webhook_signing_key=SIGNING,
            state_dir=state_dir,
            environment="dev",
        )
        self.demo = create_app(stack)

    async def session_for_user(self, _request):
        return JSONResponse({"data": {"token": TOKEN, "expires_at": "2030"}}, status_code=201)

    async def listing(self, _request):
        rows = [
            {"connection_id": key, "provider_config_key": kind, "created": f"2026-01-0{at + 1}"}
            for at, (key, (kind, _)) in enumerate(self.made.items())
        ]
        return JSONResponse({"connections": rows})

    async def connection(self, request):
        if request.method == "DELETE":
            del self.made[request.path_params["id"]]
            return JSONResponse({"success": True})
        return JSONResponse({"credentials": self.made[request.path_params["id"]][1]})

    def app(self):
        app = super().app()
        app.router.routes[:0] = [
            Mount("/demo", self.demo),
            Route("/connect/sessions", self.session_for_user, methods=["POST"]),
            Route("/connections", self.listing),
            Route("/connections/{id}", self.connection, methods=["GET", "DELETE"]),
        ]
        return app

    def webhook(self, body):
        text = json.dumps(body).encode()
        digest = hmac.new(SIGNING.encode(), text, hashlib.sha256).hexdigest()
        return httpx.post(
            f"{self.url}/demo/webhooks", content=text, headers={"x-nango-hmac-sha256": digest}
        )


def oauth_credential(seconds=110):
    ends = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + seconds))
    return "demo", {
        "type": "OAUTH2",
        "access_token": "demo_at_secret-middle-part-9xyz",
        "expires_at": ends,
        "raw": {"expires_in": 120},
    }


@pytest.fixture
def shop(tmp_path):
    provider = start(0, tmp_path / "provider")
    found = Shop(tmp_path, provider.url)
    found.running = provider
    served = Served(found.app(), found.port)
    yield found
    found.demo.stop()
    served.stop()
    provider.stop()


def test_a_connection_made_by_popup_appears_with_its_token_masked(page, shop):
    page.goto(f"{shop.url}/demo/")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect with a popup").click()
    opened.value.wait_for_selector("#go")
    shop.made["c-9"] = oauth_credential()
    opened.value.click("#go")
    expect(page.get_by_text("Connected: c-9")).to_be_visible()
    body = {"type": "auth", "operation": "creation", "success": True, "connectionId": "c-9"}
    assert shop.webhook(body).status_code == 200
    expect(page.get_by_text("Webhook: auth creation")).to_be_visible()
    expect(page.locator(".token")).to_have_text("demo_at_……9xyz")
    expect(page.locator(".left")).to_have_text(__import__("re").compile(r"^1[01]\d s$|^\d\d s$"))
    assert "secret-middle-part" not in page.content()


def test_the_connect_ui_opens_over_the_page_and_closes_again(page, shop):
    shop.offered = ["stripe"]
    page.goto(f"{shop.url}/demo/")
    page.get_by_role("button", name="Connect with an API key").click()
    frame = page.frame_locator("#connect-ui")
    frame.get_by_label("Secret key", exact=True).fill("sk_1")
    frame.get_by_role("button", name="Connect").click()
    frame.get_by_role("button", name="Finish").click()
    expect(page.get_by_text("Connected: c-1")).to_be_visible()
    expect(page.locator("#connect-ui")).to_have_count(0)


def test_a_connection_can_be_deleted(page, shop):
    shop.made["c-1"] = oauth_credential()
    page.goto(f"{shop.url}/demo/")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nothing is connected yet")).to_be_visible()
    expect(page.locator("#told")).to_have_text("Deleted: c-1")
    assert shop.made == {}


def test_using_and_refreshing_say_what_came_of_them(page, shop):
    shop.made["c-1"] = oauth_credential()
    page.goto(f"{shop.url}/demo/")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#told")).to_have_text("Used c-1…: the provider answered 401")
    page.get_by_role("button", name="Refresh now").click()
    expect(page.locator("#told")).to_contain_text("Refreshed less than 10 s ago")
    shop.made["c-1"][1]["access_token"] = "demo_at_another-token"
    page.get_by_role("button", name="Refresh now").click()
    expect(page.locator("#told")).to_have_text("Refreshed: c-1")


def test_a_click_is_not_lost_when_its_card_changes_meanwhile(page, shop):
    shop.made["c-1"] = oauth_credential()
    page.goto(f"{shop.url}/demo/")
    page.get_by_role("button", name="Delete").hover()
    page.mouse.down()
    shop.made["c-1"][1]["access_token"] = "demo_at_another-token"
    httpx.post(f"{shop.url}/demo/connections/c-1/refresh")
    expect(page.locator(".token")).to_have_text("demo_at_……oken")
    page.mouse.up()
    expect(page.locator("#told")).to_have_text("Deleted: c-1")


def test_a_reload_brings_refreshes_back_with_the_providers_own_time(page, shop):
    shop.made["c-1"] = oauth_credential()
    store = shop.running._app.extensions["demo_store"]
    token = shop.made["c-1"][1]["access_token"]
    ended = time.time() - 3600
    for grant in ("authorization_code", "refresh_token"):
        entry = store.begin_entry(grant)
        mark = fingerprint(token) if grant == "refresh_token" else "first"
        store.note(entry, ended=ended, outcome="ok", family="f", fingerprint=mark)
    for _ in range(2):
        page.goto(f"{shop.url}/demo/")
        expect(page.get_by_text("Token refreshed")).to_have_count(1)
        when = page.locator("#events li.refresh").get_attribute("data-when")
        assert float(when) == pytest.approx(ended, abs=0.01)


def test_a_refresh_counts_though_the_log_tells_late_whose_token_it_was(page, shop):
    shop.made["c-1"] = oauth_credential()
    page.goto(f"{shop.url}/demo/")
    expect(page.locator(".token")).to_have_text("demo_at_……9xyz")
    store = shop.running._app.extensions["demo_store"]
    first = fingerprint(shop.made["c-1"][1]["access_token"])
    for grant, mark in (("authorization_code", first), ("refresh_token", "next")):
        entry = store.begin_entry(grant)
        store.note(entry, ended=time.time(), outcome="ok", family="f", fingerprint=mark)
    expect(page.locator(".count")).to_have_text("1 time")
    expect(page.locator("#events li.refresh")).to_have_count(1)


def test_the_buttons_share_their_rows(page, shop):
    shop.made["c-1"] = oauth_credential()
    page.goto(f"{shop.url}/demo/")
    for width, row in ((1280, ".intro button"), (390, ".card button"), (320, ".card button")):
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.locator(row)).to_have_count(3)
        tops = page.locator(row).evaluate_all("all => all.map(one => one.offsetTop)")
        assert len(set(tops)) == 1, width


def test_the_address_without_a_slash_works_too(page, shop):
    page.goto(f"{shop.url}/demo")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_cut_off(page, shop, width):
    shop.made["c-1"] = oauth_credential()
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{shop.url}/demo/")
    expect(page.locator(".card")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
