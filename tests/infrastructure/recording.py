"""Which AWS calls each function makes: recorded while the whole API runs in process on moto."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import unquote

from keystow.aws.errors import AwsRefused
from keystow.context import Context
from keystow.settings import Settings
from tests import app as in_process
from tests.aws_server import REGION, AwsServer, serving
from tests.moto_tables import create_tables
from tests.support import TABLE_NAMES, FakeEgress, StoppedClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from keystow.aws.client import Client

# What Lambda itself does with the role of a function that a queue feeds.
TAKEN_FROM = {"refresh_tokens": "RefreshQueue", "send_webhook": "WebhookQueue"}
TAKING = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
QUEUES = {"RefreshQueue": "refresh", "WebhookQueue": "webhook", "WebhookDeadLetters": "dead"}
TABLES = {f"{name.capitalize()}Table": name for name in TABLE_NAMES}
LAMBDA = SimpleNamespace(
    invoked_function_arn=f"arn:aws:lambda:{REGION}:1:function:browser_socket",
    get_remaining_time_in_millis=lambda: 60_000,
)


# A word, not one of the ids (24 hex digits) that begin other partition keys
# (keystow/store/tables.py).
WORD = re.compile(r"([a-z_]{3,20})#.")
WRITES = {"Put", "Update", "Delete", "PutItem", "UpdateItem", "DeleteItem"}


@dataclass(frozen=True, order=True)
class Permission:
    """What a call needs, or a policy allows: on which resource, and to do what there.

    ``purpose`` is what a KMS key is used for. ``rows`` is what the partition keys of a table begin
    with, ``use#*`` for instance: of a call, as far as they begin with a word; of a policy, what
    its condition on ``dynamodb:LeadingKeys`` lets through ("": any).
    """

    action: str
    resource: str
    purpose: str = ""
    rows: str = ""

    def covers(self, needed: Permission) -> bool:
        """Return whether a policy that says this allows a call that needs that."""
        same = (self.action, self.resource, self.purpose) == (
            needed.action,
            needed.resource,
            needed.purpose,
        )
        return same and self.rows in {"", needed.rows}


@dataclass
class Recorder:
    """Notes the permissions that the calls of the running function need."""

    used: dict[str, set[Permission]] = field(default_factory=dict)
    written: dict[str, set[tuple[str, str, str]]] = field(default_factory=dict)
    function: str | None = None
    sent: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    broken: Callable[[str, Mapping[str, Any]], bool] | None = None
    places: dict[str, str] = field(default_factory=dict)

    def note(self, service: str, operation: str, params: Mapping[str, Any]) -> None:
        """Take down a call."""
        if self.function is None:
            return
        self.used.setdefault(self.function, set()).update(self._needed(service, operation, params))
        for kind, part in writes_of(operation, params):
            table = self.places[part["TableName"]]
            row = (table, rows_of(part), kind)
            self.written.setdefault(self.function, set()).add(row)
        if operation == "SendMessage":
            queue = self.places[params["QueueUrl"]]
            self.sent.setdefault(queue, []).append(params["MessageBody"])

    def breaks(self, operation: str, params: Mapping[str, Any]) -> bool:
        """Return whether a call shall fail."""
        return bool(self.function and self.broken is not None and self.broken(operation, params))

    def _needed(self, service: str, operation: str, params: Mapping[str, Any]) -> set[Permission]:
        if service == "dynamodb":
            return set(self._on_tables(operation, params))
        if service == "kms" and operation == "ReEncrypt":
            return {
                Permission("kms:ReEncryptFrom", "VaultKey", purpose_of(params, "Source")),
                Permission("kms:ReEncryptTo", "VaultKey", purpose_of(params, "Destination")),
            }
        if service == "kms":
            return {Permission(f"kms:{operation}", "VaultKey", purpose_of(params))}
        if service == "sqs":
            queue = self.places[params["QueueUrl"]]
            return {Permission("sqs:SendMessage", queue)}
        if service == "execute-api":
            return {Permission("execute-api:ManageConnections", "BrowserSocketApi")}
        if service == "lambda":
            return {Permission("lambda:InvokeFunction", params["FunctionName"].split(":")[-1])}
        raise AssertionError(f"{service}:{operation} is called and not known here")

    def _on_tables(self, operation: str, params: Mapping[str, Any]) -> Iterator[Permission]:
        if operation == "TransactWriteItems":
            for each in params["TransactItems"]:
                for kind, part in each.items():
                    action = {"ConditionCheck": "ConditionCheckItem"}.get(kind, f"{kind}Item")
                    table = self.places[part["TableName"]]
                    yield Permission(f"dynamodb:{action}", table, rows=rows_of(part))
        elif operation == "BatchGetItem":
            for name, asked in params["RequestItems"].items():
                for key in asked["Keys"]:
                    rows = rows_of({"Key": key})
                    yield Permission(f"dynamodb:{operation}", self.places[name], rows=rows)
        elif "IndexName" in params:
            resource = f"{self.places[params['TableName']]}/index/{params['IndexName']}"
            yield Permission(f"dynamodb:{operation}", resource)
        else:
            table = self.places[params["TableName"]]
            yield Permission(f"dynamodb:{operation}", table, rows=rows_of(params))


def writes_of(operation: str, params: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The kind of row of each write in a call, and the write."""
    parts = [(operation, params)]
    if operation == "TransactWriteItems":
        parts = [(kind, part) for each in params["TransactItems"] for kind, part in each.items()]
    for kind, part in parts:
        if kind in WRITES:
            yield kind_of(part), part


def rows_of(params: Mapping[str, Any]) -> str:
    """What the partition key of a call begins with, if that is a word."""
    if "KeyConditionExpression" in params:
        placeholder = params["KeyConditionExpression"].split(" = ")[1].split()[0]
        partition = params["ExpressionAttributeValues"][placeholder]["S"]
    else:
        partition = params.get("Key", params.get("Item"))["pk"]["S"]
    found = WORD.match(partition)
    return f"{found[1]}#*" if found else ""


def kind_of(params: Mapping[str, Any]) -> str:
    """What kind of row a write is about: ``state#*``, ``integration``, ``connection#secret``."""
    place = params.get("Key", params.get("Item"))
    sort_key = str(place["sk"]["S"])
    if rows := rows_of(params):
        # Counts of attempts lie with the session that they are of.
        return rows + (sort_key.partition("#")[0] if rows == "session#*" else "")
    if sort_key[0].isdigit():
        return "message"
    return sort_key if sort_key == "connection#secret" else sort_key.partition("#")[0]


def purpose_of(params: Mapping[str, Any], side: str = "") -> str:
    """What the encryption context of a call says it is for."""
    return str(params[f"{side}EncryptionContext"]["keystow:purpose"])


class Recorded:
    """A client of AWS whose calls are noted, and broken where they shall be."""

    def __init__(self, service: str, client: Client, recorder: Recorder) -> None:
        self._service = service
        self._client = client
        self._recorder = recorder

    def call(self, operation: str, request: Mapping[str, Any]) -> Any:
        self._recorder.note(self._service, operation, request)
        if self._recorder.breaks(operation, request):
            raise AwsRefused("InternalServerError", 500)
        return self._client.call(operation, request)

    def post(self, operation: str, path: str, *_: Any) -> None:
        """Note what moto does not answer."""
        named = {"FunctionName": unquote(path.split("/")[3])} if operation == "Invoke" else {}
        self._recorder.note(self._service, operation, named)


@dataclass
class Deployed:
    """The API in process, each invocation in a cold container of its own."""

    recorder: Recorder
    settings: Settings
    clock: StoppedClock
    egress: Any
    aws: AwsServer

    def context(self) -> Context:
        """What a container that has just started works with."""
        made = Context(self.settings, clock=self.clock)
        made.__dict__["egress"] = self.egress
        return made

    def invoke(self, _ctx: Any, folder: str, payload: Mapping[str, Any], _: Any = None) -> Any:
        """Run a function's handler as :func:`tests.app.invoke` does, and record its calls."""
        self.recorder.function = folder
        try:
            with patch("keystow.context._current", self.context()):
                return in_process.function(folder).handler(payload, LAMBDA)
        finally:
            self.recorder.function = None

    def run(self, folder: str, payload: Mapping[str, Any]) -> Any:
        """Invoke a function that no route leads to."""
        return self.invoke(None, folder, payload)

    def queued(self, queue: str) -> list[str]:
        """Take what was sent to a queue."""
        return self.recorder.sent.pop(queue, [])

    def deliver(self, folder: str, bodies: list[str]) -> Any:
        """Invoke a function with messages of its queue."""
        taking = {Permission(action, TAKEN_FROM[folder]) for action in TAKING}
        self.recorder.used.setdefault(folder, set()).update(taking)
        records = [{"messageId": str(at), "body": body} for at, body in enumerate(bodies)]
        return self.run(folder, {"Records": records})


@contextmanager
def deployed() -> Iterator[Deployed]:
    """Yield the API on moto's tables, key and queues."""
    with serving() as aws, ExitStack() as at_the_end:
        recorder = Recorder()
        clients: dict[str, Recorded] = {}

        def client(service: str, _endpoint: str = "") -> Recorded:
            if service not in clients:
                made = aws.client(service)
                at_the_end.callback(made.close)
                clients[service] = Recorded(service, made, recorder)
            return clients[service]

        at_the_end.enter_context(patch("keystow.aws.clients.client", client))
        create_tables(aws.botocore("dynamodb"))
        key = aws.botocore("kms").create_key()["KeyMetadata"]["Arn"]
        sqs = aws.botocore("sqs")
        urls = {
            name: sqs.create_queue(QueueName=queue)["QueueUrl"] for name, queue in QUEUES.items()
        }
        recorder.places = {url: name for name, url in urls.items()}
        recorder.places |= {TABLE_NAMES[name]: resource for resource, name in TABLES.items()}
        tables: dict[str, Any] = {f"{name}_table": text for name, text in TABLE_NAMES.items()}
        settings = Settings(
            **tables,
            kms_key_id=key,
            refresh_queue_url=urls["RefreshQueue"],
            webhook_queue_url=urls["WebhookQueue"],
            webhook_dead_letter_url=urls["WebhookDeadLetters"],
            websocket_endpoint="https://socket.test/live",
            websocket_url="wss://socket.test/live",
            public_url=f"https://{in_process.HOST}",
        )
        running = Deployed(recorder, settings, StoppedClock(), FakeEgress(default=200), aws)
        with patch("tests.app.invoke", running.invoke):
            yield running
