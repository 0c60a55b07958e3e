"""The callback page's text: what it embeds, escapes and declares."""

import base64
import hashlib
import json
import re

import pytest

from keystow.pages.callback import error_page, headers, success_page
from keystow.pages.sentences import BEGIN_HERE


def embedded(page):
    found = re.search(
        r'<script type="application/json" id="result">(.*?)</script>', page, re.DOTALL
    )
    return found.group(1)


def test_success_embeds_no_error():
    assert json.loads(embedded(success_page())) == {"error": None}


def test_an_error_embeds_its_message_and_type():
    page = error_page("No session was found", "state_err", {})
    assert json.loads(embedded(page))["error"] == {
        "message": "No session was found",
        "errorType": "state_err",
    }


def test_without_a_type_the_default_is_told():
    told = json.loads(embedded(error_page("x", "")))
    assert told["error"]["errorType"] == "connection_validation_failed"


def test_what_the_provider_said_takes_the_messages_place_as_json():
    query = {"state": "secret", "code": "c", "error_description": "Not today", "error": "denied"}
    page = error_page("Refused", "callback_err", query)
    message = json.loads(embedded(page))["error"]["message"]
    assert message == '{"error":"denied","error_description":"Not today"}'
    assert "Not today" in page
    assert "secret" not in page


@pytest.mark.parametrize(
    "evil",
    ["</script><script>alert(1)</script>", "<!--<script>", "a\u2028b\u2029c", "&lt;", "{title}"],
)
def test_nothing_that_is_said_becomes_markup(evil):
    page = error_page(evil, evil, {"error": evil})
    data = embedded(page)
    assert not set("<>&\u2028\u2029") & set(data)
    assert json.loads(data)["error"]["errorType"] == evil
    plain = success_page()
    assert page.count("<script") == plain.count("<script")
    assert "alert(1)</script>" not in page


def test_the_page_shows_nothing_of_its_own_address():
    for page in (success_page(), error_page("m", "t")):
        assert "location.search" not in page
        assert "URLSearchParams" not in page


def test_who_began_at_the_provider_is_told_to_start_in_the_application():
    page = error_page("From nowhere", "state_err", sentence=BEGIN_HERE)
    assert "Start in the application" in page
    assert "start from there" in page


def test_the_policy_allows_exactly_the_script_and_style_of_the_page():
    policy = headers()["content-security-policy"]
    for page in (success_page(), error_page("m", "t", {"error": "e"})):
        script = re.search(r"<script>(.*?)</script>", page, re.DOTALL).group(1)
        style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
        for text in (script, style):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_the_window_is_not_cut_off_from_its_opener_and_nothing_is_cached():
    told = headers()
    assert told["cross-origin-opener-policy"] == "unsafe-none"
    assert told["cache-control"] == "no-store"
    assert told["referrer-policy"] == "no-referrer"
    assert told["x-content-type-options"] == "nosniff"
    assert told["content-type"] == "text/html; charset=utf-8"


def test_the_page_names_no_brand_and_fetches_nothing():
    for page in (success_page(), error_page("m", "t")):
        assert "keystow" not in page.lower()
        # Without an icon of its own, a browser would ask for /favicon.ico.
        assert page.count('<link rel="icon" href="data:,">') == 1
        assert not re.search(r"https?://|src=|href=", page.replace('href="data:,"', ""))
