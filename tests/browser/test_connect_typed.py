"""Credentials that are typed in: what is sent, what is refused, what is lost on its way."""

import pytest
from playwright.sync_api import expect

from tests.browser.stub import TOKEN
from tests.browser.surfaces import embed, heading, link, told

pytestmark = pytest.mark.full


def test_an_api_key_is_sent_in_the_body_and_kept_out_of_the_address(page, stub):
    stub.offered = ["stripe"]
    frame = embed(page, stub)
    field = frame.get_by_label("Secret key", exact=True)
    assert field.get_attribute("type") == "password"
    field.fill("sk_live_secret")
    frame.get_by_role("button", name="Show: Secret key").click()
    assert field.get_attribute("type") == "text"
    frame.get_by_role("button", name="Connect").click()
    expect(heading(frame)).to_have_text("Connected")
    call = stub.called("/api-auth/api-key/stripe-prod")[0]
    assert call.body == {"apiKey": "sk_live_secret"}
    assert call.query == {"connect_session_token": TOKEN}
    assert told(page, "connect")["payload"] == {
        "providerConfigKey": "stripe-prod",
        "connectionId": "c-1",
    }


def test_refused_credentials_keep_what_was_typed_and_tell_the_parent(page, stub):
    stub.offered = ["stripe"]
    stub.refuse = ("connection_test_failed", "invalid", 400)
    frame = embed(page, stub)
    frame.get_by_label("Secret key", exact=True).fill("sk_wrong")
    frame.get_by_role("button", name="Connect").click()
    expect(frame.get_by_role("alert")).to_contain_text("These credentials were refused")
    expect(frame.get_by_label("Secret key", exact=True)).to_have_value("sk_wrong")
    assert told(page, "error")["payload"]["errorType"] == "connection_test_failed"


def test_basic_sends_both_parts(page, stub):
    stub.offered = ["basic"]
    link(page, stub)
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill("engine")
    page.keyboard.press("Enter")
    expect(heading(page)).to_have_text("Connected")
    assert stub.called("/api-auth/basic/basic-prod")[0].body == {
        "username": "ada",
        "password": "engine",
    }


def test_a_provider_without_credentials_needs_one_click_and_no_body(page, stub):
    stub.offered = ["open", "github"]
    link(page, stub)
    page.get_by_role("button", name="Open Data").click()
    expect(heading(page)).to_have_text("Connected")
    assert stub.called("/auth/unauthenticated/open-prod")[0].body is None


def test_client_credentials_are_typed_in_and_sent_in_the_body(page, stub):
    stub.offered = ["client"]
    link(page, stub)
    expect(page.locator("label")).to_have_count(3)
    assert page.locator("label").all_inner_texts() == ["Region", "Client ID", "Client secret"]
    page.get_by_label("Region").fill("eu")
    page.get_by_label("Client ID").fill("machine-1")
    page.get_by_label("Client secret", exact=True).fill("hush")
    page.get_by_role("button", name="Connect").click()
    expect(heading(page)).to_have_text("Connected")
    call = stub.called("/oauth2/auth/client-prod")[0]
    assert call.body == {"client_id": "machine-1", "client_secret": "hush"}
    assert call.query == {"connect_session_token": TOKEN, "params[region]": "eu"}


def test_a_session_that_ends_while_the_form_is_open_says_so(page, stub):
    stub.offered = ["stripe"]
    stub.refuse = ("unknown_connect_session_token", "unknown", 401)
    link(page, stub)
    page.get_by_label("Secret key", exact=True).fill("sk_1")
    page.get_by_role("button", name="Connect").click()
    expect(heading(page)).to_have_text("This session has ended")


def test_a_lost_answer_to_a_typed_credential_is_no_failure(page, stub):
    stub.offered = ["stripe"]
    link(page, stub)

    def lose(route):
        stub.status = {
            "status": "connected",
            "provider_config_key": "stripe-prod",
            "connection_id": "c-7",
            "changed_at": "2026-01-01T00:00:00Z",
            "log_id": "op_1",
        }
        route.abort()

    stub.called("/connect/session/status", 1)
    page.route("**/api-auth/**", lose)
    page.get_by_label("Secret key", exact=True).fill("sk_1")
    page.get_by_role("button", name="Connect").click()
    expect(heading(page)).to_have_text("Connected")


@pytest.mark.parametrize("code", ["integration_not_allowed", "state_cookie_err", "brand_new"])
def test_a_failure_is_a_sentence_and_its_code_is_in_the_details(page, stub, code):
    stub.offered = ["stripe"]
    stub.refuse = (code, "the technical reason", 400)
    link(page, stub)
    page.get_by_label("Secret key", exact=True).fill("sk_1")
    page.get_by_role("button", name="Connect").click()
    alert = page.get_by_role("alert")
    expect(alert).to_be_visible()
    expect(alert.get_by_text(code)).to_be_hidden()
    alert.get_by_text("Show details").click()
    expect(alert.get_by_text(code)).to_be_visible()
    expect(alert.get_by_text("the technical reason")).to_be_visible()
    expect(alert.get_by_text("op_1")).to_be_visible()


def test_a_password_with_white_space_around_it_is_remarked_once_and_sent_as_typed(page, stub):
    stub.offered = ["basic"]
    link(page, stub)
    page.get_by_label("Username").fill(" ada ")
    password = page.get_by_label("Password", exact=True)
    password.fill("engine ")
    remark = page.locator("#credentials-password-note")
    expect(remark).to_be_empty()  # not while somebody is typing
    page.keyboard.press("Enter")
    expect(remark).to_contain_text("Password begins or ends with white space")
    expect(password).to_be_focused()
    assert stub.called("/api-auth/basic/basic-prod") == []
    page.get_by_role("button", name="Connect").click()
    sent = stub.called("/api-auth/basic/basic-prod", 1)[0].body
    assert sent == {"username": "ada", "password": "engine "}


def test_the_remark_goes_when_the_white_space_does(page, stub):
    stub.offered = ["basic"]
    link(page, stub)
    page.get_by_label("Username").fill("ada")
    password = page.get_by_label("Password", exact=True)
    password.fill("\u00a0engine")
    password.blur()
    remark = page.get_by_text("Password begins or ends with white space")
    expect(remark).to_be_visible()
    password.fill("engine")
    expect(remark).to_have_count(0)
    page.get_by_role("button", name="Connect").click()
    assert stub.called("/api-auth/basic/basic-prod", 1)[0].body["password"] == "engine"


def test_a_key_loses_the_white_space_that_was_pasted_around_it(page, stub):
    stub.offered = ["stripe"]
    link(page, stub)
    page.get_by_label("Secret key", exact=True).fill(" sk_live_1\u200b")
    page.get_by_role("button", name="Connect").click()
    assert stub.called("/api-auth/api-key/stripe-prod", 1)[0].body == {"apiKey": "sk_live_1"}


def test_what_was_announced_is_over_with_the_screen_that_it_was_of(page, stub):
    stub.offered = ["stripe"]
    stub.refuse = ("connection_test_failed", "invalid", 400)
    link(page, stub)
    page.get_by_label("Secret key", exact=True).fill("sk_wrong")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("#live")).to_be_empty()
