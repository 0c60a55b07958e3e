"""The Connect UI in a browser: embedded and as a link, against a stub of the API."""

import base64
import re
import threading

import pytest
from playwright.sync_api import expect

from tests.browser.stub import PROVIDERS

pytestmark = pytest.mark.full
TOKEN = "nango_connect_session_" + "ab" * 32


def link(page, stub, extra=""):
    page.goto(f"{stub.url}/ui/connect/?session_token={TOKEN}{extra}")
    return page


def embed(page, stub, extra=""):
    page.goto(f"{stub.host}/parent?lang=en{extra}")
    return page.frame_locator("#connect-ui")


def heading(surface):
    return surface.get_by_role("heading", level=1)


def told(page, kind):
    page.wait_for_function("kind => window.seen.some((one) => one.type === kind)", arg=kind)
    return page.evaluate("kind => window.seen.find((one) => one.type === kind)", kind)


def closed(popup):
    """Wait until a popup has closed itself, which it may have done already."""
    if not popup.is_closed():
        popup.wait_for_event("close")


def test_the_token_leaves_the_address_at_once(page, stub):
    link(page, stub, "&theme=light")
    expect(heading(page)).to_have_text("Connect GitHub")
    assert page.evaluate("location.search") == "?theme=light"
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_the_api_that_served_the_page_is_the_only_one_it_speaks_to(page, stub):
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    link(page, stub, "&apiURL=https://evil.example")
    expect(heading(page)).to_have_text("Connect GitHub")
    assert hosts == {stub.url.split("/")[2]}


def test_embedded_it_says_ready_and_takes_the_token_from_its_parent(page, stub):
    frame = embed(page, stub)
    expect(heading(frame)).to_have_text("Connect GitHub")
    assert told(page, "ready") == {"type": "ready"}
    expect(frame.get_by_text(stub.host.removeprefix("http://"))).to_contain_text(
        "asks for access for Acme Ltd (Ada Lovelace)"
    )


def test_embedded_without_a_token_it_gives_up_after_ten_seconds(page, stub):
    page.clock.install()
    frame = embed(page, stub, "&silent=1")
    expect(heading(frame)).to_have_text("One moment…")
    page.clock.run_for(10_500)
    expect(heading(frame)).to_have_text("No answer from the application")


def test_a_tab_without_a_token_says_so(page, stub):
    page.goto(f"{stub.url}/ui/connect/")
    expect(heading(page)).to_have_text("This link is not complete")


def test_an_expired_session_says_so_and_tells_the_parent(page, stub):
    stub.refuse_all = ("unknown_connect_session_token", "unknown", 401)
    frame = embed(page, stub)
    expect(heading(frame)).to_have_text("This session has ended")
    assert told(page, "error")["payload"]["errorType"] == "unknown_connect_session_token"


def test_a_server_fault_can_be_tried_again(page, stub):
    stub.refuse_all = ("temporarily_unavailable", "Try later", 503)
    link(page, stub)
    expect(heading(page)).to_have_text("Just a moment")
    page.get_by_text("Show details").click()
    expect(page.get_by_text("Try later")).to_be_visible()
    stub.refuse_all = None
    page.get_by_role("button", name="Try again").click()
    expect(heading(page)).to_have_text("Connect GitHub")


def test_several_integrations_are_listed_with_logo_or_initials(page, stub):
    stub.offered = ["github", "zendesk", "basic"]
    link(page, stub)
    expect(heading(page)).to_have_text("Choose what to connect")
    rows = page.get_by_role("listitem")
    expect(rows).to_have_count(3)
    expect(rows.nth(0).locator("img")).to_be_visible()
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


def test_numbered_fields_come_first_whether_they_are_built_in_or_not(page, stub):
    stub.offered = ["ordered"]
    link(page, stub)
    expect(page.locator("label")).to_have_count(4)
    labels = [label.split(" (")[0] for label in page.locator("label").all_inner_texts()]
    assert labels == ["First", "Second", "Key", "Plain"]


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


def test_a_session_that_ends_while_the_form_is_open_says_so(page, stub):
    stub.offered = ["stripe"]
    stub.refuse = ("unknown_connect_session_token", "unknown", 401)
    link(page, stub)
    page.get_by_label("Secret key", exact=True).fill("sk_1")
    page.get_by_role("button", name="Connect").click()
    expect(heading(page)).to_have_text("This session has ended")


def test_escape_and_the_cross_close_it(page, stub):
    frame = embed(page, stub)
    expect(heading(frame)).to_have_text("Connect GitHub")
    frame.locator("body").press("Escape")
    assert told(page, "close") == {"type": "close"}


def test_telemetry_names_what_happened_and_carries_the_token_in_its_body(page, stub):
    link(page, stub)
    expect(heading(page)).to_have_text("Connect GitHub")
    events = {call.body["event"]: call.body for call in stub.called("/connect/telemetry", 2)}
    assert set(events) == {"open", "view:integration"}
    assert all(event["token"] == TOKEN for event in events.values())
    assert events["view:integration"]["dimensions"] == {"integration": "github-prod"}


@pytest.mark.parametrize(
    ("theme", "scheme", "expected"),
    [
        ("light", "dark", "light"),
        ("dark", "light", "dark"),
        ("system", "dark", "dark"),
        ("", "dark", "dark"),
        ("", "light", "light"),
    ],
)
def test_theme_and_colour_follow_the_address_then_the_settings(page, stub, theme, scheme, expected):
    page.emulate_media(color_scheme=scheme)
    link(page, stub, f"&theme={theme}" if theme else "")
    expect(heading(page)).to_have_text("Connect GitHub")
    expect(page.locator("html")).to_have_attribute("data-theme", expected)
    colours = {"light": "rgb(31, 95, 191)", "dark": "rgb(134, 183, 255)"}
    button = page.get_by_role("button", name="Connect")
    expect(button).to_have_css("background-color", colours[expected])


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


def test_the_page_is_one_that_a_stranger_cannot_add_scripts_to(page, stub):
    answer = page.goto(f"{stub.url}/ui/connect/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert re.search(r"connect-src 'self' ws://127\.0\.0\.1:\d+;", policy)
    assert "frame-ancestors *" in policy
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_on_a_phone_nothing_is_cut_off(page, stub):
    stub.offered = ["zendesk"]
    page.set_viewport_size({"width": 320, "height": 640})
    link(page, stub)
    expect(page.get_by_label("Subdomain")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("embedded", [False, True])
def test_at_twice_the_size_everything_can_be_reached(page, stub, embedded):
    stub.offered = ["zendesk"]
    page.set_viewport_size({"width": 640, "height": 380})
    surface = embed(page, stub) if embedded else link(page, stub)
    expect(surface.get_by_label("Subdomain")).to_be_visible()
    button = surface.get_by_role("button", name="Connect")
    button.scroll_into_view_if_needed()
    expect(button).to_be_in_viewport(ratio=1)
    wide = surface.locator("html").evaluate("(root) => root.scrollWidth - root.clientWidth")
    assert wide == 0


def test_long_names_stay_inside_the_card(page, stub, monkeypatch):
    name = "Donaudampfschifffahrtsgesellschaftskapitaenskajuete" * 2
    monkeypatch.setitem(PROVIDERS, "stripe", {**PROVIDERS["stripe"], "display_name": name})
    stub.offered = ["stripe"]
    page.set_viewport_size({"width": 390, "height": 700})
    link(page, stub)
    expect(heading(page)).to_have_text(f"Connect {name}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    inside = page.locator("#card").evaluate("(card) => card.scrollWidth - card.clientWidth")
    assert inside == 0


def corner(page):
    """Return the colour of a screenshot's lower right corner, as red, green and blue."""
    address = "data:image/png;base64," + base64.b64encode(page.screenshot()).decode()
    return page.evaluate(
        """async (address) => {
          const image = new Image();
          image.src = address;
          await image.decode();
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [image.width, image.height];
          const pen = canvas.getContext('2d');
          pen.drawImage(image, 0, 0);
          return [...pen.getImageData(image.width - 4, image.height - 4, 1, 1).data].slice(0, 3);
        }""",
        address,
    )


@pytest.mark.parametrize("theme", ["system", "light", "dark"])
@pytest.mark.parametrize("system", ["light", "dark"])
def test_a_page_that_names_no_scheme_shows_through(page, stub, system, theme):
    page.emulate_media(color_scheme=system)
    page.goto(f"{stub.host}/parent?lang=en&theme={theme}")
    frame = page.frame_locator("#connect-ui")
    expect(heading(frame)).to_have_text("Connect GitHub")
    expect(frame.locator("html")).to_have_css("color-scheme", "light")
    red, green, blue = corner(page)
    assert blue > 60
    assert max(red, green) < 20


@pytest.mark.parametrize(
    ("system", "scheme", "theme"),
    [
        ("light", "normal", "system"),
        ("light", "light", "dark"),
        ("light", "light_dark", "system"),
        ("light", "light_dark", "dark"),
        ("dark", "light_dark", "system"),
        ("dark", "light", "system"),
        ("dark", "dark", "dark"),
        ("dark", "normal", "light"),
        ("dark", "normal", "dark"),
    ],
)
@pytest.mark.parametrize("same_origin", [False, True])
def test_the_page_around_it_shows_through(page, stub, system, scheme, theme, same_origin):
    page.emulate_media(color_scheme=system)
    base = stub.url if same_origin else stub.host
    # What the documentation asks of a page of another origin that has a dark scheme.
    told = "" if same_origin else "&frame_scheme=light"
    page.goto(f"{base}/parent?lang=en&scheme={scheme}&theme={theme}{told}")
    expect(heading(page.frame_locator("#connect-ui"))).to_have_text("Connect GitHub")
    red, green, blue = corner(page)
    assert blue > 60
    assert max(red, green) < 20


def test_a_dark_page_of_another_origin_that_does_not_help_is_dimmed_and_not_black(page, stub):
    page.emulate_media(color_scheme="dark")
    page.goto(f"{stub.host}/parent?lang=en&scheme=dark")
    expect(heading(page.frame_locator("#connect-ui"))).to_have_text("Connect GitHub")
    assert 50 < corner(page)[2] < 130


# ---- who asks ----


def test_a_frame_that_was_given_a_link_names_the_site_around_it(page, stub):
    page.goto(f"{stub.host}/parent?linked=1")
    frame = page.frame_locator("#connect-ui")
    expect(heading(frame)).to_have_text("Connect GitHub")
    expect(frame.locator(".asker")).to_contain_text(
        f"{stub.host.removeprefix('http://')} asks for access for Acme Ltd"
    )


def test_a_site_that_frames_the_framing_one_is_named_too(page, stub):
    other = stub.url.replace("127.0.0.1", "localhost")
    page.goto(f"{other}/outer?inner={stub.host}/parent")
    frame = page.frame_locator("[name=inner]").frame_locator("#connect-ui")
    expect(heading(frame)).to_have_text("Connect GitHub")
    expect(frame.locator(".asker")).to_contain_text(
        f"{stub.host.removeprefix('http://')}, shown inside {other.removeprefix('http://')}, asks"
    )


def test_the_name_of_the_site_is_not_taken_from_the_address(page, stub):
    page.goto(f"{stub.host}/parent?linked=1&site=bank.example&origin=https://bank.example")
    frame = page.frame_locator("#connect-ui")
    expect(frame.locator(".asker")).to_contain_text(stub.host.removeprefix("http://"))
    assert frame.get_by_text("bank.example").count() == 0


def test_a_link_names_the_site_that_led_here(page, stub):
    other = stub.host.replace("127.0.0.1", "localhost")
    page.goto(f"{other}/leading")
    page.click("#go")
    expect(page.locator(".asker")).to_contain_text(
        f"You came here from {other.removeprefix('http://')}. You connect for Acme Ltd"
    )
    page.reload()
    expect(page.locator(".asker")).to_contain_text(f"from {other.removeprefix('http://')}")


def test_a_link_from_nowhere_asks_for_care(page, stub):
    link(page, stub)
    expect(page.locator(".asker")).to_contain_text("You came here by a link.")


def test_names_that_run_from_right_to_left_do_not_turn_the_line(page, stub):
    stub.session["endUser"]["organization"]["display_name"] = "\u202e\u05e2\u05d9\u05e8 x.example"
    frame = embed(page, stub)
    expect(frame.locator(".asker")).to_contain_text("asks for access for \u2068\u05e2\u05d9\u05e8")
    assert "\u202e" not in frame.locator(".asker").inner_text()


# ---- back, forward, reload ----


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


# ---- without a socket, with a slow API ----


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


def test_a_slow_api_is_said_and_can_be_asked_again(page, stub):
    stub.slow = threading.Event()
    link(page, stub)
    expect(heading(page)).to_have_text("One moment…")
    expect(page.get_by_text("This takes longer than usual.").first).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    stub.slow.set()
    expect(heading(page)).to_have_text("Connect GitHub")


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


# ---- declining, details, typed data ----


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


@pytest.mark.parametrize("way", ["Escape", "outside", "cross"])
def test_what_was_typed_is_not_thrown_away_without_asking(page, stub, way):
    stub.offered = ["stripe"]
    frame = embed(page, stub)
    field = frame.get_by_label("Secret key", exact=True)
    field.fill("sk_long_and_hard_to_find")

    def try_to_leave():
        if way == "Escape":
            field.press("Escape")
        elif way == "outside":
            frame.locator("#backdrop").click(position={"x": 5, "y": 5})
        else:
            frame.get_by_role("button", name="Close").click()

    try_to_leave()
    expect(frame.get_by_role("alertdialog")).to_contain_text("What you typed will be lost.")
    assert page.evaluate("window.seen.every((one) => one.type !== 'close')")
    frame.get_by_role("button", name="Stay").click()
    expect(field).to_have_value("sk_long_and_hard_to_find")
    try_to_leave()
    page.keyboard.press("Escape")
    expect(frame.get_by_role("alertdialog")).to_have_count(0)
    expect(field).to_have_value("sk_long_and_hard_to_find")
    try_to_leave()
    frame.get_by_role("button", name="Leave").click()
    assert told(page, "close") == {"type": "close"}


def test_an_outside_click_closes_what_holds_nothing(page, stub):
    frame = embed(page, stub)
    expect(heading(frame)).to_have_text("Connect GitHub")
    frame.locator("#backdrop").click(position={"x": 5, "y": 5})
    assert told(page, "close") == {"type": "close"}


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


def test_what_the_integration_fixes_is_not_asked_for(page, stub):
    stub.offered = ["zendesk"]
    stub.fixed = ["subdomain"]
    link(page, stub)
    expect(page.get_by_label("Region")).to_be_visible()
    assert page.get_by_label("Subdomain").count() == 0
