"""Requests of the client: how they are sent, how long they may take, how they fail."""

from __future__ import annotations

import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from keystow.egress.client import Egress, Timer
from keystow.egress.errors import EgressFailed
from tests.unit.egress.loopback import answer, failure, loopback_only, names


class Ticking:
    """A clock that moves by one second whenever somebody looks at it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


def test_a_request_arrives_as_given_and_its_answer_comes_back(serve, egress) -> None:
    server = serve(answer(b'{"a": 1}', headers="X-Rate: 1\r\nX-Rate: 2\r\n"))

    got = egress.send(
        "post",
        server.url("/token?q=a b".replace(" ", "%20")),
        headers={"X-Own": "yes"},
        body=b"a=1",
    )

    assert (got.status, got.json(), got.headers["x-rate"]) == (200, {"a": 1}, "1, 2")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /token?q=a%20b HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}" in lines
    assert "X-Own: yes" in lines
    for line in (
        "User-Agent: Keystow",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Content-Length: 3",
        "Connection: close",
    ):
        assert line in lines
    assert body == b"a=1"


def test_an_answer_of_any_status_is_an_answer(serve, egress) -> None:
    server = serve(answer(b"no", status="503 Busy", headers="Retry-After: 7\r\n"))
    got = egress.send("GET", server.url())
    assert (got.status, got.headers["retry-after"], got.body) == (503, "7", b"no")


def test_proxies_of_the_environment_are_ignored(serve, egress, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert egress.send("GET", serve(answer()).url()).status == 200


def test_a_slow_drip_does_not_pass_the_deadline(serve) -> None:
    def drip(connection: socket.socket, server) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not server.stopped.is_set():
            connection.sendall(b"a")

    ticking = Egress(allow_loopback=True, connect=loopback_only, monotonic=Ticking())
    # Every read succeeds at once; only their number, a second each, can end this exchange.
    failed = failure(ticking, serve(drip).url(), deadline=20.0, connect_timeout=20.0)
    assert failed.kind in {"timeout", "lost"}
    assert failed.sent is True


def test_a_drip_of_body_bytes_ends_with_the_deadline(serve) -> None:
    def drip(connection: socket.socket, server) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not server.stopped.wait(0.02):
            connection.sendall(b"a")

    patient = Egress(allow_loopback=True, connect=loopback_only)
    failed = failure(patient, serve(drip).url(), deadline=0.3)
    assert (failed.kind, failed.sent) == ("timeout", True)


def test_a_silent_server_runs_into_the_deadline_after_the_request_was_sent(serve, egress) -> None:
    def silent(connection: socket.socket, server) -> None:
        server.read_request(connection)
        server.stopped.wait(5)

    failed = failure(egress, serve(silent).url(), deadline=0.2)
    assert (failed.kind, failed.sent) == ("timeout", True)


def test_a_look_up_that_hangs_counts_against_the_deadline() -> None:
    release = threading.Event()

    keeping: list[bool] = []

    def hanging(*_: object, **__: object) -> list[tuple[object, ...]]:
        keeping.append(not threading.current_thread().daemon)
        release.wait(5)
        return []

    failed = failure(
        Egress(resolve=hanging, connect=loopback_only), "https://slow.example", deadline=0.1
    )
    release.set()
    assert (failed.kind, failed.sent) == ("timeout", False)
    assert keeping == [False], "it keeps no program from ending"


@pytest.mark.parametrize(("seconds", "status"), [(19.9, 200), (20, None)])
def test_who_names_no_limits_gets_twenty_seconds_three_of_them_to_connect(
    serve, seconds, status
) -> None:
    now, patience = [0.0], []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        patience.append(timeout)
        now[0] += seconds
        return loopback_only(address, 3)

    out = Egress(allow_loopback=True, connect=connect, monotonic=lambda: now[0])
    url = serve(answer()).url()
    if status is None:
        assert (failure(out, url).kind, patience) == ("timeout", [3.0])
    else:
        assert (out.send("GET", url).status, patience) == (status, [3.0])


def test_who_names_no_limit_gets_a_megabyte(serve, egress) -> None:
    assert len(egress.send("GET", serve(answer(bytes(1_000_000))).url()).body) == 1_000_000
    assert failure(egress, serve(answer(bytes(1_000_001))).url()).kind == "too_large"


def test_a_timer_is_over_at_its_end_and_a_part_of_it_not_later() -> None:
    now = [0.0]
    timer = Timer(2, lambda: now[0])
    part, long_part = timer.part(1), timer.part(5)
    assert (timer.left(), part.left(), long_part.left()) == (2, 1, 2)
    for seconds, over in ((1, [part]), (2, [timer, part, long_part])):
        now[0] = seconds
        for each in over:
            with pytest.raises(EgressFailed) as failed:
                each.left()
            assert failed.value.kind == "timeout"


def test_an_unknown_name_is_a_failure_with_nothing_sent() -> None:
    failed = failure(Egress(resolve=names(), connect=loopback_only), "https://nowhere.example")
    assert (failed.kind, failed.sent) == ("connect", False)


def test_a_closed_port_is_a_failure_with_nothing_sent(egress) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failed = failure(egress, f"http://127.0.0.1:{port}/")
    assert (failed.kind, failed.sent) == ("connect", False)


def test_the_next_address_is_tried_when_the_first_does_not_answer(serve) -> None:
    server = serve(answer(b"second"))
    tried: list[str] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        if address[0] == "::1":
            raise TimeoutError
        return loopback_only(address, timeout)

    two = Egress(
        allow_loopback=True, resolve=names(provider_test=["::1", "127.0.0.1"]), connect=connect
    )
    assert two.send("GET", server.url(host="provider.test")).body == b"second"
    assert tried == ["::1", "127.0.0.1"]


class Broken:
    """A connection that takes a part of the request only; ``answer`` came before it broke."""

    def __init__(self, answer: bytes) -> None:
        self.taken = b""
        self.closed = False
        self._answer = answer

    def setsockopt(self, *_option: object) -> None:
        pass

    def settimeout(self, _seconds: float) -> None:
        pass

    def send(self, data: bytes) -> int:
        if self.taken:
            raise BrokenPipeError
        self.taken = bytes(data[:20])
        return len(self.taken)

    def recv(self, _most: int) -> bytes:
        found, self._answer = self._answer, b""
        if not found:
            raise ConnectionResetError
        return found

    def close(self) -> None:
        self.closed = True


def test_an_answer_that_comes_before_the_whole_request_was_taken_counts() -> None:
    broken = Broken(answer(b"too much", status="413 Too Large"))
    out = Egress(allow_loopback=True, connect=lambda *_where: broken)  # type: ignore[arg-type]
    got = out.send("POST", "http://127.0.0.1:9/", body=b"x" * 1000, deadline=3)
    assert (got.status, got.body, broken.closed) == (413, b"too much", True)


def test_a_request_that_was_taken_in_part_and_not_answered_is_lost_and_was_sent() -> None:
    broken = Broken(b"")
    out = Egress(allow_loopback=True, connect=lambda *_where: broken)  # type: ignore[arg-type]
    failed = failure(out, "http://127.0.0.1:9/", deadline=3)
    assert (failed.kind, failed.sent, broken.closed) == ("lost", True, True)


def test_a_connection_reset_after_the_request_says_that_it_was_sent(serve, egress) -> None:
    def reset(connection: socket.socket, server) -> None:
        server.read_request(connection)
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    failed = failure(egress, serve(reset).url())
    assert (failed.kind, failed.sent) == ("lost", True)


def test_a_hundred_threads_share_one_egress(serve, egress) -> None:
    def echo(connection: socket.socket, server) -> None:
        connection.sendall(answer(server.read_request(connection).partition(b"\r\n\r\n")[2]))

    server = serve(echo)
    bodies = [f"request-{number}".encode() for number in range(100)]
    with ThreadPoolExecutor(100) as pool:
        got = list(pool.map(lambda b: egress.send("POST", server.url(), body=b).body, bodies))
    assert got == bodies


def test_debug_logging_shows_neither_request_nor_answer(serve, egress, caplog) -> None:
    server = serve(answer(b"{}", headers="Set-Cookie: marked-cookie\r\n"))
    with caplog.at_level(logging.DEBUG):
        egress.send("GET", server.url("/?marked-query"), headers={"Authorization": "marked-key"})
    assert "marked" not in caplog.text
