"""Choosing what to connect, and the fields of its form."""

import pytest
from playwright.sync_api import expect

from tests.browser.surfaces import embed, heading, link, told

pytestmark = pytest.mark.full


def test_several_integrations_are_listed_with_initials_on_a_colour(page, stub):
    stub.offered = ["github", "zendesk", "basic"]
    link(page, stub)
    expect(heading(page)).to_have_text("Choose what to connect")
    rows = page.get_by_role("listitem")
    expect(rows).to_have_count(3)
    expect(rows.nth(0).locator(".logo")).to_have_text("G")
    expect(rows.nth(0).locator(".logo")).to_have_css("color", "rgb(255, 255, 255)")
    expect(rows.nth(0).locator(".logo")).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")
    expect(rows.nth(2).locator(".logo")).to_have_text("OF")
    assert page.get_by_role("searchbox").count() == 0
    rows.nth(1).get_by_role("button").click()
    expect(heading(page)).to_have_text("Connect Zendesk")
    page.get_by_role("button", name="Back to the list").click()
    expect(rows).to_have_count(3)


def test_one_integration_of_an_open_session_is_still_a_choice(page, stub):
    stub.allowed = []
    link(page, stub)
    expect(heading(page)).to_have_text("Choose what to connect")


def test_many_integrations_can_be_searched(page, stub):
    stub.offered = ["github", "zendesk", "stripe", "basic", "open", "jwt", "zendesk", "zendesk"]
    link(page, stub)
    page.get_by_role("searchbox").fill("strip")
    expect(page.get_by_role("listitem")).to_have_count(1)
    page.get_by_role("searchbox").fill("zzz")
    expect(page.get_by_text("Nothing matches")).to_be_visible()


def test_fields_follow_the_provider_and_reach_the_api(page, stub):
    stub.offered = ["zendesk"]
    link(page, stub)
    expect(page.locator("label")).to_have_count(4)
    labels = page.locator("label").all_inner_texts()
    assert [label.split(" (")[0] for label in labels] == ["Subdomain", "Region", "Note", "E-mail"]
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_text("Subdomain is needed.")).to_be_visible()
    expect(page.get_by_label("Subdomain")).to_be_focused()
    page.get_by_label("Subdomain").fill("Not Right")
    expect(page.get_by_text("Subdomain does not look right. Example: acme")).to_be_visible()
    page.get_by_label("Subdomain").fill(" https://acme.zendesk.com/ ")
    page.get_by_label("Region").select_option("eu")
    page.get_by_label("E-mail").fill("nobody")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_text("E-mail must be an e-mail address.")).to_be_visible()
    page.get_by_label("E-mail").fill("")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect").click()
    opened.value.wait_for_selector("#go")
    query = stub.called("/oauth/connect/zendesk-prod")[0].query
    assert {name: value for name, value in query.items() if name.startswith("params")} == {
        "params[subdomain]": "acme",
        "params[region]": "eu",
        "params[audience]": "api",
    }


def test_what_the_session_settles_is_not_asked(page, stub):
    stub.offered = ["zendesk"]
    stub.session["integrations_config_defaults"] = {
        "zendesk-prod": {"connection_config": {"subdomain": "acme"}}
    }
    link(page, stub)
    expect(page.get_by_label("Region")).to_be_visible()
    assert page.get_by_label("Subdomain").count() == 0


def test_numbered_fields_come_first_whether_they_are_built_in_or_not(page, stub):
    stub.offered = ["ordered"]
    link(page, stub)
    expect(page.locator("label")).to_have_count(4)
    labels = [label.split(" (")[0] for label in page.locator("label").all_inner_texts()]
    assert labels == ["First", "Second", "Key", "Plain"]


def test_what_cannot_be_connected_is_not_listed(page, stub):
    stub.offered = ["github", "jwt", "stripe"]
    stub.unconnectable = {"jwt"}
    link(page, stub)
    expect(page.get_by_role("listitem")).to_have_count(2)
    assert page.get_by_text("Signed").count() == 0


def test_a_mode_that_is_not_there_yet_is_named(page, stub):
    stub.offered = ["jwt"]
    link(page, stub)
    expect(heading(page)).to_have_text("Signed cannot be connected here yet")


def test_everything_can_be_done_with_the_keyboard(page, stub):
    stub.offered = ["stripe", "github"]
    frame = embed(page, stub)
    expect(heading(frame)).to_have_text("Choose what to connect")
    expect(heading(frame)).to_be_focused()
    page.keyboard.press("Tab")
    expect(frame.get_by_role("button", name="Stripe")).to_be_focused()
    page.keyboard.press("Enter")
    expect(frame.get_by_label("Secret key", exact=True)).to_be_focused()
    page.keyboard.type("sk_1")
    page.keyboard.press("Enter")
    expect(heading(frame)).to_have_text("Connected")
    expect(frame.get_by_role("button", name="Finish")).to_be_focused()
    page.keyboard.press("Enter")
    assert told(page, "close") == {"type": "close"}


def test_what_the_integration_fixes_is_not_asked_for(page, stub):
    stub.offered = ["zendesk"]
    stub.fixed = ["subdomain"]
    link(page, stub)
    expect(page.get_by_label("Region")).to_be_visible()
    assert page.get_by_label("Subdomain").count() == 0
