"""A scripted server on loopback, and the means to reach nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from keystow.egress.errors import EgressFailed
from tests.wire import read_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystow.egress.client import Egress


class Server:
    """Accepts connections on 127.0.0.1 and lets a script treat each one."""

    def __init__(self, script: Callable[[socket.socket, Server], None]) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def url(self, path: str = "/token", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self.stopped.is_set():
                connection.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._treat, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _treat(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            self._script(connection, self)

    def read_request(self, connection: socket.socket) -> bytes:
        head, rest = read_request(connection) or (b"", b"")
        self.requests.append(head + b"\r\n\r\n" + rest)
        return self.requests[-1]

    def close(self) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            pass
        self._acceptor.join(5)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


def answer(body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def loopback_only(address: tuple[str, int], timeout: float | None = None) -> socket.socket:
    """What connects in these tests: anything but loopback fails the test, unsent."""
    assert address[0] in {"127.0.0.1", "::1"}, f"a test tried to leave the machine: {address}"
    return socket.create_connection(address, timeout)


def names(**table: str | list[str]) -> Callable[..., list[tuple[object, ...]]]:
    """A resolver that knows these names only (``_`` in a name stands for a dot)."""
    known = {name.replace("_", "."): value for name, value in table.items()}

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        found = known[host]
        addresses = [found] if isinstance(found, str) else found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    return resolve


def failure(egress: Egress, url: str, **kwargs) -> EgressFailed:
    """Return how a request fails, which never shows what was sent."""
    with pytest.raises(EgressFailed) as failed:
        egress.send("POST", url, body=b"refresh_token=marked-secret", **kwargs)
    assert "marked" not in f"{failed.value} {failed.value!r}"
    return failed.value
