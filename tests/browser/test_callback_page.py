"""The callback page: whom it tells, when it closes, what it shows."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.full


def _open(page, stub, kind, query=""):
    page.goto(f"{stub.url}/opener")
    with page.expect_popup() as opened:
        page.evaluate(
            "address => { window.popup = window.open(address); }", f"/pages/{kind}{query}"
        )
    return opened.value


def test_success_is_told_to_the_opener_and_on_the_channel_then_it_closes_itself(page, stub):
    popup = _open(page, stub, "success")
    if not popup.is_closed():
        popup.wait_for_event("close")
    assert page.evaluate("window.seen") == [{"type": "nango_oauth_callback_success"}]
    assert page.evaluate("window.heard") == [{"type": "nango_oauth_callback_success"}]


def test_an_error_stays_open_until_it_is_acknowledged(page, stub):
    popup = _open(page, stub, "plain")
    page.wait_for_function("window.seen.length && window.heard.length")
    assert page.evaluate("window.seen[0]") == {
        "type": "nango_oauth_callback_error",
        "payload": {"message": "The provider refused", "errorType": "callback_err"},
    }
    page.wait_for_timeout(700)
    assert not popup.is_closed()
    with popup.expect_event("close"):
        page.evaluate("window.popup.postMessage({type: 'nango_oauth_callback_ack'}, '*')")


def test_the_providers_own_words_are_told_as_json_and_shown_as_text(page, stub):
    popup = _open(page, stub, "provider")
    page.wait_for_function("window.seen.length")
    payload = page.evaluate("window.seen[0].payload")
    assert payload["message"] == (
        '{"error":"access_denied","error_description":"Ada </script><b>said</b> no"}'
    )
    assert popup.evaluate("window.__nangoOAuthError.errorType") == "callback_err"
    expect(popup.get_by_role("heading")).to_have_text("You declined")
    expect(popup.get_by_text("Ada </script><b>said</b> no")).to_be_hidden()
    popup.get_by_text("Show details").click()
    expect(popup.get_by_text("Ada </script><b>said</b> no")).to_be_visible()
    assert popup.locator("main b").count() == 0


def test_success_leaves_no_error_behind(page, stub):
    page.goto(f"{stub.url}/pages/success")
    assert page.evaluate("window.__nangoOAuthError") is None


def test_a_text_in_the_address_is_not_shown(page, stub):
    popup = _open(page, stub, "plain", "?error=alert&error_description=Call%20this%20number")
    page.wait_for_function("window.seen.length")
    assert page.evaluate("window.seen[0].payload.message") == "The provider refused"
    assert popup.get_by_text("Call this number").count() == 0


def test_code_and_state_leave_the_address(page, stub):
    page.goto(f"{stub.url}/pages/plain?code=secret-code&state=secret-state")
    assert page.evaluate("location.search") == ""


def test_it_works_without_an_opener(page, stub):
    page.goto(f"{stub.url}/pages/plain")
    assert page.get_by_role("alert").is_visible()
