"""A DynamoDB and KMS that answer from what they were given, at once, and count what was asked.

It is as fast for every client, so what differs between two clients is their own doing.
"""

from __future__ import annotations

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from benchmarks import child


class Handler(BaseHTTPRequestHandler):
    """Answers the few operations that a read may use."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    items: ClassVar[list[dict[str, Any]]] = []
    keys: ClassVar[dict[str, str]] = {}
    counts: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        """Answer what was asked so far."""
        self._send(dict(self.counts))

    def do_POST(self) -> None:
        """Answer an operation."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        operation = self.headers["x-amz-target"].rpartition(".")[2]
        type(self).counts[operation] += 1
        self._send(getattr(self, f"_{operation}")(body))

    def _GetItem(self, body: Any) -> Any:  # noqa: N802 - the operation's name
        key = body["Key"]
        found = [item for item in self.items if key.items() <= item.items()]
        return {"Item": found[0]} if found else {}

    def _Query(self, body: Any) -> Any:  # noqa: N802 - the operation's name
        values = {each["S"] for each in body["ExpressionAttributeValues"].values() if "S" in each}
        found = [
            item
            for item in self.items
            if item["pk"]["S"] in values
            and item["sk"]["S"].startswith(tuple(values - {item["pk"]["S"]}) or "")
        ]
        return {"Items": found, "Count": len(found), "ScannedCount": len(found)}

    def _UpdateItem(self, body: Any) -> Any:  # noqa: N802 - the operation's name
        return {"Attributes": self._GetItem(body).get("Item", {})}

    def _Decrypt(self, body: Any) -> Any:  # noqa: N802 - the operation's name
        return {"KeyId": "key", "Plaintext": self.keys[body["CiphertextBlob"]]}

    def _send(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response_only(200)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


def main() -> None:
    """Serve until the parent ends."""
    found = child.given()
    Handler.items, Handler.keys = found["items"], found["keys"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    child.announce(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
