"""DynamoDB and SQS as the sweep sees them: shards with rows that are due; every mark succeeds."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from benchmarks import child


class Handler(BaseHTTPRequestHandler):
    """Answers a query of the due index, an update and a message."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    page: ClassVar[list[dict[str, Any]]] = []
    row: ClassVar[bytes] = b""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer an operation."""
        body = self.rfile.read(int(self.headers["content-length"]))
        match self.headers["x-amz-target"].rpartition(".")[2]:
            case "Query":
                asked = json.loads(body)
                shard = next(
                    each["S"] for each in asked["ExpressionAttributeValues"].values() if "S" in each
                )
                first = int(asked.get("ExclusiveStartKey", {}).get("sk", {}).get("N", 0))
                self._send(json.dumps(self._page(shard, first, asked["Limit"])).encode())
            case "UpdateItem":
                self._send(self.row)
            case _:
                self._send(b'{"MessageId":"1"}')

    def _page(self, shard: str, first: int, limit: int) -> dict[str, Any]:
        rows = [
            {**each, "pk": {"S": f"env#integration#{shard}-{first + place}"}}
            for place, each in enumerate(self.page[first : first + limit])
        ]
        answer: dict[str, Any] = {"Items": rows, "Count": len(rows)}
        if first + limit < len(self.page):
            answer["LastEvaluatedKey"] = {"sk": {"N": str(first + limit)}}
        return answer

    def _send(self, content: bytes) -> None:
        self.send_response_only(200)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


def main() -> None:
    """Serve until the parent ends."""
    found = child.given()
    row = {
        "sk": {"S": "connection#secret"},
        "due_shard": {"S": "due-00"},
        "due_at": {"N": "1"},
        "generation": {"S": "g" * 24},
        "version": {"N": "1"},
        "host": {"S": "provider.example"},
    }
    Handler.page = [row] * found["rows"]
    sealed = {
        "M": {"key": {"S": "k" * 30}, "nonce": {"B": "bm9uY2U="}, "text": {"B": "eA==" * 200}}
    }
    whole = {**row, "pk": {"S": "env#integration#c"}, "sealed": sealed}
    Handler.row = json.dumps({"Attributes": whole}).encode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    child.announce(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
