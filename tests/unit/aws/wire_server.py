"""A server on a loopback port that does to a connection what a test tells it to."""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from zlib import crc32

from tests.wire import read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Act:
    """What happens to one request: bytes are sent, then the connection is closed or kept.

    ``silent``: nothing more comes, and the connection stays open.
    """

    sends: bytes = b""
    closes: bool = False
    silent: bool = False
    before: Callable[[], None] | None = None


@dataclass
class WireServer:
    """Acts in order; the last one again and again.

    Attributes:
        requests: as they arrived: (number of the connection, head, body).
        talking: one for each connection that was accepted, and has done its handshake.
    """

    port: int
    acts: deque[Act]
    requests: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    opened: int = 0
    tls: ssl.SSLContext | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    talking: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    lock: threading.Lock = field(default_factory=threading.Lock)
    open_sockets: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        if self.tls is not None:
            return f"https://localhost:{self.port}"
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> list[int]:
        """Which connection each request came by."""
        return [number for number, _, _ in self.requests]

    def close_all(self) -> None:
        """Close every open connection, as a server does whose patience is over."""
        for each in list(self.open_sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve(self, listening: socket.socket) -> None:
        while not self.ended.is_set():
            try:
                accepted, _ = listening.accept()
            except OSError:
                return
            self.opened += 1
            self.open_sockets.append(accepted)
            given = (accepted, self.opened)
            threading.Thread(target=self._talk, args=given, daemon=True).start()

    def _talk(self, sock: socket.socket, number: int) -> None:
        try:
            if self.tls is not None:
                plain, sock = sock, self.tls.wrap_socket(sock, server_side=True)
                self.open_sockets[self.open_sockets.index(plain)] = sock
            self.talking.release()
            while (request := read_request(sock)) is not None:
                with self.lock:
                    self.requests.append((number, *request))
                    act = self.acts.popleft() if len(self.acts) > 1 else self.acts[0]
                if act.before is not None:
                    act.before()
                if act.sends:
                    sock.sendall(act.sends)
                if act.silent:
                    self.ended.wait(10)
                if act.closes:
                    break
        except OSError:
            pass
        finally:
            with suppress(ValueError):
                self.open_sockets.remove(sock)
            sock.close()


@contextmanager
def acting(*acts: Act, tls: ssl.SSLContext | None = None) -> Iterator[WireServer]:
    """Yield a server that does that, in plain or behind TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = WireServer(listening.getsockname()[1], deque(acts), tls=tls)
        thread = threading.Thread(target=server.serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            server.close_all()
            thread.join(5)


def wait_for_its_end(sock: socket.socket) -> None:
    """Return when the other side has closed a client's connection."""
    ended = select.poll()
    ended.register(sock, select.POLLRDHUP)
    assert ended.poll(10_000), "it is still open"


def http(
    body: bytes, status: int = 200, headers: dict[str, str] | None = None, *, length: str = ""
) -> bytes:
    """Return an answer as bytes."""
    given = {"content-length": length or str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body


def said(found: Any, **headers: str) -> Act:
    """A success, as DynamoDB answers."""
    body = json.dumps(found).encode()
    return Act(http(body, headers={"x-amz-crc32": str(crc32(body)), **headers}))


def refused(
    code: str, status: int = 400, *, date: float | None = None, message: str = "no", **more: Any
) -> Act:
    """A refusal, as services with JSON answer."""
    body = json.dumps({"__type": f"com.amazon.x#{code}", "message": message, **more}).encode()
    headers = {} if date is None else {"date": formatdate(date, usegmt=True)}
    return Act(http(body, status, headers))
