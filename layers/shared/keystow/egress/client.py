"""Sends one checked request, within one wall-clock deadline, and hands back the whole answer.

    look-up ── guard ── connect ── TLS ──┃── request ──── answer ──┐
    └──────── connect_timeout each ──────┃                         │
    └──────────────────────── deadline, in all ────────────────────┘
                                         ┃ from here on `sent` is True

Every step asks how much of the deadline is left, so that a slow drip cannot pass it. Each
exchange has a connection of its own; nothing is pooled, proxied or read from the environment.
"""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

from keystow import log  # noqa: F401 - keeps what httpcore would log to itself
from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.egress.guard import Address, Target, approve, literal_address, parse_target
from keystow.egress.reading import form_of, json_of
from keystow.egress.receiving import Receiver, chunks_of, joined, read_body, unpacked

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping, Sequence

_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_BAD_IN_HEADER: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_OWN_HEADERS: Final = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "te", "upgrade", "expect"}
)
_KEPT_ACROSS_ORIGINS: Final = frozenset({"accept", "accept-language", "user-agent"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_ADDRESSES: Final = 4  # tried one after another, within connect_timeout


@dataclass(frozen=True, repr=False)
class Answer:
    """What came back. Its repr shows neither headers nor body, which may hold secrets.

    Attributes:
        status: HTTP status.
        headers: lower-cased names; repeated ones joined by ``, `` (see ``header_list``).
        body: decoded of gzip and deflate, else as received.
        header_list: every header as received, names lower-cased.
        elsewhere: whether a redirect led to an origin that got none of the given headers.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    header_list: tuple[tuple[str, str], ...] = ()
    elsewhere: bool = False

    def json(self) -> Any:
        """Return the decoded JSON body, without what could not be kept of it.

        Raises:
            ValueError: the body is no JSON (text of the body is not in the error).
        """
        return json_of(self.body, self.headers.get("content-type", ""))

    def form(self) -> dict[str, str]:
        """Return the body read as ``application/x-www-form-urlencoded``; last value wins.

        Raises:
            ValueError: the body is no form.
        """
        return form_of(self.body, self.headers.get("content-type", ""))

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, {len(self.body)} bytes)"


class Egress:
    """The one way out, safe to share between threads.

    Args:
        allow_loopback: let loopback addresses, and http to them, pass; only the local stack says
            so.
        resolve: looks names up, as ``socket.getaddrinfo`` does.
        connect: opens a TCP connection to ``(address, port)`` within a time-out, as
            ``socket.create_connection`` does; handed in by tests that must not touch a network.
        monotonic: seconds that only go forward; deadlines follow them, which no correction of
            the machine's date can stretch.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        resolve: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo,
        connect: Callable[[tuple[str, int], float], socket.socket] = socket.create_connection,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allow_loopback = allow_loopback
        self._resolve = resolve
        self._connect = connect
        self._monotonic = monotonic
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = threading.Lock()

    def send(  # noqa: PLR0913 - all but two are options
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        deadline: float = 20.0,
        connect_timeout: float = 3.0,
        max_bytes: int = 1_000_000,
        redirects: int = 0,
        trusted: Iterable[str] = (),
        unpack: bool = True,
    ) -> Answer:
        """Send one request and return the answer, whatever its status.

        Args:
            method: HTTP method.
            url: absolute URL; https (http only on an allowed loopback).
            headers: names and values; Host, length and connection are set here.
            body: the whole body.
            deadline: seconds for everything, from look-up to the last byte of the answer.
            connect_timeout: seconds for look-up and connecting, and again for TLS.
            max_bytes: the largest answer, after decoding.
            redirects: how many to follow; 0 hands the 3xx answer back. Each hop is checked like
                the first; another origin gets none of the given headers, and never a body.
            trusted: URLs whose origins get headers and body on a redirect as the first one does.
            unpack: False leaves the body as it was received.

        Raises:
            EgressRefused: the guard's decision.
            EgressFailed: no answer came; ``sent`` tells whether the request may have arrived.
        """
        timer = Timer(deadline, self._monotonic)
        method = method.upper()
        if not _METHOD.fullmatch(method):
            raise EgressRefused("malformed_header")
        given = dict(headers or {})
        _check_headers(given)
        target = parse_target(url, allow_loopback=self._allow_loopback)
        call = _Call(method, target, given, body, connect_timeout, max_bytes, unpack)
        origins = self._origins(trusted) if redirects else frozenset()
        for hops_left in range(redirects, -1, -1):
            answer = self._exchange(call, timer, followed=hops_left < redirects)
            location = answer.headers.get("location")
            if redirects == 0 or answer.status not in _REDIRECTS or not location:
                return replace(answer, elsewhere=True) if call.elsewhere else answer
            if hops_left == 0:
                break
            call = self._next_hop(answer.status, location, url, call, origins)
            url = f"{call.target.scheme}://{call.target.authority}{call.target.path}"
        raise EgressFailed("too_many_redirects", sent=True)

    def _origins(self, urls: Iterable[str]) -> frozenset[tuple[str, str, int]]:
        found = set()
        for url in urls:
            with suppress(EgressRefused):  # where nothing is sent anyway
                found.add(parse_target(url, allow_loopback=self._allow_loopback).origin)
        return frozenset(found)

    def _next_hop(
        self,
        status: int,
        location: str,
        url: str,
        call: _Call,
        trusted: frozenset[tuple[str, str, int]],
    ) -> _Call:
        try:
            target = parse_target(urljoin(url, location), allow_loopback=self._allow_loopback)
        except EgressRefused as refused:
            raise EgressRefused(refused.reason, sent=True) from None
        except ValueError:
            raise EgressRefused("malformed_url", sent=True) from None
        method, headers, body = call.method, dict(call.headers), call.body
        if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):  # noqa: PLR2004
            method, body = "GET", None
            headers = {k: v for k, v in headers.items() if not k.lower().startswith("content-")}
        elsewhere = call.elsewhere
        if target.origin != call.target.origin and target.origin not in trusted:
            if body is not None:  # 307 and 308: a body may hold a secret, and nobody agreed to this
                raise EgressRefused("redirect", sent=True)
            headers = {k: v for k, v in headers.items() if k.lower() in _KEPT_ACROSS_ORIGINS}
            elsewhere = True
        return replace(
            call, method=method, target=target, headers=headers, body=body, elsewhere=elsewhere
        )

    def _exchange(self, call: _Call, timer: Timer, *, followed: bool) -> Answer:
        """Make one hop: look up, check, connect, send, read, close.

        Raises:
            EgressRefused, EgressFailed: as :meth:`send`; ``sent`` is True when `followed`.
        """
        try:
            sock = self._open(call, timer)
        except EgressRefused as refused:
            raise EgressRefused(refused.reason, sent=followed) from None
        except EgressFailed as failed:
            raise EgressFailed(failed.kind, sent=followed) from None
        stream = _stream_over(sock, timer)
        try:
            return _talk(call, stream)
        except EgressFailed as failed:
            raise EgressFailed(failed.kind, sent=followed or stream.sent) from None
        finally:
            stream.close()

    def _open(self, call: _Call, timer: Timer) -> socket.socket:
        target = call.target
        budget = timer.part(call.connect_timeout)
        addresses = approve(
            self._look_up(target, budget), target, allow_loopback=self._allow_loopback
        )
        sock = self._connect_to_one(addresses, target.port, budget)
        if target.scheme == "http":
            return sock
        return self._start_tls(sock, target.host, timer, call.connect_timeout)

    def _look_up(self, target: Target, timer: Timer) -> list[Address]:
        """Resolve in a thread of its own, since ``getaddrinfo`` knows no time-out."""
        literal = literal_address(target.host)
        if literal is not None:
            return [literal]
        answers: queue.SimpleQueue[list[Address] | None] = queue.SimpleQueue()

        def ask() -> None:
            try:
                rows = self._resolve(target.host, target.port, type=socket.SOCK_STREAM)
                answers.put([ip_address(row[4][0]) for row in rows])
            except (OSError, UnicodeError, ValueError):
                answers.put(None)

        threading.Thread(target=ask, name="keystow-look-up", daemon=True).start()
        try:
            addresses = answers.get(timeout=timer.left())
        except queue.Empty:
            raise EgressFailed("timeout", sent=False) from None
        if not addresses:
            raise EgressFailed("connect", sent=False)
        return addresses

    def _connect_to_one(
        self, addresses: Sequence[Address], port: int, timer: Timer
    ) -> socket.socket:
        candidates = addresses[:_MOST_ADDRESSES]
        timed_out = False
        for position, address in enumerate(candidates):
            patience = timer.left() / (len(candidates) - position)
            try:
                sock = self._connect((str(address), port), patience)
            except TimeoutError:
                timed_out = True
            except OSError:
                continue
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
        raise EgressFailed("timeout" if timed_out else "connect", sent=False)

    def _start_tls(
        self, sock: socket.socket, host: str, timer: Timer, seconds: float
    ) -> socket.socket:
        import ssl

        try:
            sock.settimeout(timer.part(seconds).left())
            return self._tls_context().wrap_socket(sock, server_hostname=host)
        except TimeoutError:
            sock.close()
            raise EgressFailed("timeout", sent=False) from None
        except (ssl.SSLError, ssl.CertificateError, OSError, ValueError):
            sock.close()
            raise EgressFailed("tls", sent=False) from None
        except EgressFailed:
            sock.close()
            raise

    def get_ready(self) -> None:
        """Load what the first request would load: a quarter of a second with 256 MB of memory."""
        import encodings.idna  # noqa: F401 - every look-up of a name goes through it

        import httpcore  # noqa: F401 - likewise loaded for its effect

        self._tls_context()

    def _tls_context(self) -> ssl.SSLContext:
        with self._tls_lock:
            if self._tls is None:
                import ssl

                import certifi

                # The bundle is named, since the default one can be replaced by the environment.
                context = ssl.create_default_context(cafile=certifi.where())
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                context.set_alpn_protocols(["http/1.1"])
                self._tls = context
            return self._tls


@dataclass(frozen=True, repr=False)
class _Call:
    """One hop of a request."""

    method: str
    target: Target
    headers: Mapping[str, str]
    body: bytes | None
    connect_timeout: float
    max_bytes: int
    unpack: bool = True
    elsewhere: bool = False


class Timer:
    """A stretch of time that several steps share."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ends = monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, more than 0.

        Raises:
            EgressFailed: nothing is left (``sent`` False; who has sent says so itself).
        """
        left = self._ends - self._monotonic()
        if left <= 0:
            raise EgressFailed("timeout", sent=False)
        return left

    def part(self, seconds: float) -> Timer:
        """Return a timer of at most that many seconds, which ends with this one."""
        return Timer(min(seconds, self.left()), self._monotonic)


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or _BAD_IN_HEADER.search(value):
            raise EgressRefused("malformed_header")


def _stream_over(sock: socket.socket, timer: Timer) -> Any:
    """Return the socket as the network stream that httpcore reads and writes (its own seam)."""
    import httpcore

    class Stream(httpcore.NetworkStream):
        """Asks the timer before every single read and write, and remembers the first write."""

        def __init__(self) -> None:
            self.sent = False
            self.receiver = Receiver(sock, timer)

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            """Return some bytes, or none at the end."""
            del timeout
            return self.receiver.read(max_bytes)

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            """Send all of the buffer."""
            del timeout
            view = memoryview(buffer)
            while view:
                sock.settimeout(timer.left())
                # Set before the call: a send that fails may have sent some of it all the same.
                self.sent = True
                try:
                    view = view[sock.send(view) :]
                except TimeoutError:
                    raise EgressFailed("timeout", sent=True) from None
                except OSError as error:
                    # httpcore then still looks for an early answer, as servers may give one.
                    raise httpcore.WriteError(type(error).__name__) from None

        def close(self) -> None:
            """Close the socket."""
            sock.close()

    return Stream()


def _talk(call: _Call, stream: Any) -> Answer:
    """Send the request over an open stream and read the answer.

    Raises:
        EgressFailed: timeout, lost, malformed or too_large.
    """
    import httpcore

    target = call.target
    origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
    request = httpcore.Request(
        call.method,
        httpcore.URL(
            scheme=origin.scheme, host=origin.host, port=origin.port, target=target.path.encode()
        ),
        headers=_wire_headers(call),
        content=call.body or b"",
    )
    try:
        connection = httpcore.HTTP11Connection(origin=origin, stream=stream)
        response = connection.handle_request(request)
        pairs = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in response.headers
        )
        headers = joined(pairs)
        announced = None if call.method == "HEAD" else headers.get("content-length")
        body = read_body(chunks_of(response), announced, call.max_bytes)
        if call.unpack:
            body = unpacked(body, headers.get("content-encoding", ""), call.max_bytes)
    except httpcore.ProtocolError:
        # Without an end of the connection it was not cut off: it is no HTTP.
        raise EgressFailed("lost" if stream.receiver.ended else "malformed", sent=True) from None
    return Answer(response.status, headers, body, pairs)


def _wire_headers(call: _Call) -> list[tuple[bytes, bytes]]:
    given = {name.lower(): (name, value) for name, value in call.headers.items()}
    wire = [(b"Host", call.target.authority.encode())]
    defaults = (("User-Agent", "Keystow"), ("Accept", "*/*"), ("Accept-Encoding", "identity"))
    for name, value in defaults:
        if name.lower() not in given:
            wire.append((name.encode(), value.encode()))
    for lower, (name, value) in given.items():
        if lower not in _OWN_HEADERS:
            wire.append((name.encode(), value.strip().encode()))
    if call.body is not None or call.method in {"POST", "PUT", "PATCH"}:
        wire.append((b"Content-Length", str(len(call.body or b"")).encode()))
    wire.append((b"Connection", b"close"))
    return wire
