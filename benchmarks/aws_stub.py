"""AWS that answers from what it was given, and counts what was asked.

DynamoDB, KMS, SQS, Lambda and API Gateway's sockets, as far as functions use them. It is as fast
for every client, so what differs between two clients is their own doing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections import Counter
from typing import Any, ClassVar

from benchmarks import child
from benchmarks.quiet import Quiet, Server
from benchmarks.tables import Refused, Tables

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class Handler(Quiet):
    """Answers operations by their names; ``latency`` is in seconds."""

    tables: ClassVar[Tables]
    keys: ClassVar[dict[str, str]] = {}
    counts: ClassVar[Counter[str]] = Counter()
    latency: ClassVar[float] = 0.0

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        """Answer what was asked so far."""
        self._send(dict(self.counts))

    def do_DELETE(self) -> None:  # noqa: N802 - the base class's name
        """Forget what was written."""
        self.tables.begin_anew()
        self._send({})

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        """Answer an operation."""
        content = self.body()
        if self.latency:
            time.sleep(self.latency)
        service, _, operation = self.headers.get("x-amz-target", "").rpartition(".")
        type(self).counts[operation or self.path] += 1
        if not operation:  # Lambda, and the sockets of API Gateway: both look at the status
            self._send({}, 202 if self.path.endswith("/invocations") else 200)
            return
        place = self.tables if service.startswith("DynamoDB") else self
        try:
            self._send(getattr(place, _WORD.sub("_", operation).lower())(json.loads(content)))
        except Refused as refused:
            self._send(refused.body, 400)

    def decrypt(self, body: Any) -> Any:
        """Answer KMS's ``Decrypt``."""
        return {"KeyId": "key", "Plaintext": self.keys[body["CiphertextBlob"]]}

    def generate_data_key(self, _body: Any) -> Any:
        """Answer KMS's ``GenerateDataKey``."""
        key = base64.b64encode(bytes(32)).decode()
        return {"KeyId": "key", "Plaintext": key, "CiphertextBlob": key}

    def re_encrypt(self, body: Any) -> Any:
        """Answer KMS's ``ReEncrypt``."""
        return {"KeyId": "key", "CiphertextBlob": body["CiphertextBlob"]}

    def send_message(self, body: Any) -> Any:
        """Answer SQS's ``SendMessage``."""
        digest = hashlib.md5(body["MessageBody"].encode(), usedforsecurity=False).hexdigest()
        return {"MessageId": "1", "MD5OfMessageBody": digest}

    def _send(self, body: Any, status: int = 200) -> None:
        self.answer(json.dumps(body).encode(), "application/x-amz-json-1.0", status)


def main() -> None:
    """Serve until the parent ends."""
    found = child.given()
    Handler.tables = Tables(found["tables"], found["indexes"])
    Handler.keys, Handler.latency = found["keys"], found["latency"]
    server = Server(("127.0.0.1", 0), Handler)
    child.announce(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
