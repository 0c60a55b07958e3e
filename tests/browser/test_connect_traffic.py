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
OTHER = "nango_connect_session_" + "cd" * 32


def pages(asked):
    return [each for each in asked if each.url.startswith("/ui/")]


@pytest.fixture
def wire(page, stub):
    return Wire(page, stub.url)


@pytest.mark.parametrize("embedded", [False, True])
def test_the_page_is_one_request_and_none_the_second_time(page, stub, wire, embedded):
    surface = embed(page, stub) if embedded else link(page, stub)
    expect(heading(surface)).to_have_text("Connect GitHub")
    (first,) = pages(wire.take())
    assert first.url.startswith(DOCUMENT)
    assert not first.cached
    page.goto(f"{stub.host}/opener")
    surface = embed(page, stub) if embedded else link(page, stub)
    expect(heading(surface)).to_have_text("Connect GitHub")
    (again,) = pages(wire.take())
    assert (again.cached, again.size) == (True, 0)


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
