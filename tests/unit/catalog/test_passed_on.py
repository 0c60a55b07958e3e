"""Somebody else's request with a connection's credential: what is put where, and what stays."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystow.catalog.errors import InterpolationError
from keystow.catalog.loader import Provider
from keystow.catalog.proxy_request import Caller, OutgoingRequest, needs, passed_on

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = "2024-01-01T00:00:00Z"
TOKEN = {"type": "OAUTH2", "access_token": "t"}


def asked(
    proxy: dict[str, Any] | None = None,
    endpoint: str = "x",
    *,
    method: str = "GET",
    credentials: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    sign: Callable[[OutgoingRequest], OutgoingRequest] | None = None,
    **given: Any,
) -> OutgoingRequest:
    definition = {"auth_mode": "OAUTH2", "proxy": {"base_url": "https://a.com/v1", **(proxy or {})}}
    provider = Provider("p", definition)
    caller = Caller(
        provider, credentials or TOKEN, config or {}, NOW, "r", authorization="Bearer t", sign=sign
    )
    return passed_on(caller, method, endpoint, **given)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("x/y", "https://a.com/v1/x/y"),
        ("/x", "https://a.com/v1/x"),
        ("", "https://a.com/v1"),
        ("x/", "https://a.com/v1/x/"),
        ("x//y", "https://a.com/v1/x//y"),
        ("x/../y", "https://a.com/v1/x/../y"),
        ("https://a.com/v1/x", "https://a.com/v1/x"),
        ("https://evil.com/x", "https://a.com/v1/https://evil.com/x"),
        ("@evil.com/x", "https://a.com/v1/@evil.com/x"),
        ("a b/é", "https://a.com/v1/a%20b/%C3%A9"),
        ("a%2Fb", "https://a.com/v1/a%2Fb"),
        ("100%", "https://a.com/v1/100%25"),
        ("a?b#c", "https://a.com/v1/a%3Fb%23c"),
        ("a\r\nb\\c", "https://a.com/v1/a%0D%0Ab%5Cc"),
        ("a\ud800", "https://a.com/v1/a%3F"),
        ("${connectionConfig.site}/x", "https://a.com/v1/s%2F1/x"),
        ("${connectionConfig.none}/${accessToken}", None),
        ("${accessToken} || x", "https://a.com/v1/$%7BaccessToken%7D%20%7C%7C%20x"),
    ],
)
def test_a_path_stays_below_the_base_url(endpoint: str, url: str | None) -> None:
    request = asked(endpoint=endpoint, config={"site": "s/1"})
    if url is None:
        url = "https://a.com/v1/$%7BconnectionConfig.none%7D/$%7BaccessToken%7D"
    assert request.url == url


def test_a_value_of_the_config_cannot_lead_up_the_path() -> None:
    with pytest.raises(InterpolationError, match="only dots"):
        asked(endpoint="${connectionConfig.site}/x", config={"site": ".."})


def test_a_query_goes_as_it_came_and_the_entrys_own_parameters_win() -> None:
    query = "b=2&a=1&a=%20x&c&key=mine&k%65y=mine&d[]=%5B"
    plain = asked(query=query)
    assert plain.url == f"https://a.com/v1/x?{query}"
    own = {"query": {"key": "${accessToken}", "region": "${connectionConfig.region}"}}
    assert asked(own, query=query).url == "https://a.com/v1/x?b=2&a=1&a=%20x&c&d[]=%5B&key=t"


def test_headers_of_the_caller_come_over_all_but_the_entrys_user_agent() -> None:
    own = {"headers": {"User-Agent": "entry", "X-Key": "${accessToken}", "accept": "a/b"}}
    given = {"user-agent": "mine", "accept": "c/d", "x-more": "${accessToken}"}
    assert asked(own, headers=given).headers == {
        "authorization": "Bearer t",
        "user-agent": "entry",
        "x-key": "t",
        "accept": "c/d",
        "x-more": "${accessToken}",
    }
    assert asked(headers={"user-agent": "mine"}).headers["user-agent"] == "mine"
    assert asked(headers={"authorization": "Mine"}).headers["authorization"] == "Mine"


@pytest.mark.parametrize("body", [b"\x00\xff\x1f\x8b", b'{ "a":1.0 }', b"not json {", b"[1]", None])
def test_a_body_goes_as_it_came(body: bytes | None) -> None:
    assert asked(method="POST", body=body).body == body


def test_fields_of_the_entry_join_a_body_and_the_callers_win() -> None:
    own = {"body": {"key": "${accessToken}", "site": "${connectionConfig.none}", "a": "entry"}}
    sent = asked(own, method="POST", body=b'{"a": 1}', headers={"content-type": "application/json"})
    assert json.loads(sent.body or b"") == {"key": "t", "a": 1}
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert asked(own, method="POST", body=b"a=1&b=%20", headers=form).body == b"a=1&b=%20&key=t"
    for body, kind in ((b"\xff", "image/png"), (b'{"a":1}', "text/plain"), (b"[1]", "")):
        sent = asked(own, method="POST", body=body, headers={"content-type": kind})
        assert sent.body == body
    assert asked(own).body is None


def test_an_override_replaces_the_base_url_and_may_name_the_config() -> None:
    url = "https://${connectionConfig.region}.b.com/v2/"
    request = asked(endpoint="x", base_url_override=url, config={"region": "eu"})
    assert request.url == "https://eu.b.com/v2/x"


@pytest.mark.parametrize("body", [b'{"a":"\\ud800"}', b'{"a":1e999}', b'{"a":NaN}'])
def test_a_body_that_cannot_be_written_again_goes_as_it_came(body: bytes) -> None:
    own = {"body": {"key": "${accessToken}"}}
    assert asked(own, method="POST", body=body).body == body


def test_fields_of_the_entry_hold_values_of_config_and_credential() -> None:
    names = ("connectionConfig.site", "connectionConfig.a.b", "credentials.access_token")
    own = {"body": {"in": [f"${{{name}}}" for name in names], "n": 1}}
    sent = asked(own, method="POST", body=b"{}", config={"site": "s", "a": {"b": "c"}})
    assert json.loads(sent.body or b"") == {"in": ["s", "c", "t"], "n": 1}


def test_a_binary_body_can_be_signed_by_an_entry() -> None:
    own = {"headers": {"x-digest": "${sha256Hex(${bodyCanonicalParams})}"}}
    assert len(asked(own, method="POST", body=b"\xff").headers["x-digest"]) == 64


def test_the_mode_signs_what_is_sent_with_the_callers_headers_in_it() -> None:
    def sign(request: OutgoingRequest) -> OutgoingRequest:
        told = f"{request.method} {request.url} {request.headers['x-a']} {request.body!r}"
        return replace(request, headers={**request.headers, "authorization": told})

    sent = asked(method="post", query="q=1", headers={"x-a": "1"}, body=b"b", sign=sign)
    assert sent.headers["authorization"] == "POST https://a.com/v1/x?q=1 1 b'b'"


def test_it_is_known_which_entries_send_the_apps_secret() -> None:
    def entry(**proxy: Any) -> Provider:
        return Provider("p", {"auth_mode": "OAUTH2", "proxy": proxy})

    assert needs(entry(headers={"x": "${base64(${clientId}:${clientSecret})}"}), "clientSecret")
    assert needs(entry(body={"a": [{"b": "${clientSecret}"}]}), "clientSecret")
    assert needs(entry(query={"a": "${clientId}"}), "clientId", "clientSecret")
    assert not needs(entry(headers={"x": "clientSecret ${accessToken}"}), "clientSecret")
