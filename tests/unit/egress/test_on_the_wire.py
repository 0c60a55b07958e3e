"""What a request looks like on the wire, and from when on it counts as sent."""

from __future__ import annotations

import pytest

from keystow.egress.client import Egress
from keystow.egress.errors import EgressFailed
from tests.unit.egress.loopback import answer, loopback_only, names


@pytest.mark.parametrize("fold", [str.lower, str.upper, str.title])
def test_headers_that_frame_a_request_are_set_here_whoever_gives_them(serve, egress, fold) -> None:
    server = serve(answer())
    given = {
        "host": "elsewhere.example",
        "content-length": "3",
        "transfer-encoding": "chunked",
        "connection": "keep-alive",
        "te": "trailers",
        "upgrade": "h2c",
        "expect": "100-continue",
    }
    headers = {fold(name): value for name, value in given.items()}
    egress.send("POST", server.url(), headers={**headers, "X-Kept": "yes"}, body=b"whole body")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = [line.lower() for line in head.split(b"\r\n")[1:]]
    assert body == b"whole body"
    assert f"host: 127.0.0.1:{server.port}".encode() in lines
    assert b"content-length: 10" in lines
    assert b"connection: close" in lines
    assert b"x-kept: yes" in lines
    for name in given:
        assert sum(line.startswith(f"{name}:".encode()) for line in lines) <= 1
    assert b"elsewhere" not in head
    for value in (b"chunked", b"trailers", b"h2c", b"100-continue", b"keep-alive"):
        assert value not in head


@pytest.mark.parametrize("fold", [str.lower, str.upper])
def test_a_header_given_in_any_case_takes_the_place_of_ours(serve, egress, fold) -> None:
    server = serve(answer())
    egress.send("GET", server.url(), headers={fold("user-agent"): "Own", fold("accept"): "a/b"})
    head = server.requests[0].lower()
    assert (head.count(b"user-agent:"), head.count(b"accept:")) == (1, 1)
    assert b"user-agent: own" in head
    assert b"accept: a/b" in head


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", None, None),
        ("DELETE", None, None),
        ("POST", None, b"0"),
        ("PUT", None, b"0"),
        ("PATCH", None, b"0"),
        ("DELETE", b"body", b"4"),
        ("POST", b"", b"0"),
    ],
)
def test_a_length_is_told_where_there_is_or_should_be_a_body(
    serve, egress, method, body, length
) -> None:
    server = serve(answer())
    egress.send(method, server.url(), body=body)
    found = [
        line.partition(b":")[2].strip()
        for line in server.requests[0].split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    assert found == ([] if length is None else [length])


def test_the_length_that_head_tells_is_not_that_of_its_answer(serve, egress) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    got = egress.send("HEAD", server.url(), max_bytes=10)
    assert (got.status, got.body) == (200, b"")


def test_the_headers_of_an_answer_are_handed_back_one_by_one_too(serve, egress) -> None:
    server = serve(answer(headers="Set-Cookie: a=1\r\nset-cookie: b=2\r\n"))
    got = egress.send("GET", server.url())
    cookies = [value for name, value in got.header_list if name == "set-cookie"]
    assert cookies == ["a=1", "b=2"]


def failure_of(call) -> EgressFailed:
    with pytest.raises(EgressFailed) as raised:
        call()
    return raised.value


def test_a_deadline_that_ends_before_the_first_byte_says_that_nothing_was_sent(serve) -> None:
    now = [0.0]

    def connect(address, timeout=None):
        found = loopback_only(address, timeout)
        now[0] += 100
        return found

    server = serve(answer())
    out = Egress(allow_loopback=True, resolve=names(), connect=connect, monotonic=lambda: now[0])
    failed = failure_of(lambda: out.send("POST", server.url(), body=b"secret"))
    assert (failed.kind, failed.sent) == ("timeout", False)
    assert server.requests == []


def test_a_request_that_is_taken_in_part_only_counts_as_sent(serve, egress) -> None:
    server = serve(lambda _connection, found: found.stopped.wait(5))
    body = bytes(30_000_000)
    failed = failure_of(lambda: egress.send("POST", server.url(), body=body, deadline=0.5))
    assert (failed.kind, failed.sent) == ("timeout", True)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"no HTTP at all\r\n\r\n"])
def test_an_answer_that_breaks_off_or_is_none_counts_as_sent(serve, egress, said) -> None:
    failed = failure_of(lambda: egress.send("POST", serve(said).url(), body=b"secret"))
    assert failed.sent is True


def test_a_failure_says_whether_the_request_may_have_arrived() -> None:
    assert "may have arrived" in str(EgressFailed("lost", sent=True))
    assert "nothing was sent" in str(EgressFailed("lost", sent=False))


@pytest.mark.parametrize(
    ("behaviour", "expected", "kind"),
    [
        ([TimeoutError, OSError, None], [1.0, 1.0, 2.0], None),
        ([OSError, TimeoutError, None], [1.0, 1.5, 1.5], None),
        ([TimeoutError, TimeoutError, TimeoutError], [1.0, 1.0, 1.0], "timeout"),
        ([OSError, TimeoutError, OSError], [1.0, 1.5, 1.5], "timeout"),
        ([OSError, OSError, OSError], [1.0, 1.5, 3.0], "connect"),
    ],
)
def test_each_address_of_a_name_gets_its_share_of_the_time(
    serve, behaviour, expected, kind
) -> None:
    now, shares = [0.0], []

    def connect(address, timeout):
        error = behaviour[len(shares)]
        shares.append(timeout)
        if error is None:
            return loopback_only(("127.0.0.1", address[1]), timeout)
        if error is TimeoutError:
            now[0] += timeout
        raise error

    out = Egress(
        allow_loopback=True,
        resolve=names(localhost=["127.0.0.2", "127.0.0.3", "127.0.0.4"]),
        connect=connect,
        monotonic=lambda: now[0],
    )
    url = f"http://localhost:{serve(answer(b'end')).port}/"
    if kind is None:
        assert out.send("GET", url, connect_timeout=3.000001).body == b"end"
    else:
        failed = failure_of(lambda: out.send("GET", url, connect_timeout=3.000001))
        assert (failed.kind, failed.sent) == (kind, False)
    assert shares == pytest.approx(expected, abs=0.001)
