"""Receives an answer over an open connection: head, body, packing; everything bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.egress.errors import EgressFailed
from keystow.egress.head import Head, TooLargeHead
from keystow.egress.reading import is_whole_object

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from keystow.egress.client import Timer

_GZIP: Final = b"\x1f\x8b\x08"


class Receiver:
    """Receives what the parser may see: a head only once it is whole, and mended."""

    def __init__(self, sock: socket.socket, timer: Timer) -> None:
        self.ended = False
        self._sock = sock
        self._timer = timer
        self._head = Head()

    def read(self, max_bytes: int) -> bytes:
        """Return some bytes, or none at the end."""
        ready = b""
        while not ready and not self.ended:
            received = self._received(max_bytes)
            self.ended = not received
            try:
                ready = self._head.feed(received)
            except TooLargeHead:
                raise EgressFailed("too_large", sent=True) from None
        return ready

    def _received(self, max_bytes: int) -> bytes:
        try:
            self._sock.settimeout(self._timer.left())
            return self._sock.recv(max_bytes)
        except TimeoutError:
            raise EgressFailed("timeout", sent=True) from None
        except OSError:
            raise EgressFailed("lost", sent=True) from None


def chunks_of(response: Any) -> Iterator[bytes]:
    """Yield the body; trailers, which nobody reads, may be no header fields.

    A body whose framing has no proper end counts when it ends by itself: an object of JSON that is
    closed was not cut off, whatever length was announced.
    """
    import httpcore

    received = bytearray()
    try:
        for chunk in response.iter_stream():
            received += chunk
            yield chunk
    except httpcore.RemoteProtocolError as error:
        # Once the head is read, the parser says this of trailers only: the body is whole.
        if not str(error).startswith("illegal header line") and not is_whole_object(received):
            raise


def read_body(chunks: Any, announced: str | None, max_bytes: int) -> bytes:
    """Return all of a body. Raises EgressFailed (too_large) as soon as it is known to be so."""
    if announced is not None and announced.isdecimal() and int(announced) > max_bytes:
        raise EgressFailed("too_large", sent=True)
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise EgressFailed("too_large", sent=True)
    return bytes(body)


def unpacked(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo gzip or deflate, which some servers send although nobody asked; bounded.

    A body that is not packed, although its head says so, is taken as it is. One that is packed by
    gzip shows it by its first bytes, whatever its head says.
    """
    said = encoding.strip().lower()
    if said not in {"gzip", "x-gzip", "deflate"} and not body.startswith(_GZIP):
        return body
    import zlib

    ways = [zlib.MAX_WBITS | 32]
    if said == "deflate":
        ways.append(-zlib.MAX_WBITS)  # without the wrapping that RFC 9110 section 8.4.1.2 asks for
    for wbits in ways:
        decoder = zlib.decompressobj(wbits=wbits)
        try:
            plain = decoder.decompress(body, max_bytes + 1)
            while decoder.unused_data.startswith(_GZIP) and len(plain) <= max_bytes:
                # Another member follows (RFC 1952 section 2.2).
                rest = decoder.unused_data
                decoder = zlib.decompressobj(wbits=wbits)
                plain += decoder.decompress(rest, max_bytes + 1 - len(plain))
        except zlib.error:
            continue
        if len(plain) > max_bytes:
            raise EgressFailed("too_large", sent=True)
        if decoder.eof or wbits > 0:  # alone, it has no mark by which it could be told from text
            return plain
    return body


def joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return headers by name, the values of repeated ones joined (RFC 9110 section 5.2)."""
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
