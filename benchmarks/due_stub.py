"""DynamoDB and SQS as the sweep sees them: shards with rows that are due; every mark succeeds."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from benchmarks import child
from benchmarks.quiet import Quiet, Server


class Handler(Quiet):
    """Answers a query of the due index, an update and a message."""

    page: ClassVar[list[dict[str, Any]]] = []
    row: ClassVar[bytes] = b""

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        """Answer an operation."""
        body = self.body()
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
        self.answer(content, "application/x-amz-json-1.0")


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
    server = Server(("127.0.0.1", 0), Handler)
    child.announce(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
