"""A token endpoint that thinks for a while and then answers; counts what is in flight."""

from __future__ import annotations

import asyncio
import itertools
import json

from benchmarks import child


class Endpoint:
    """Answers each request with fresh tokens after a latency.

    Args:
        latency: seconds.
        life: of the tokens, seconds.
    """

    def __init__(self, latency: float, life: int) -> None:
        self._latency = latency
        self._life = life
        self._numbers = itertools.count(1)
        self._in_flight = 0
        self._most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if head.startswith("get /most"):
            await self._answer(writer, {"most": self._most})
            self._most = 0
            return
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        await reader.readexactly(length)
        self._in_flight += 1
        self._most = max(self._most, self._in_flight)
        await asyncio.sleep(self._latency)
        self._in_flight -= 1
        number = next(self._numbers)
        await self._answer(
            writer,
            {
                "access_token": f"access-{number}-".ljust(220, "x"),
                "refresh_token": f"refresh-{number}-".ljust(100, "x"),
                "token_type": "bearer",
                "expires_in": self._life,
            },
        )

    async def _answer(self, writer: asyncio.StreamWriter, body: object) -> None:
        content = json.dumps(body).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(content), content)
        )
        await writer.drain()
        writer.close()


async def main() -> None:
    """Serve until the parent ends."""
    found = child.given()
    endpoint = Endpoint(found["latency"], found["life"])
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, backlog=512)
    child.announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
