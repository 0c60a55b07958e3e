"""AWS on a loopback port: moto behind HTTP, for the client of ours and for botocore alike.

What a test sees is what went over a real connection. ``Reference`` is botocore behind the same
seam as :class:`keystow.aws.client.Client`, to hold one against the other.
"""

from __future__ import annotations

import base64
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError
from moto import mock_aws
from moto.core.models import botocore_stubber

from keystow.aws.client import Client
from keystow.aws.clients import SERVICES
from keystow.aws.credentials import Credentials
from keystow.aws.errors import AwsRefused, AwsUnanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REGION = "eu-central-1"
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing-token",
}
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request")


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class AwsServer:
    """moto behind HTTP.

    Attributes:
        url: where it is.
        seen: requests that arrived.
        before: may answer in moto's place: (status, headers, body).
    """

    url: str
    seen: list[Seen] = field(default_factory=list)
    before: Callable[[Seen], tuple[int, dict[str, str], bytes] | None] | None = None

    def client(self, service: str, **options: Any) -> Client:
        """Return our client of a service on it."""
        return Client(SERVICES[service], REGION, self.url, Credentials(VARIABLES), **options)

    def reference(self, service: str) -> Reference:
        """Return botocore's client of a service on it, behind our seam."""
        return Reference(self.botocore(service))

    def botocore(self, service: str, **options: Any) -> Any:
        """Return botocore's client of a service on it."""
        import botocore.session
        from botocore.config import Config

        session = botocore.session.get_session()
        session.set_credentials("testing", "testing", "testing-token")
        config = Config(parameter_validation=False, retries={"mode": "standard"}, proxies={})
        given = {"config": config, "region_name": REGION, "endpoint_url": self.url, **options}
        return session.create_client(service, **given)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Any

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen("POST", self.path, headers, body)
        aws: AwsServer = self.server.aws
        aws.seen.append(seen)
        answer = aws.before(seen) if aws.before is not None else None
        status, given, content = answer or self._of_moto(seen)
        self.send_response_only(status)
        for name, value in given.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, str(value))
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _of_moto(self, seen: Seen) -> tuple[int, Mapping[str, str], bytes]:
        found = _SCOPE.search(seen.headers.get("authorization", ""))
        assert found is not None, "not signed"
        region, service = found.groups()
        url = f"https://{service}.{region}.amazonaws.com{seen.path}"
        request = AWSPreparedRequest("POST", url, dict(self.headers), seen.body, False)
        # moto decides a condition and writes in two steps that other threads can come between, and
        # applies a failing transaction before it takes it back; DynamoDB does neither. What threads
        # do between calls stays free.
        with self.server.one_at_a_time:
            status, headers, body = botocore_stubber.process_request(request)
        return status, headers, body.encode() if isinstance(body, str) else body


@contextmanager
def serving() -> Iterator[AwsServer]:
    """Yield AWS on a loopback port, with nothing in it."""
    patient = patch("keystow.aws.client.READ_SECONDS", 60)  # moto on a busy machine
    with mock_aws(), patient, ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        made: Any = server
        made.daemon_threads = True
        made.one_at_a_time = threading.Lock()
        made.aws = AwsServer(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield made.aws
        finally:
            server.shutdown()


class Reference:
    """botocore where our client would be: the same calls, answers and errors."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def call(self, operation: str, request: Mapping[str, Any]) -> Any:
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        try:
            answer = getattr(self._client, method)(**_plain(request))
        except ClientError as error:
            raise refusal(error) from error
        except ConnectTimeoutError as error:
            raise AwsUnanswered("ConnectTimedOut") from error
        except ReadTimeoutError as error:
            raise AwsUnanswered("ReadTimedOut") from error
        except BotoCoreError as error:
            raise AwsUnanswered(type(error).__name__) from error
        answer.pop("ResponseMetadata", None)
        return _wire(answer)


def refusal(error: ClientError) -> AwsRefused:
    """Return botocore's error as ours."""
    response: Any = dict(error.response)
    said = response.pop("Error")
    status = response.pop("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return AwsRefused(said["Code"], status, {**_wire(response), "message": said.get("Message")})


_BLOBS = {"CiphertextBlob", "Plaintext", "B"}


def _plain(value: Any) -> Any:
    """JSON as botocore wants it: bytes where JSON has Base64."""
    if isinstance(value, dict):
        return {
            name: base64.b64decode(each)
            if name in _BLOBS and isinstance(each, str)
            else _plain(each)
            for name, each in value.items()
        }
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _wire(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _wire(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_wire(each) for each in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
