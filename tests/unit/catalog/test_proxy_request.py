"""Requests built with a connection's credentials."""

import json

import pytest

from keystow.catalog.errors import InterpolationError
from keystow.catalog.loader import Provider, built_in
from keystow.catalog.proxy_request import (
    Caller,
    OutgoingRequest,
    build_request,
    verification_requests,
)
from keystow.modes import mode_of

NOW = "2024-01-02T03:04:05.000Z"


def provider(proxy, **more):
    return Provider("x", {"display_name": "X", "auth_mode": "API_KEY", "proxy": proxy, **more})


def caller(proxy, credentials, config=None, **more):
    entry = provider(proxy) if isinstance(proxy, dict) else proxy
    mode = mode_of(credentials.get("type", ""))
    header = mode.authorization(entry, credentials) if mode else ""
    return Caller(entry, credentials, config or {}, NOW, "r-1", **{"authorization": header, **more})


def test_an_api_key_lands_where_the_entry_says():
    key = {"type": "API_KEY", "apiKey": "k/1"}
    [request] = verification_requests(caller(built_in("algolia"), key, {"APP_ID": "ABCDE12345"}))
    assert request.method == "GET"
    assert request.url == "https://ABCDE12345.algolia.net/1/keys/k%2F1"
    assert request.headers == {
        "x-algolia-application-id": "ABCDE12345",
        "x-algolia-api-key": "k/1",
        "content-type": "application/json",
    }
    assert request.body is None


def test_basic_credentials_become_a_basic_header():
    credentials = {"type": "BASIC", "username": "AC1", "password": "pw"}
    [request] = verification_requests(caller(built_in("twilio"), credentials))
    assert request.url == "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json"
    assert request.headers["authorization"] == "Basic QUMxOnB3"


def test_an_entry_without_verification_has_no_requests():
    assert verification_requests(caller(built_in("google"), {"type": "OAUTH2"})) == []


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        ({"type": "OAUTH2", "access_token": "t"}, "Bearer t"),
        ({"type": "OAUTH2_CC", "token": "t"}, "Bearer t"),
        ({"type": "BASIC", "username": "u", "password": "p"}, "Basic dTpw"),
        ({"type": "API_KEY", "apiKey": "k"}, None),
        ({}, None),
    ],
)
def test_each_type_has_its_default_header(credentials, expected):
    request = build_request(caller({"base_url": "https://a.com"}, credentials), "GET", "/x")
    assert request.headers.get("authorization") == expected


def test_a_mode_signs_the_request_that_is_sent():
    def sign(request):
        seen = f"{request.method} {request.url} {request.body.decode()}"
        return OutgoingRequest(request.method, request.url, {"x-seen": seen}, request.body)

    made = caller({"base_url": "https://a.com"}, {}, sign=sign)
    request = build_request(made, "post", "/x", data={"a": 1})
    assert request.headers == {"x-seen": 'POST https://a.com/x {"a":1}'}
    unsigned = build_request(made, "post", "/x", data={"a": 1}, default_auth=False)
    assert unsigned.headers == {"content-type": "application/json"}


def test_a_header_that_waits_for_an_optional_config_value_is_left_out():
    credentials = {"type": "BASIC", "username": "rk", "password": ""}
    stripe = built_in("stripe-api-key")
    without = build_request(Caller(stripe, credentials, {}, NOW, "r"), "GET", "/v1/x")
    assert "stripe-context" not in without.headers
    config = {"context": "acct_1"}
    with_it = build_request(Caller(stripe, credentials, config, NOW, "r"), "GET", "/v1/x")
    assert with_it.headers["stripe-context"] == "acct_1"


def test_a_header_that_waits_for_the_credential_is_an_error():
    proxy = {"base_url": "https://a.com", "headers": {"x-key": "${apiKey}"}}
    with pytest.raises(InterpolationError, match="x-key"):
        build_request(caller(proxy, {"type": "API_KEY"}), "GET", "/")


@pytest.mark.parametrize("key", ["a\r\nx-evil: 1", "a\x00b", "ключ"])
def test_a_credential_never_starts_a_header_of_its_own(key):
    proxy = {"base_url": "https://a.com", "headers": {"x-key": "${apiKey}"}}
    with pytest.raises(InterpolationError) as caught:
        build_request(caller(proxy, {"type": "API_KEY", "apiKey": key}), "GET", "/")
    assert key not in str(caught.value)
    bearer = {"type": "OAUTH2", "access_token": key}
    with pytest.raises(InterpolationError):
        build_request(caller({"base_url": "https://a.com"}, bearer), "GET", "/")


def test_query_and_body_templates_are_filled_and_the_unresolved_dropped():
    proxy = {
        "base_url": "https://a.com/v1/",
        "query": {"key": "${apiKey}", "team": "${connectionConfig.team}"},
        "body": {"auth": {"key": "${apiKey}", "team": "${connectionConfig.team}"}},
    }
    made = caller(proxy, {"type": "API_KEY", "apiKey": "k &1"})
    request = build_request(made, "post", "/items?page=1", data={"q": "x"})
    assert request.method == "POST"
    assert request.url == "https://a.com/v1/items?page=1&key=k+%261"
    assert json.loads(request.body) == {"auth": {"key": "k &1"}, "q": "x"}
    assert request.headers["content-type"] == "application/json"


def test_a_form_is_sent_where_the_content_type_says_so():
    made = caller({"base_url": "https://a.com"}, {})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = build_request(made, "POST", "/", headers=headers, data={"a": "b c"})
    assert request.body == b"a=b+c"


def test_the_base_url_takes_the_side_that_can_be_filled():
    proxy = built_in("intercom").proxy
    for config, host in (({}, "api.intercom.io"), ({"region": "eu"}, "api.eu.intercom.io")):
        made = caller(proxy, {"type": "OAUTH2", "access_token": "t"}, config)
        assert build_request(made, "GET", "/me").url == f"https://{host}/me"


def test_an_endpoint_that_repeats_the_base_url_is_understood():
    made = caller({"base_url": "https://a.com/v1"}, {})
    assert build_request(made, "GET", "https://a.com/v1/me").url == "https://a.com/v1/me"


def test_a_signed_header_sees_the_request_it_signs():
    proxy = {
        "base_url": "https://a.com",
        "headers": {
            "x-what": "${method} ${host} ${path} ${params} ${now:X} ${random}",
            "digest": "${sha256Hex(${bodyCanonicalParams})}",
        },
    }
    request = build_request(caller(proxy, {}), "post", "/p?b=2", data={"a": 1})
    assert request.headers["x-what"] == "POST a.com /p b=2 1704164645 r-1"
    assert request.headers["digest"] == (
        "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    )


def test_a_missing_config_value_in_the_address_is_an_error():
    with pytest.raises(InterpolationError):
        verification_requests(caller(built_in("algolia"), {"apiKey": "k"}))
    with pytest.raises(InterpolationError):
        verification_requests(caller(built_in("twilio"), {"type": "BASIC"}))


def test_no_repr_shows_a_secret():
    made = caller({"base_url": "https://a.com"}, {"type": "OAUTH2", "access_token": "s3cret"})
    request = build_request(made, "GET", "/s3cret")
    assert "s3cret" not in repr(request)
    assert "s3cret" not in repr(made)
