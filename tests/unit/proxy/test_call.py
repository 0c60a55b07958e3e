"""The headers of a request to the proxy: what is for us, what is passed on, what is refused."""

from __future__ import annotations

import pytest

from keystow.errors import ApiError
from keystow.http.messages import Request
from keystow.http.proxy_call import call_of
from keystow.proxy.call import METHODS, Call

FORM = "multipart/form-data"
NEEDED = {"provider-config-key": "key", "connection-id": "c1"}


def request(
    method: str = "GET", path: str = "/proxy/x", body: bytes = b"", **headers: str
) -> Request:
    given = {**NEEDED, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Request(
        method,
        path,
        "ANY /proxy/{path+}",
        {},
        {},
        "q=1&q=2",
        given,
        {},
        body,
        "https://keystow.test",
    )


def issues(**headers: str) -> list[tuple[str, tuple[str, ...]]]:
    with pytest.raises(ApiError) as refused:
        call_of(request(**headers))
    assert (refused.value.code, refused.value.status) == ("invalid_headers", 400)
    return [(each.code, each.path) for each in refused.value.issues]


def test_a_call_says_nothing_about_itself_but_its_method() -> None:
    call = call_of(request(nango_proxy_x="marked"))
    assert repr(call) == "Call(GET)"


def test_without_further_headers_a_request_is_sent_once_as_it_is() -> None:
    call = call_of(request(path="/proxy/a%20b//c"))
    assert call == Call(
        "GET", "a%20b//c", "q=1&q=2", b"", "key", "c1", {"accept-encoding": "identity"}
    )


@pytest.mark.parametrize(
    ("path", "left"), [("/proxy", ""), ("/proxy/", ""), ("/proxy/x", "x"), ("/proxy//x", "/x")]
)
def test_the_path_is_what_stands_behind_the_proxys_own(path: str, left: str) -> None:
    assert call_of(request(path=path)).path == left


def test_what_the_official_client_sends_is_taken() -> None:
    call = call_of(
        request(
            base_url_override="",
            nango_activity_log_id="",
            retries="3",
            decompress="true",
            retry_on="409,423",
            forward_headers_on_redirect="false",
            nango_is_sync="true",
        )
    )
    assert (call.retries, call.decompress, call.retry_on) == (3, True, frozenset({409, 423}))
    assert call.forward_headers_on_redirect is False
    assert call.base_url_override == ""


def test_every_fault_is_told_at_once() -> None:
    assert issues(
        provider_config_key="",
        connection_id="c" * 256,
        retries="often",
        base_url_override="example.com",
        retry_on="4xx",
        decompress="maybe",
        forward_headers_on_redirect="1",
    ) == [
        ("invalid_value", ("decompress",)),
        ("too_small", ("provider-config-key",)),
        ("too_big", ("connection-id",)),
        ("invalid_format", ("base-url-override",)),
        ("invalid_type", ("retries",)),
        ("invalid_format", ("retry-on",)),
        ("invalid_value", ("forward-headers-on-redirect",)),
    ]


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("provider_config_key", "a/b", "invalid_format"),
        ("connection_id", "a\x00", "invalid_format"),
        ("retries", "-1", "too_small"),
        ("retries", "11", "too_big"),
        ("retries", "1.5", "invalid_type"),
        ("base_url_override", "https://a.com/?q=1", "invalid_format"),
        ("base_url_override", "https://a.com/#x", "invalid_format"),
        ("base_url_override", "ftp://a.com", "invalid_format"),
        ("base_url_override", "https://[", "invalid_format"),
        ("retry_on", "409,", "invalid_format"),
    ],
)
def test_a_header_that_breaks_its_rule_is_named(header: str, value: str, code: str) -> None:
    assert issues(**{header: value}) == [(code, (header.replace("_", "-"),))]


def test_a_missing_key_is_named_as_recorded() -> None:
    made = request()
    del made.headers["provider-config-key"]
    with pytest.raises(ApiError) as refused:
        call_of(made)
    (issue,) = refused.value.issues
    assert (issue.code, issue.path) == ("invalid_type", ("provider-config-key",))


def test_only_headers_of_the_prefix_are_passed_on_without_it() -> None:
    call = call_of(
        request(
            nango_proxy_x_one="1", nango_proxy_accept="a/b", x_two="2", cookie="c=1", accept="*/*"
        )
    )
    assert call.headers == {"x-one": "1", "accept": "a/b", "accept-encoding": "identity"}


@pytest.mark.parametrize(
    "name",
    [
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"),
        *("proxy-authorization", "content-length", "expect", "", "a b", "a:b"),
    ],
)
def test_headers_of_one_hop_and_no_names_are_left_out(name: str) -> None:
    made = request()
    made.headers[f"nango-proxy-{name}"] = "x"
    assert call_of(made).headers == {"accept-encoding": "identity"}


@pytest.mark.parametrize(
    ("own", "asked", "sent"),
    [
        ("application/json", None, "application/json"),
        ("application/json", "text/xml", "text/xml"),
        (
            "multipart/form-data; boundary=b",
            "multipart/form-data",
            "multipart/form-data; boundary=b",
        ),
        ("multipart/form-data; boundary=b", "multipart/form-data; boundary=x", None),
    ],
)
def test_the_type_of_a_body_is_that_of_the_request(
    own: str, asked: str | None, sent: str | None
) -> None:
    made = request("POST", body=b"x", content_type=own)
    if asked is not None:
        made.headers["nango-proxy-content-type"] = asked
    assert call_of(made).headers["content-type"] == (sent or asked)


def test_without_a_body_its_type_is_not_passed_on() -> None:
    # The official client names one with every GET.
    assert "content-type" not in call_of(request(content_type="application/json")).headers


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "identity"),
        ({"accept_encoding": "gzip, deflate, br"}, "gzip"),
        ({"decompress": "true"}, "gzip"),
        ({"accept_encoding": "gzip", "nango_proxy_accept_encoding": "br"}, "br"),
        ({"accept_encoding": "gzip", "nango_proxy_range": "bytes=0-9"}, None),
    ],
)
def test_a_packed_answer_is_asked_for_where_somebody_unpacks_it(
    given: dict[str, str], wanted: str | None
) -> None:
    assert call_of(request(**given)).headers.get("accept-encoding") == wanted


@pytest.mark.parametrize("method", sorted(METHODS))
def test_methods_of_apis_are_passed_on(method: str) -> None:
    assert call_of(request(method)).method == method


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "PURGE", ""])
def test_other_methods_are_not(method: str) -> None:
    with pytest.raises(ApiError) as refused:
        call_of(request(method))
    assert refused.value.code == "not_found"
