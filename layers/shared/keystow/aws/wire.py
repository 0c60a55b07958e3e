"""HTTP/1.1 to one origin over connections that are kept, as strict as AWS's answers allow.

AWS's endpoints send little of what HTTP can do, so little is read: a head, and a body of a known
length, in chunks, or to the end of the connection. What frames an answer in any other way breaks
the connection. The standard library's client brings the parser of e-mails with it, which takes as
long to load as all of this package and longer to read a head than the rest of a request takes
(docs/dependencies.md has the numbers).

    take a kept connection ─▶ still open? ─▶ send ─▶ answer ─▶ keep
          (none: open one)     no: another    │ closed before the first byte of an answer:
                                              └ that was a kept one: once more, on a new one
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from keystow.aws.errors import AwsUnanswered
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST: Final = 16_000_000  # bytes of an answer's body; DynamoDB's largest is some megabytes
LARGEST_HEAD: Final = 64_000  # bytes
WHOLE_SECONDS: Final = 20.0  # from the request to the last byte of the answer, however it drips
# What lies between forgets connections that are silent for 350 s, and tells nobody.
IDLE_SECONDS: Final = 300.0
MOST_KEPT: Final = 110  # a worker's hundred threads, and some
_PART: Final = 65_536
_NO_BODY: Final = {204, 304}
_HEXADECIMAL: Final = b"0123456789abcdefABCDEF"
_LONGEST_LENGTH: Final = 12  # digits

_tls_lock = threading.Lock()
_tls: ssl.SSLContext | None = None


class Answer(Value):
    """An HTTP answer; ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, {len(self.body)} bytes)"


class _Stale(Exception):  # noqa: N818 - an outcome, not a fault
    """The other side closed a kept connection before it answered anything."""


def tls_context() -> ssl.SSLContext:
    """Return the container's TLS context: certifi's roots, or those of ``AWS_CA_BUNDLE``."""
    global _tls  # noqa: PLW0603 - loading roots takes longer than all else of a first request
    with _tls_lock:
        if _tls is None:
            import certifi

            bundle = os.environ.get("AWS_CA_BUNDLE") or certifi.where()
            context = ssl.create_default_context(cafile=bundle)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            _tls = context
        return _tls


def request_of(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a request as it is sent.

    Args:
        method: HTTP method.
        path: what stands in the request line, encoded.
        headers: names and values, ``host`` among them; the length is added here.
        body: the whole body.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    length = f"content-length: {len(body)}\r\n" if body or method != "GET" else ""
    head = f"{method} {path} HTTP/1.1\r\n{''.join(lines)}{length}\r\n"
    return head.encode("latin-1") + body


class Origin:
    """Exchanges with one origin; threads may share it.

    Args:
        url: scheme, host and port.
        connect_seconds: to open a connection, and again for TLS.
        read_seconds: for each part of an answer.
    """

    def __init__(self, url: str, connect_seconds: float, read_seconds: float) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in {"http", "https"} or not host or parts.username:
            raise ValueError("an endpoint is an http or https URL of a host")
        if not host.isascii():
            raise ValueError("an endpoint's host has ASCII letters only")
        # As bytes: text would load the codec of international names, in the first request.
        self._host = host.encode()
        # Made here, so that who makes clients at init has read the roots before the first request.
        self._tls = tls_context() if parts.scheme == "https" else None
        usual = 80 if self._tls is None else 443
        self._port = parts.port or usual
        shown = f"[{host}]" if ":" in host else host
        self.authority = shown if self._port == usual else f"{shown}:{self._port}"
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._kept: deque[tuple[socket.socket, float]] = deque(maxlen=MOST_KEPT)

    def open(self) -> None:
        """Open a connection to keep, so that the first request finds one.

        Raises:
            AwsUnanswered: none could be opened.
        """
        self._keep(self._opened())

    def close(self) -> None:
        """Close the connections that are kept."""
        while True:
            try:
                self._kept.pop()[0].close()
            except IndexError:
                return

    def exchange(self, request: bytes) -> Answer:
        """Send a request (:func:`request_of`) and return the answer.

        Raises:
            AwsUnanswered: none came that can be read.
        """
        kept = self._taken()
        if kept is not None:
            try:
                return self._asked(kept, request, fresh=False)
            except _Stale:
                # A frozen container's connections end together; and AWS has answered nothing, so
                # that this is no attempt of its own.
                self.close()
            except AwsUnanswered:
                self.close()  # what lies between may have forgotten all of them
                raise
        return self._asked(self._opened(), request, fresh=True)

    def _asked(self, sock: socket.socket, request: bytes, *, fresh: bool) -> Answer:
        reader = _Reader(sock)
        keep = False
        try:
            sock.sendall(request)
            answer, keep = reader.answer()
            return answer
        except TimeoutError:
            raise AwsUnanswered("ReadTimedOut") from None
        except OSError:
            if not fresh and not reader.begun:
                raise _Stale from None
            raise AwsUnanswered("ConnectionLost") from None
        finally:
            if keep:
                self._keep(sock)
            else:
                sock.close()

    def _opened(self) -> socket.socket:
        address: Any = (self._host, self._port)
        try:
            sock = socket.create_connection(address, self._connect_seconds)
        except TimeoutError:
            raise AwsUnanswered("ConnectTimedOut") from None
        except (OSError, UnicodeError):
            raise AwsUnanswered("ConnectFailed") from None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self._host)
            sock.settimeout(self._read_seconds)
        except TimeoutError:
            sock.close()
            raise AwsUnanswered("ConnectTimedOut") from None
        except (OSError, ValueError):
            sock.close()
            raise AwsUnanswered("TlsFailed") from None
        return sock

    def _keep(self, sock: socket.socket) -> None:
        if len(self._kept) >= MOST_KEPT:
            sock.close()
        else:
            self._kept.append((sock, time.time()))

    def _taken(self) -> socket.socket | None:
        """Return the connection that was used last, if it is still open."""
        while True:
            try:
                sock, since = self._kept.pop()
            except IndexError:
                return None
            if 0 <= time.time() - since < IDLE_SECONDS and not _is_over(sock, self._read_seconds):
                return sock
            sock.close()


def _is_over(sock: socket.socket, read_seconds: float) -> bool:
    """Return whether a silent connection has ended, or says what nobody asked for.

    Session tickets (RFC 8446 section 4.6.1), which a server sends by itself, are neither.
    """
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        if not poll.poll(0):
            return False
        if not isinstance(sock, ssl.SSLSocket):
            return True
        sock.settimeout(0)
        try:
            sock.recv(1)
        except ssl.SSLWantReadError:
            return False
        finally:
            sock.settimeout(read_seconds)
    except (OSError, ValueError):
        return True
    return True


class _Reader:
    """Reads one answer from a connection.

    Attributes:
        begun: whether a byte of the answer has come.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = bytearray()
        self._until = time.monotonic() + WHOLE_SECONDS
        self.begun = False

    def answer(self) -> tuple[Answer, bool]:
        """Return the answer, and whether another request can follow on the connection.

        Raises:
            AwsUnanswered: it has no framing that is known, or is too large, or takes too long.
            OSError: the connection broke.
        """
        status, version, headers = self._head()
        while 100 <= status < 200:  # noqa: PLR2004 - informational (RFC 9110 section 15.2)
            status, version, headers = self._head()
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if status in _NO_BODY:
            body = b""
        elif coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise AwsUnanswered("AnswerMalformed")
            body = self._chunks()
        elif length is not None:
            if not (length.isascii() and length.isdecimal()):
                raise AwsUnanswered("AnswerMalformed")
            if len(length) > _LONGEST_LENGTH:
                raise AwsUnanswered("AnswerTooLarge")
            body = self._exactly(int(length))
        else:
            body, keep = self._rest(), False
        return Answer(status, headers, body), keep and not self._held

    def _head(self) -> tuple[int, str, dict[str, str]]:
        head = self._until_mark(b"\r\n\r\n", LARGEST_HEAD).decode("latin-1")
        first, *lines = head.split("\r\n")
        version, _, rest = first.partition(" ")
        status = rest[:3]
        if version not in {"HTTP/1.1", "HTTP/1.0"} or not re.fullmatch("[1-9][0-9]{2}", status):
            raise AwsUnanswered("AnswerMalformed")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            # A folded line begins with white space, and is none of a name's characters either.
            if not colon or not name or name.strip() != name:
                raise AwsUnanswered("AnswerMalformed")
            name, value = name.lower(), value.strip()
            if name in headers and name in {"content-length", "transfer-encoding"}:
                raise AwsUnanswered("AnswerMalformed")
            headers[name] = value
        return int(status), version, headers

    def _chunks(self) -> bytes:
        """Return a body in chunks (RFC 9112 section 7.1)."""
        parts: list[bytes] = []
        whole = 0
        while True:
            digits = self._until_mark(b"\r\n", LARGEST_HEAD).partition(b";")[0].strip()
            if not digits or digits.strip(_HEXADECIMAL):
                raise AwsUnanswered("AnswerMalformed")
            size = int(digits, 16)
            whole += size
            if whole > LARGEST:
                raise AwsUnanswered("AnswerTooLarge")
            if size == 0:
                while self._until_mark(b"\r\n", LARGEST_HEAD):
                    pass  # trailers, which nobody reads
                return b"".join(parts)
            parts.append(self._exactly(size))
            if self._exactly(2) != b"\r\n":
                raise AwsUnanswered("AnswerMalformed")

    def _until_mark(self, mark: bytes, most: int) -> bytes:
        looked_at = 0
        while (place := self._held.find(mark, looked_at)) < 0:
            looked_at = max(0, len(self._held) - len(mark) + 1)
            if len(self._held) > most:
                raise AwsUnanswered("AnswerTooLarge")
            self._more()
        found = bytes(self._held[:place])
        del self._held[: place + len(mark)]
        return found

    def _exactly(self, size: int) -> bytes:
        if size > LARGEST:
            raise AwsUnanswered("AnswerTooLarge")
        while len(self._held) < size:
            self._more()
        found = bytes(self._held[:size])
        del self._held[:size]
        return found

    def _rest(self) -> bytes:
        while True:
            if len(self._held) > LARGEST:
                raise AwsUnanswered("AnswerTooLarge")
            part = self._received()
            if not part:
                found = bytes(self._held)
                self._held.clear()
                return found
            self._held += part

    def _more(self) -> None:
        part = self._received()
        if not part:
            raise ConnectionResetError
        self._held += part

    def _received(self) -> bytes:
        if time.monotonic() > self._until:
            raise TimeoutError
        part = self._sock.recv(_PART)
        self.begun = self.begun or bool(part)
        return part
