"""A provider and a webhook receiver behind TLS, which answer at once."""

from __future__ import annotations

import json
import ssl

from benchmarks import child
from benchmarks.quiet import Quiet, Server

TOKENS = {
    "access_token": "a" * 220,
    "refresh_token": "r" * 100,
    "token_type": "bearer",
    "expires_in": 3600,
}


class Handler(Quiet):
    """Answers every request with tokens, which only a token request looks at."""

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        """Answer."""
        self.body()
        self.answer(json.dumps(TOKENS).encode())

    do_GET = do_POST  # noqa: N815 - likewise


def main() -> None:
    """Serve until the parent ends."""
    found = child.given()
    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found["certificate"], found["key"])
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    child.announce(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
