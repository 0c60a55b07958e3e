"""Back, Forward and reloads."""

import pytest
from playwright.sync_api import expect

from tests.browser.stub import TOKEN
from tests.browser.surfaces import embed, heading, link

pytestmark = pytest.mark.full


def test_a_reloaded_link_goes_on_where_it_was(page, stub):
    link(page, stub)
    expect(heading(page)).to_have_text("Connect GitHub")
    page.reload()
    expect(heading(page)).to_have_text("Connect GitHub")
    assert "session_token" not in page.url
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_every_screen_has_one_entry_of_the_history(page, stub):
    stub.offered = ["github", "zendesk", "stripe"]
    page.goto(f"{stub.url}/opener")
    link(page, stub)
    expect(heading(page)).to_have_text("Choose what to connect")
    page.get_by_role("button", name="Stripe").click()
    expect(heading(page)).to_have_text("Connect Stripe")
    page.reload()
    expect(heading(page)).to_have_text("Connect Stripe")
    page.go_back()
    expect(heading(page)).to_have_text("Choose what to connect")
    page.get_by_role("button", name="Zendesk").click()
    expect(heading(page)).to_have_text("Connect Zendesk")
    page.get_by_role("button", name="Back to the list").click()
    expect(heading(page)).to_have_text("Choose what to connect")
    page.go_forward()
    expect(heading(page)).to_have_text("Connect Zendesk")
    page.go_back()
    page.go_back()
    expect(heading(page)).to_have_text("Opener")
    page.go_forward()
    expect(heading(page)).to_have_text("Choose what to connect")


def test_what_was_typed_is_there_after_going_back_and_forward(page, stub):
    stub.offered = ["github", "stripe"]
    link(page, stub)
    page.get_by_role("button", name="Stripe").click()
    page.get_by_label("Secret key", exact=True).fill("sk_typed")
    page.go_back()
    expect(heading(page)).to_have_text("Choose what to connect")
    page.go_forward()
    expect(page.get_by_label("Secret key", exact=True)).to_have_value("sk_typed")


def test_nothing_that_was_typed_is_in_the_history(page, stub):
    stub.offered = ["stripe"]
    link(page, stub)
    page.get_by_label("Secret key", exact=True).fill("sk_typed_secret")
    assert "sk_typed_secret" not in page.evaluate("JSON.stringify(history.state)")


def test_going_back_from_the_waiting_screen_ends_the_attempt(page, stub):
    link(page, stub)
    expect(heading(page)).to_have_text("Connect GitHub")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect").click()
    opened.value.wait_for_selector("#go")
    with opened.value.expect_event("close"):
        page.go_back()
    expect(heading(page)).to_have_text("Connect GitHub")
    page.go_forward()
    expect(heading(page)).to_have_text("Connect GitHub")


def test_a_reload_while_the_window_is_open_still_hears_the_outcome(page, stub):
    link(page, stub)
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect").click()
    popup = opened.value
    popup.wait_for_selector("#go")
    page.reload()
    expect(heading(page)).to_have_text("Continue in the other window")
    popup.click("#go")
    expect(heading(page)).to_have_text("Connected")


def test_a_reload_after_success_shows_it_again_though_the_session_is_over(page, stub):
    stub.offered = ["open", "github"]
    link(page, stub)
    page.get_by_role("button", name="Open Data").click()
    expect(heading(page)).to_have_text("Connected")
    stub.refuse_all = ("unknown_connect_session_token", "unknown", 401)
    page.reload()
    expect(heading(page)).to_have_text("Connected")


def test_in_a_frame_the_history_stays_the_hosts(page, stub):
    stub.offered = ["github", "stripe"]
    frame = embed(page, stub)
    before = page.evaluate("history.length")
    frame.get_by_role("button", name="Stripe").click()
    expect(heading(frame)).to_have_text("Connect Stripe")
    frame.get_by_role("button", name="Back to the list").click()
    expect(heading(frame)).to_have_text("Choose what to connect")
    assert page.evaluate("history.length") == before


def test_a_frame_that_was_given_a_link_survives_a_reload_of_its_own(page, stub):
    stub.offered = ["github", "stripe"]
    page.goto(f"{stub.host}/parent?linked=1")
    frame = page.frame_locator("#connect-ui")
    frame.get_by_role("button", name="Stripe").click()
    expect(heading(frame)).to_have_text("Connect Stripe")
    page.frames[1].evaluate("location.reload()")
    expect(heading(frame)).to_have_text("Connect Stripe")
    expect(frame.locator(".asker")).to_contain_text(stub.host.removeprefix("http://"))


def test_another_session_begins_its_own_way(page, stub):
    stub.offered = ["github", "stripe"]
    frame = embed(page, stub)
    frame.get_by_role("button", name="Stripe").click()
    expect(heading(frame)).to_have_text("Connect Stripe")
    page.evaluate(
        "sessionToken => frame.contentWindow.postMessage("
        "{type: 'session_token', sessionToken}, '*')",
        TOKEN,
    )
    expect(heading(frame)).to_have_text("Choose what to connect")
    frame.get_by_role("button", name="Stripe").click()
    frame.get_by_role("button", name="Back to the list").click()
    expect(heading(frame)).to_have_text("Choose what to connect")


def test_the_token_of_an_embedding_page_is_not_in_the_history(page, stub):
    frame = embed(page, stub)
    expect(heading(frame)).to_have_text("Connect GitHub")
    assert page.frames[1].evaluate("history.state") is None
