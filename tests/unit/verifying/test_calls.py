"""`make verify-aws`: its requests, against servers on this machine."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AWS = SimpleNamespace(emulated=False)
EMULATOR = SimpleNamespace(emulated=True)
GREETING = b'{"message_type":"connection_ack"}'
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@contextmanager
def server(answer: Callable[[socket.socket, bytes], None]) -> Iterator[tuple[str, list[bytes]]]:
    """One connection: what comes until a blank line is given to the function."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            seen.append(head)
            answer(connection, head)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}", seen
    thread.join(10)
    listener.close()


def ok(connection: socket.socket, _head: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Name: Value\r\nContent-Length: 4\r\n\r\nbody")


def test_an_answer_has_status_headers_and_body() -> None:
    from verify_aws.calls import ask

    with server(ok) as (place, seen):
        answer = ask(AWS, f"http://{place}", "GET", "/a%2Fb?c=d", {"X-More": "y"})
    assert (answer.status, answer.headers["x-name"], answer.body) == (200, "Value", b"body")
    assert seen[0].startswith(b"GET /a%2Fb?c=d HTTP/1.1\r\n")
    assert b"X-More: y\r\n" in seen[0]
    assert answer.names("Value")
    assert answer.names("body")
    assert not answer.names("other")


def test_a_foreign_host_is_sent_instead_of_the_apis_own() -> None:
    from verify_aws.calls import ask

    with server(ok) as (place, seen):
        ask(AWS, f"http://{place}", "OPTIONS", "/", {"Host": "foreign.example"})
    assert seen[0].count(b"Host:") == 1
    assert b"Host: foreign.example\r\n" in seen[0]


def test_an_answer_that_comes_before_the_body_is_sent_counts() -> None:
    from verify_aws.calls import ask

    def refuse(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    with server(refuse) as (place, _):
        assert ask(AWS, f"http://{place}", "POST", "/", body=bytes(3_000_000)).status == 413


def test_a_connection_that_breaks_while_a_body_is_sent_is_no_answer() -> None:
    from verify_aws.calls import ask

    with (
        server(lambda connection, _head: connection.close()) as (place, _),
        pytest.raises(ConnectionError),
    ):
        ask(AWS, f"http://{place}", "POST", "/", body=bytes(30_000_000))


@pytest.mark.parametrize(
    "frames",
    [
        b"\x81" + bytes([len(GREETING)]) + GREETING,
        b"\x89\x02hi" + b"\x81" + bytes([len(GREETING)]) + GREETING,  # a ping before it
        b"\x81\x7e" + len(GREETING).to_bytes(2, "big") + GREETING,
        b"\x81\x7f" + len(GREETING).to_bytes(8, "big") + GREETING,
    ],
)
def test_the_first_text_frame_is_read_in_every_form(frames: bytes) -> None:
    from verify_aws.calls import first_frame

    closed: list[bytes] = []

    def greet(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(SWITCH + frames)
        closed.append(connection.recv(64))

    with server(greet) as (place, seen):
        assert first_frame(AWS, f"ws://{place}/live") == {"message_type": "connection_ack"}
    assert seen[0].startswith(b"GET /live HTTP/1.1\r\n")
    for name in (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: "):
        assert name in seen[0]
    assert closed[0][:2] == b"\x88\x80", "it says goodbye, masked, as RFC 6455 asks of clients"


@pytest.mark.parametrize(
    "frames",
    [
        b"\x88\x00",
        b"\x81\x04html",
        b"\x81\x7f" + (1 << 40).to_bytes(8, "big"),
        b"",
    ],
)
def test_a_socket_that_says_nothing_of_use_has_no_frame(frames: bytes) -> None:
    from verify_aws.calls import first_frame

    with server(lambda connection, _head: connection.sendall(SWITCH + frames)) as (place, _):
        assert first_frame(AWS, f"ws://{place}") is None


def test_a_refused_websocket_is_no_answer() -> None:
    from verify_aws.calls import first_frame

    with (
        server(lambda c, _: c.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")) as (
            place,
            _,
        ),
        pytest.raises(ConnectionError, match="refused with 403"),
    ):
        first_frame(AWS, f"ws://{place}")


def test_nothing_is_sent_to_an_address_that_an_emulator_made_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from verify_aws import calls
    from verify_aws.findings import NotServed

    opened: list[object] = []
    for kind in ("HTTPSConnection", "HTTPConnection"):
        monkeypatch.setattr(calls.http.client, kind, lambda *a, **_: opened.append(a))
    made_up = "abc123.execute-api.us-east-1.amazonaws.com"
    with pytest.raises(NotServed, match="nothing was sent"):
        calls.ask(EMULATOR, f"https://{made_up}", "GET", "/health")
    with pytest.raises(NotServed):
        calls.first_frame(EMULATOR, f"wss://{made_up}/live")
    assert opened == []


def test_an_emulators_own_address_is_asked() -> None:
    from verify_aws.calls import ask

    with server(ok) as (place, _):
        assert ask(EMULATOR, f"http://{place}", "GET", "/").status == 200


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        (b'{"error": {"code": "not_found"}}', True),
        (b'{"error": {"code": "other"}}', False),
        (b'{"message": "Not Found"}', False),
        (b'{"error": "not_found"}', False),
        (b"[]", False),
        (b"<html>", False),
    ],
)
def test_an_error_is_one_only_in_the_contracts_shape(body: bytes, fits: bool) -> None:
    from verify_aws.calls import Answer

    assert Answer(404, {}, body).is_error("not_found") is fits
