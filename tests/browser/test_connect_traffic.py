"""What a visit of the Connect UI costs: requests, bytes on the wire, what the cache spares."""

import re
import zlib

import pytest
from playwright.sync_api import expect

from keystow.pages import bundle
from tests.browser.stub import TOKEN
from tests.browser.surfaces import embed, heading, link
from tests.browser.wire import Wire

pytestmark = pytest.mark.full
DOCUMENT = "/ui/connect/"
SESSION = "/connect/session"


MOST_BYTES = 25_000


def pages(asked):
    return [each for each in asked if each.url.startswith("/ui/")]


@pytest.fixture
def wire(page, stub):
    return Wire(page, stub.url)


def connect(page, stub, wire, *, embedded):
    """Open the page and press Connect; return what it asked for until the provider's page."""
    surface = embed(page, stub) if embedded else link(page, stub)
    with page.expect_popup() as opened:
        surface.get_by_role("button", name="Connect").click()
    opened.value.wait_for_selector("#go")
    asked = wire.take()
    opened.value.close()
    return asked


@pytest.mark.parametrize("embedded", [False, True])
def test_two_requests_lead_to_the_provider_and_the_second_time_one(page, stub, wire, embedded):
    first = connect(page, stub, wire, embedded=embedded)
    assert [each.url.split("?")[0] for each in first] == [DOCUMENT, SESSION]
    assert [each.cached for each in first] == [False, False]
    assert sum(each.size for each in first) <= MOST_BYTES
    page.goto(f"{stub.host}/opener")
    wire.take()
    document, session = connect(page, stub, wire, embedded=embedded)
    assert (document.cached, document.size) == (True, 0)
    assert session.url.startswith(SESSION)
    assert session.size < 3_000
    # The sign-in window itself: one request that ends at the provider's page.
    assert len(stub.called("/oauth/connect/")) == 2


def test_a_list_of_ten_is_two_requests_too_and_so_is_choosing_from_it(page, stub, wire):
    stub.offered = ["zendesk", "stripe", "basic", "ordered", "client", *["github"] * 5]
    link(page, stub)
    expect(page.get_by_role("listitem")).to_have_count(10)
    page.get_by_role("button", name="Zendesk").click()
    expect(heading(page)).to_have_text("Connect Zendesk")
    page.wait_for_load_state("networkidle")
    asked = wire.take()
    assert [each.url.split("?")[0] for each in asked] == [DOCUMENT, SESSION]
    assert sum(each.size for each in asked) <= MOST_BYTES


def test_a_definition_that_did_not_come_along_is_asked_for_when_it_is_chosen(page, stub, wire):
    stub.offered = ["stripe", "zendesk"]
    stub.forms = 1
    link(page, stub)
    page.get_by_role("button", name="Zendesk").click()
    expect(heading(page)).to_have_text("Connect Zendesk")
    assert [each.url.split("?")[0] for each in wire.take()][2:] == ["/providers/zendesk"]


def test_another_session_or_theme_in_the_address_does_not_load_it_again(page, stub, wire):
    link(page, stub)
    expect(heading(page)).to_have_text("Connect GitHub")
    wire.take()
    page.goto(f"{stub.url}/ui/connect/?session_token={TOKEN[:-1]}0&theme=dark")
    expect(heading(page)).to_have_text("This session has ended")
    (again,) = pages(wire.take())
    assert again.cached
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_when_its_time_is_over_the_page_is_asked_for_and_not_sent_again(
    page, stub, wire, monkeypatch
):
    monkeypatch.setattr(stub.ui, "FRESH_SECONDS", 0)
    link(page, stub)
    expect(heading(page)).to_have_text("Connect GitHub")
    wire.take()
    page.goto(f"{stub.host}/opener")
    link(page, stub)
    expect(heading(page)).to_have_text("Connect GitHub")
    (again,) = pages(wire.take())
    assert not again.cached
    assert 0 < again.size < 1_500


def test_a_list_asks_for_no_picture(page, stub, wire):
    stub.offered = ["github", "zendesk", "stripe", "basic", "open"]
    link(page, stub)
    expect(page.get_by_role("listitem")).to_have_count(5)
    page.wait_for_load_state("networkidle")
    assert len(pages(wire.take())) == 1


def test_a_logo_of_ones_own_is_loaded_from_our_own_origin(page, stub, wire):
    stub.logos = "images/logos"
    stub.offered = ["github", "basic"]
    link(page, stub)
    expect(page.get_by_role("listitem").nth(0).locator("img")).to_be_visible()
    expect(page.get_by_role("listitem").nth(1).locator(".logo")).to_have_text("OF")
    assert sum(each.url.startswith("/images/") for each in wire.take()) == 2


@pytest.mark.parametrize("kind", ["success", "plain"])
def test_the_callback_page_is_one_request(page, stub, wire, kind):
    page.goto(f"{stub.url}/pages/{kind}")
    page.wait_for_load_state("networkidle")
    assert [each.url for each in wire.take()] == [f"/pages/{kind}"]


def test_a_client_without_compression_gets_the_same_page(page, stub):
    plain = page.request.get(f"{stub.url}/ui/connect/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.body() == stub.ui.PAGE.plain
    assert zlib.decompress(stub.ui.PAGE.packed, 31) == stub.ui.PAGE.plain


def test_no_module_has_a_name_that_the_browser_has_too(page, stub):
    # All modules share one scope: who means the browser's would get the other module's.
    page.goto(f"{stub.url}/opener")
    ours = sorted(bundle.names(stub.ui.modules()))
    assert len(ours) > 100
    assert page.evaluate("(names) => names.filter((name) => name in window)", ours) == []


def test_the_page_holds_nothing_of_the_deployment_or_the_visitor(stub):
    text = stub.ui.PAGE.plain.decode()
    assert not re.search(r"127\.0\.0\.1|session_[a-f0-9]{10}|\{\{", text)
