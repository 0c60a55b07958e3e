"""What of a provider's answer is passed on, and how large it may be."""

from __future__ import annotations

import gzip
import json
import os
import zlib

import pytest

from keystow.egress.client import Answer
from keystow.errors import ApiError
from keystow.http.messages import Response, result_of
from keystow.proxy.answers import MOST_BYTES, MOST_HEADER_BYTES, PassedOn, passed_on

LAMBDA = 6 * 1024 * 1024  # AWS, "Lambda quotas": the answer of an invocation


def answer(body: bytes = b"", status: int = 200, *pairs: tuple[str, str]) -> Answer:
    given = pairs or (("content-type", "application/json"),)
    return Answer(status, dict(given), body, given)


def sent(found: PassedOn) -> bytes:
    if found.body is None:
        return b""
    return found.body.encode() if isinstance(found.body, str) else found.body


def size(found: PassedOn) -> int:
    response = Response(found.status, found.body, found.headers, found.cookies)
    return len(json.dumps(result_of(response)))


@pytest.mark.parametrize(
    "body",
    [b'{"a": 1}', "é\u2028\ufeff".encode(), b"\xef\xbb\xbf{}", b"\xff\xfe", b"\x00\x01", b"a\r\n"],
)
def test_a_body_arrives_as_it_was(body: bytes) -> None:
    assert sent(passed_on(answer(body), "GET", decompress=False)) == body


def test_text_is_text_and_the_rest_goes_in_base64() -> None:
    assert isinstance(passed_on(answer(b"text"), "GET", decompress=False).body, str)
    assert isinstance(passed_on(answer(b"\xff"), "GET", decompress=False).body, bytes)
    # In JSON each of these is six bytes long.
    assert isinstance(passed_on(answer(b"\x01" * 20_000), "GET", decompress=False).body, bytes)


@pytest.mark.parametrize("status", [200, 204, 304, 404])
def test_an_answer_without_a_body_has_none(status: int) -> None:
    found = passed_on(answer(b"", status, ("etag", '"1"')), "GET", decompress=False)
    assert (found.status, found.body, found.headers) == (status, None, {"etag": '"1"'})


def test_a_body_of_unknown_type_is_not_called_text() -> None:
    found = passed_on(answer(b"x", 200, ("x-a", "1")), "GET", decompress=False)
    assert found.headers["content-type"] == "application/octet-stream"


def test_headers_of_one_hop_and_those_that_speak_for_our_host_are_left_out() -> None:
    dropped = [
        *("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"),
        *("content-length", "date", "cache-control", "strict-transport-security", "alt-svc"),
        *("access-control-allow-origin", "access-control-expose-headers", "clear-site-data"),
    ]
    kept = {"etag": "e", "x-request-id": "r", "location": "/x", "www-authenticate": "Bearer"}
    pairs = [(name, "x") for name in dropped] + list(kept.items())
    assert passed_on(answer(b"", 200, *pairs), "GET", decompress=False).headers == kept


def test_cookies_stand_apart() -> None:
    pairs = (("set-cookie", "a=1"), ("set-cookie", "b=2, c"), ("x-a", "1"))
    found = passed_on(answer(b"", 200, *pairs), "GET", decompress=False)
    assert found.cookies == ("a=1", "b=2, c")
    assert found.headers == {"x-a": "1"}


def test_of_too_many_headers_those_that_matter_are_kept() -> None:
    pairs = [(f"x-{number}", "v" * 1_000) for number in range(20)]
    pairs += [("set-cookie", "c" * 5_000), ("content-type", "a/b"), ("x-huge", "h" * 20_000)]
    found = passed_on(answer(b"x", 200, *pairs), "GET", decompress=False)
    total = sum(len(name) + len(value) for name, value in found.headers.items())
    assert found.headers["content-type"] == "a/b"
    assert "x-huge" not in found.headers
    assert MOST_HEADER_BYTES - 1_100 < total <= MOST_HEADER_BYTES
    assert found.cookies == ()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_packed_answer_stays_packed_unless_it_shall_not(coding: str) -> None:
    body = gzip.compress(b"plain") if coding == "gzip" else zlib.compress(b"plain")
    packed = answer(body, 200, ("content-encoding", coding), ("content-type", "a/b"))
    kept = passed_on(packed, "GET", decompress=False)
    assert (sent(kept), kept.headers["content-encoding"]) == (body, coding)
    plain = passed_on(packed, "GET", decompress=True)
    assert (sent(plain), plain.headers) == (b"plain", {"content-type": "a/b"})


def test_a_coding_that_cannot_be_undone_stays_and_a_packed_file_is_no_coding() -> None:
    other = answer(b"\xff", 200, ("content-encoding", "br"), ("content-type", "a/b"))
    assert passed_on(other, "GET", decompress=True).headers["content-encoding"] == "br"
    file = gzip.compress(b"plain")
    packed = answer(file, 200, ("content-type", "application/gzip"))
    assert sent(passed_on(packed, "GET", decompress=True)) == file


@pytest.mark.parametrize("status", [420, 499, 520, 599])
def test_statuses_that_no_standard_names_are_passed_on(status: int) -> None:
    assert passed_on(answer(b"x", status), "GET", decompress=False).status == status


@pytest.mark.parametrize("status", [100, 600, 999])
def test_what_is_no_status_of_an_answer_is_none(status: int) -> None:
    with pytest.raises(ApiError) as refused:
        passed_on(answer(b"x", status), "GET", decompress=False)
    assert (refused.value.code, refused.value.status) == ("provider_unavailable", 502)


def test_a_head_has_no_body() -> None:
    assert passed_on(answer(b"x"), "HEAD", decompress=False).body is None


@pytest.mark.parametrize(
    "body",
    [
        b"a" * (MOST_BYTES - 2),
        os.urandom(MOST_BYTES // 4 * 3),
        b"\xff" * (MOST_BYTES // 4 * 3),
        b'"' * (MOST_BYTES // 4 * 3),
        "é".encode() * (MOST_BYTES // 8 * 3),
    ],
    ids=["text", "random", "bytes", "quotes", "letters"],
)
def test_the_largest_answers_still_fit_into_lambdas(body: bytes) -> None:
    pairs = (("content-type", "text/plain"), *((f"x-{n}", "v" * 100) for n in range(70)))
    found = passed_on(answer(body, 200, *pairs), "GET", decompress=False)
    assert sent(found) == body
    assert MOST_BYTES - 10 < size(found) < LAMBDA


@pytest.mark.parametrize(
    "body", [b"a" * (MOST_BYTES - 1), b"\xff" * (MOST_BYTES // 4 * 3 + 1), b"\x01" * MOST_BYTES]
)
def test_a_larger_one_is_an_error_that_says_so(body: bytes) -> None:
    with pytest.raises(ApiError, match="6 MB") as refused:
        passed_on(answer(body), "GET", decompress=False)
    assert (refused.value.code, refused.value.status) == ("response_too_large", 502)


def test_so_is_one_that_is_larger_unpacked() -> None:
    packed = answer(gzip.compress(b"a" * (MOST_BYTES + 1)), 200, ("content-encoding", "gzip"))
    assert len(packed.body) < 10_000
    assert passed_on(packed, "GET", decompress=False).status == 200
    with pytest.raises(ApiError, match="6 MB"):
        passed_on(packed, "GET", decompress=True)
