"""The sign-in window: with the socket and without, declined, closed, blocked."""

import pytest
from playwright.sync_api import expect

from tests.browser.stub import TOKEN
from tests.browser.surfaces import closed, embed, heading, link, told

pytestmark = pytest.mark.full


def test_oauth_runs_through_the_popup_and_the_socket(page, stub):
    frame = embed(page, stub)
    with page.expect_popup() as opened:
        frame.get_by_role("button", name="Connect").click()
    popup = opened.value
    expect(heading(frame)).to_have_text("Continue in the other window")
    popup.click("#go")
    expect(heading(frame)).to_have_text("Connected")
    assert told(page, "connect") == {
        "type": "connect",
        "payload": {
            "providerConfigKey": "github-prod",
            "connectionId": "c-9",
            "isPending": False,
        },
    }
    start = stub.called("/oauth/connect/github-prod")[0]
    assert start.query["connect_session_token"] == TOKEN
    assert start.query["ws_client_id"].startswith("wid-")
    closed(popup)
    frame.get_by_role("button", name="Finish").click()
    assert told(page, "close") == {"type": "close"}


def test_a_refusal_at_the_provider_is_shown_and_told(page, stub):
    stub.popup_outcome = "error"
    frame = embed(page, stub)
    with page.expect_popup() as opened:
        frame.get_by_role("button", name="Connect").click()
    opened.value.click("#go")
    expect(frame.get_by_role("alert")).to_contain_text("GitHub did not give access")
    frame.get_by_text("Show details").click()
    expect(frame.get_by_role("alert")).to_contain_text("The provider refused: server_error")
    expect(frame.get_by_role("alert")).to_contain_text("op_1")
    assert told(page, "error")["payload"] == {
        "errorType": "callback_err",
        "errorMessage": "The provider refused: server_error",
    }
    closed(opened.value)


def test_a_blocked_popup_is_explained(page, stub):
    page.add_init_script("window.open = () => null")
    frame = embed(page, stub)
    frame.get_by_role("button", name="Connect").click()
    expect(frame.get_by_role("alert")).to_contain_text("Allow pop-ups")
    assert told(page, "error")["payload"]["errorType"] == "blocked_by_browser"


@pytest.mark.parametrize(("extra", "tells"), [("&detectClosedAuthWindow=true", True), ("", False)])
def test_a_popup_closed_early_is_noticed(page, stub, extra, tells):
    frame = embed(page, stub, extra)
    with page.expect_popup() as opened:
        frame.get_by_role("button", name="Connect").click()
    opened.value.wait_for_selector("#go")
    opened.value.close()
    expect(frame.get_by_role("alert")).to_contain_text("The window was closed")
    frame.locator("body").press("Escape")
    told(page, "close")  # messages arrive in order: what came before this one is all there was
    kinds = page.evaluate("window.seen.map((one) => one.payload?.errorType).filter(Boolean)")
    assert kinds == (["window_closed"] if tells else [])


def test_waiting_can_be_cancelled(page, stub):
    frame = embed(page, stub)
    with page.expect_popup() as opened:
        frame.get_by_role("button", name="Connect").click()
    with opened.value.expect_event("close"):
        frame.get_by_role("button", name="Cancel").click()
    expect(heading(frame)).to_have_text("Connect GitHub")


def test_a_silent_socket_is_not_waited_for(page, stub):
    stub.greets = False
    frame = embed(page, stub)
    with page.expect_popup() as opened:
        frame.get_by_role("button", name="Connect").click()
    popup = opened.value
    expect(popup.get_by_text("You are being taken to GitHub.")).to_be_visible()
    popup.click("#go")
    expect(heading(frame)).to_have_text("Connected")
    assert told(page, "connect")["payload"] == {
        "providerConfigKey": "github-prod",
        "connectionId": "c-9",
        "isPending": False,
    }
    assert "ws_client_id" not in stub.called("/oauth/connect/github-prod")[0].query


def test_a_socket_that_cannot_be_opened_is_not_waited_for(page, stub):
    page.add_init_script("window.WebSocket = class { constructor() { throw new Error('no'); } }")
    link(page, stub)
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect").click()
    opened.value.click("#go")
    expect(heading(page)).to_have_text("Connected")


def test_without_a_socket_a_failure_is_told_by_its_code(page, stub):
    stub.greets = False
    stub.popup_outcome = "error"
    # A window that some provider has isolated can tell its opener nothing.
    page.add_init_script(
        "window.addEventListener('message', (e) => e.stopImmediatePropagation(), true)"
    )
    link(page, stub)
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect").click()
    opened.value.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("GitHub did not give access")


def test_an_earlier_outcome_is_not_taken_for_that_of_a_new_attempt(page, stub):
    stub.greets = False
    stub.status = {
        "status": "failed",
        "code": "unknown_err",
        "message": "old",
        "changed_at": "2025-12-31T00:00:00Z",
        "log_id": "op_1",
    }
    link(page, stub)
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect").click()
    opened.value.wait_for_selector("#go")
    expect(heading(page)).to_have_text("Continue in the other window")
    opened.value.click("#go")
    expect(heading(page)).to_have_text("Connected")


def test_the_window_has_a_styled_page_before_the_provider_is_there(page, stub):
    stub.greets = False
    link(page, stub, "&theme=dark")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect").click()
    popup = opened.value
    expect(popup.get_by_text("You are being taken to GitHub.")).to_be_visible()
    expect(popup.locator(".card")).to_have_css("background-color", "rgb(26, 29, 35)")


def test_declining_is_no_error_and_offers_another_try_and_the_way_back(page, stub):
    stub.popup_outcome = "error"
    stub.refusal = "Access was declined at the provider. Provider error: error: access_denied"
    stub.offered = ["stripe", "zendesk", "github"]
    frame = embed(page, stub)
    with page.expect_popup() as opened:
        frame.get_by_role("button", name="GitHub").click()
    opened.value.click("#go")
    expect(heading(frame)).to_have_text("You declined")
    expect(frame.get_by_text("Nothing was shared.").first).to_be_visible()
    assert frame.get_by_role("alert").count() == 0
    stub.popup_outcome = "success"
    with page.expect_popup() as opened:
        frame.get_by_role("button", name="Try again").click()
    opened.value.click("#go")
    expect(heading(frame)).to_have_text("Connected")


def test_after_declining_one_can_go_back(page, stub):
    stub.popup_outcome = "error"
    stub.refusal = "error: access_denied"
    link(page, stub)
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Connect").click()
    opened.value.click("#go")
    expect(heading(page)).to_have_text("You declined")
    page.reload()
    expect(heading(page)).to_have_text("You declined")
    page.get_by_role("button", name="Back", exact=True).click()
    expect(heading(page)).to_have_text("Connect GitHub")
