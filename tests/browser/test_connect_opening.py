"""The Connect UI opens: its token, its session, who asks, how it is closed."""

import re
import threading

import pytest
from playwright.sync_api import expect

from tests.browser.stub import PROVIDERS, TOKEN
from tests.browser.surfaces import embed, heading, link, told

pytestmark = pytest.mark.full


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


def test_escape_and_the_cross_close_it(page, stub):
    frame = embed(page, stub)
    expect(heading(frame)).to_have_text("Connect GitHub")
    frame.locator("body").press("Escape")
    assert told(page, "close") == {"type": "close"}


def test_telemetry_names_what_happened_and_carries_the_token_in_its_body(page, stub):
    link(page, stub)
    expect(heading(page)).to_have_text("Connect GitHub")
    assert stub.called("/connect/telemetry") == []
    page.goto(f"{stub.url}/opener")
    (call,) = stub.called("/connect/telemetry", 1)
    assert call.body["token"] == TOKEN
    assert call.body["event"] == "view:integration"
    assert call.body["dimensions"] == {"integration": "github-prod"}
    assert [each["event"] for each in call.body["earlier"]] == ["open"]
    assert "token" not in call.body["earlier"][0]


def test_what_went_wrong_is_told_at_once_with_all_that_led_there(page, stub):
    page.add_init_script("window.open = () => null")
    link(page, stub)
    page.get_by_role("button", name="Connect").click()
    (call,) = stub.called("/connect/telemetry", 1)
    assert call.body["event"] == "popup:blocked_by_browser"
    assert [each["event"] for each in call.body["earlier"]] == [
        "open",
        "view:integration",
        "click:connect",
    ]


def test_the_page_is_one_that_a_stranger_cannot_add_scripts_to(page, stub):
    answer = page.goto(f"{stub.url}/ui/connect/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.textContent = 'window.strange = true';
          document.body.append(script);
          document.body.setAttribute('style', 'color: red');
        }"""
    )
    assert page.evaluate("window.strange") is None
    expect(page.locator("body")).not_to_have_css("color", "rgb(255, 0, 0)")
    assert len([each for each in page.problems if "Content Security Policy" in each]) == 2
    page.problems.clear()
    assert re.search(r"connect-src 'self' ws://127\.0\.0\.1:\d+;", policy)
    assert "frame-ancestors *" in policy
    assert answer.headers["referrer-policy"] == "no-referrer"


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


def test_a_slow_api_is_said_and_can_be_asked_again(page, stub):
    stub.slow = threading.Event()
    link(page, stub)
    expect(heading(page)).to_have_text("One moment…")
    expect(page.get_by_text("This takes longer than usual.").first).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    stub.slow.set()
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


@pytest.mark.parametrize("width", [320, 1280])
def test_without_javascript_the_page_says_what_it_needs(browser, stub, width):
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": width, "height": 640}
    )
    page = context.new_page()
    page.goto(f"{stub.url}/ui/connect/?session_token={TOKEN}")
    expect(heading(page)).to_have_text("JavaScript is off")
    expect(page.get_by_role("dialog", name="JavaScript is off")).to_be_visible()
    box = page.locator("noscript p").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_without_javascript_the_page_is_as_light_or_dark_as_the_system(browser, stub, scheme):
    context = browser.new_context(java_script_enabled=False, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{stub.url}/ui/connect/?session_token={TOKEN}")
    colours = page.locator("#card").evaluate(
        "card => [getComputedStyle(card).backgroundColor, getComputedStyle(card).color]"
    )
    back, text = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert (back < text) == (scheme == "dark")
    assert abs(back - text) > 500, "it can be read"
    context.close()


def test_a_field_whose_name_runs_from_right_to_left_reads_from_there(page, stub, monkeypatch):
    field = {"type": "string", "title": "\u05de\u05e4\u05ea\u05d7", "optional": True}
    named = {**PROVIDERS["stripe"], "credentials": {}, "connection_config": {"x": field}}
    monkeypatch.setitem(PROVIDERS, "stripe", named)
    stub.offered = ["stripe"]
    link(page, stub)
    expect(page.locator("label").last).to_have_css("unicode-bidi", "plaintext")
