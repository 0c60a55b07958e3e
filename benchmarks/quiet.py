"""The HTTP server under the stand-ins: keeps connections open, sends at once, says nothing."""

from __future__ import annotations

from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Lets many connect at once: a full backlog costs a client a second."""

    daemon_threads = True
    request_queue_size = 256


class Quiet(BaseHTTPRequestHandler):
    """Handles one connection; what subclasses answer goes through :meth:`answer`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle(self) -> None:
        """Answer until the other end leaves; it may leave in any way."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def finish(self) -> None:
        """Close, however the connection stands."""
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def body(self) -> bytes:
        """Return what was sent, whether with a length or in chunks (RFC 9112 section 7.1)."""
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        found = b""
        while size := int(self.rfile.readline().strip(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def answer(
        self,
        content: bytes,
        kind: str = "application/json",
        status: int = 200,
        **headers: str,
    ) -> None:
        """Send an answer whole; ``_`` in the name of a header stands for ``-``."""
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
