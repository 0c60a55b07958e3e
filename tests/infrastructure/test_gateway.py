"""The local gateway does what API Gateway does: routes, events, responses, sockets."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as websocket

from local import template as templates
from local.gateway import MAX_BODY, Gateway
from local.invoker import AT_ONCE, Invoker, Outcome
from local.payload import Arrival, event, reply
from local.routing import Match, Router
from local.template import RouteDefinition

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = templates.load(ROOT / "template.yaml")
SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=test"}


def router(*keys: str) -> Router:
    return Router([RouteDefinition(key, f"for {key}") for key in keys])


# ---------------------------------------------------------------- choosing a route


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/a/b", "GET /a/b", {}),
        ("GET", "/a/c", "GET /a/{one}", {"one": "c"}),
        ("GET", "/a/c/d", "GET /a/{rest+}", {"rest": "c/d"}),
        ("GET", "/a/c/", "GET /a/{rest+}", {"rest": "c/"}),
        ("GET", "/a/", "$default", {}),
        ("GET", "/a", "$default", {}),
        ("HEAD", "/a/c", "$default", {}),
        ("PUT", "/a/b", "ANY /a/b", {}),
        ("PUT", "/a/b/c", "$default", {}),
        ("GET", "/a/x/fixed", "GET /a/{one}/fixed", {"one": "x"}),
        ("GET", "/A/b", "$default", {}),
        ("GET", "//a/b", "$default", {}),
    ],
)
def test_the_most_specific_route_wins(
    method: str, path: str, key: str, parameters: dict[str, str]
) -> None:
    routes = router(
        "GET /a/{rest+}", "$default", "ANY /a/b", "GET /a/{one}", "GET /a/b", "GET /a/{one}/fixed"
    )
    assert routes.match(method, path) == Match(key, f"for {key}", parameters)


def test_without_a_default_route_nothing_matches_the_unknown() -> None:
    assert router("GET /a").match("GET", "/b") is None


@pytest.mark.parametrize(
    ("method", "path", "function"),
    [
        ("GET", "/connections", "ListConnectionsFunction"),
        ("GET", "/connections/a/b c", "GetConnectionFunction"),
        ("POST", "/connections/metadata", "UpdateConnectionFunction"),
        ("GET", "/connections/metadata", "GetConnectionFunction"),
        ("OPTIONS", "/connections", "AnswerDefaultFunction"),
        ("GET", "/ui/connect/", "ConnectUiFunction"),
        ("GET", "/health", "AnswerDefaultFunction"),
    ],
)
def test_requests_reach_the_functions_of_the_template(
    method: str, path: str, function: str
) -> None:
    match = Router(templates.routes(TEMPLATE)).match(method, path)
    assert match is not None
    assert match.function == function


# ------------------------------------------------------------- the event (format 2.0)

EXPECTED = {
    "version": "2.0",
    "routeKey": "POST /things/{id}",
    "rawPath": "/things/a b",
    "rawQueryString": "x=1&x=2&tags%5Bk%5D=a+b&empty=",
    "cookies": ["first=1", "second=two=2"],
    "headers": {
        "host": "api.example.com",
        "user-agent": "agent/1",
        "content-type": "application/json",
        "x-many": "one,two",
    },
    "queryStringParameters": {"x": "1,2", "tags[k]": "a b", "empty": ""},
    "requestContext": {
        "accountId": "000000000000",
        "apiId": "local",
        "domainName": "api.example.com",
        "domainPrefix": "api",
        "http": {
            "method": "POST",
            "path": "/things/a b",
            "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.1",
            "userAgent": "agent/1",
        },
        "requestId": "id",
        "routeKey": "POST /things/{id}",
        "stage": "$default",
        "time": "12/Mar/2020:19:03:58 +0000",
        "timeEpoch": 1584039838390,
    },
    "pathParameters": {"id": "a b"},
    "body": '{"a":1}',
    "isBase64Encoded": False,
}


def arrival(**changes: Any) -> Arrival:
    given: dict[str, Any] = {
        "method": "POST",
        "path": "/things/a b",
        "raw_query": "x=1&x=2&tags%5Bk%5D=a+b&empty=",
        "headers": [
            ("Host", "api.example.com"),
            ("User-Agent", "agent/1"),
            ("Content-Type", "application/json"),
            ("X-Many", "one"),
            ("x-many", "two"),
            ("Cookie", "first=1; second=two=2"),
        ],
        "body": b'{"a":1}',
        "source_ip": "192.0.2.1",
    }
    return Arrival(**{**given, **changes})


MATCH = Match("POST /things/{id}", "F", {"id": "a b"})


def test_an_event_is_exactly_what_aws_sends() -> None:
    assert event(arrival(), MATCH, "id", 1584039838.39) == EXPECTED


def test_what_a_request_does_not_have_is_not_in_its_event() -> None:
    made = event(
        arrival(headers=[("host", "h")], body=b"", raw_query=""), Match("$default", "F", {}), "", 0
    )
    absent = {"cookies", "queryStringParameters", "pathParameters", "body"}
    assert not absent & made.keys()
    assert made["rawQueryString"] == ""


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "image/png", ""])
def test_a_body_that_is_no_text_type_arrives_in_base64(kind: str) -> None:
    made = event(arrival(headers=[("content-type", kind)], body=b"a=1"), MATCH, "", 0)
    assert (made["body"], made["isBase64Encoded"]) == (base64.b64encode(b"a=1").decode(), True)


# ------------------------------------------------------------------- the response


def test_a_result_becomes_a_response_with_every_cookie_in_a_header_of_its_own() -> None:
    answer = reply(
        {
            "statusCode": 201,
            "headers": {"Content-Type": "text/html", "X-A": 1},
            "cookies": ["a=1; Path=/", "b=2"],
            "body": "é",
        }
    )
    assert (answer.status, answer.body) == (201, "é".encode())
    assert answer.headers == [
        ("content-type", "text/html"),
        ("x-a", "1"),
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "b=2"),
    ]


def test_a_body_in_base64_is_decoded() -> None:
    made = {"statusCode": 200, "body": base64.b64encode(b"\x00\xff").decode()}
    assert reply({**made, "isBase64Encoded": True}).body == b"\x00\xff"


def test_a_result_without_a_status_is_the_body_of_a_200() -> None:
    answer = reply({"a": 1})
    assert (answer.status, json.loads(answer.body)) == (200, {"a": 1})


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "many"},
        {"statusCode": 99},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "headers": {"a": ["list"]}},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
    ],
)
def test_a_malformed_result_is_an_error_of_the_api(result: dict[str, Any]) -> None:
    answer = reply(result)
    assert (answer.status, answer.body) == (500, b'{"message":"Internal Server Error"}')


# --------------------------------------------------------------- over a connection


class Functions:
    """Functions that answer what they were called with, unless a test says otherwise."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Outcome] = {}

    async def invoke(self, function: str, made: dict[str, Any]) -> Outcome:
        self.calls.append((function, made))
        plain = Outcome({"statusCode": 200, "body": json.dumps(made)})
        return self.answers.get(function, plain)


class Served:
    """A gateway on a free port, with functions that remember their calls."""

    def __init__(self, demo: Any = None) -> None:
        self.functions = Functions()
        self._ready = threading.Event()
        routes = Router(templates.routes(TEMPLATE))
        gateway = Gateway(routes, self.functions, self._ready.set, demo)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(gateway, log_level="error", access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        self.client = httpx.Client(base_url=f"http://{self.host}", trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Served() as running:
        yield running


@pytest.fixture
def functions(served: Served) -> Functions:
    served.functions.calls.clear()
    served.functions.answers.clear()
    return served.functions


@pytest.fixture
def client(served: Served, functions: Functions) -> httpx.Client:
    return served.client


def test_path_and_query_arrive_decoded_and_raw(client: httpx.Client) -> None:
    made = client.get("/connections/a%2Fb%20c", params={"tags[k]": "1"}).json()
    assert made["rawPath"] == "/connections/a/b c"
    assert made["pathParameters"] == {"connectionId": "a/b c"}
    assert made["rawQueryString"] == "tags%5Bk%5D=1"
    assert made["requestContext"]["domainName"] == client.base_url.netloc.decode()


def test_a_failed_function_is_a_500_that_tells_nothing(
    client: httpx.Client, functions: Functions
) -> None:
    functions.answers["ListProvidersFunction"] = Outcome({"errorMessage": "secret"}, failed=True)
    answer = client.get("/providers")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"})


def test_a_body_over_ten_megabytes_is_refused_before_any_function_runs(
    client: httpx.Client, functions: Functions
) -> None:
    answer = client.post("/connections", content=b"x" * (MAX_BODY + 1))
    assert (answer.status_code, answer.json()) == (413, {"message": "Request Entity Too Large"})
    assert functions.calls == []


def test_an_event_over_six_megabytes_is_refused(client: httpx.Client, functions: Functions) -> None:
    assert client.post("/connections", content=b"x" * (6 * 1024 * 1024)).status_code == 413
    assert functions.calls == []


def test_headers_over_ten_kilobytes_are_refused(client: httpx.Client) -> None:
    assert client.get("/health", headers={"x-a": "x" * 10_300}).status_code == 431


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[", ""])
def test_another_host_name_is_refused(
    client: httpx.Client, functions: Functions, host: str
) -> None:
    assert client.get("/health", headers={"host": host}).status_code == 403
    assert functions.calls == []


def test_the_line_of_a_request_holds_no_path_and_no_query(
    client: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    client.get("/connections/private-id?connect_session_token=private-token")
    line = capsys.readouterr().out
    assert "GET /connections/{connectionId+} 200" in line
    assert "private" not in line


def test_a_browser_hears_what_a_function_posts_to_its_connection(
    served: Served, client: httpx.Client, functions: Functions
) -> None:
    with websocket(f"ws://{served.host}/", proxy=None) as browser:
        context = functions.calls[0][1]["requestContext"]
        assert (context["routeKey"], context["eventType"]) == ("$connect", "CONNECT")
        url = f"/@connections/{context['connectionId']}"
        assert client.post(url, content=b'{"a":1}', headers=SIGNED).status_code == 200
        assert browser.recv(timeout=5) == '{"a":1}'
        browser.send("hello")
        assert client.delete(url, headers=SIGNED).status_code == 204
        with pytest.raises(ConnectionClosed):
            browser.recv(timeout=5)
    assert client.post(url, content=b"x", headers=SIGNED).status_code == 410


def test_a_connection_that_is_gone_says_so_as_aws_does(client: httpx.Client) -> None:
    answer = client.post("/@connections/gone", content=b"x", headers=SIGNED)
    assert answer.status_code == 410
    assert answer.headers["x-amzn-errortype"] == "GoneException"


def test_only_signed_requests_may_post_to_a_connection(client: httpx.Client) -> None:
    assert client.post("/@connections/any", content=b"x").status_code == 403


def test_a_refused_connect_is_no_connection(served: Served, functions: Functions) -> None:
    functions.answers["BrowserSocketFunction"] = Outcome({"statusCode": 403})
    with pytest.raises(InvalidStatus), websocket(f"ws://{served.host}/", proxy=None):
        pass
    assert len(functions.calls) == 1


def test_the_demo_is_served_beside_the_api() -> None:
    async def demo(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["root_path"].encode()})

    with Served(demo) as running:
        assert running.client.get("/demo").text == "/demo"
        assert running.client.get("/demo/page").text == "/demo"
        assert running.client.get("/demonstration").json()["routeKey"] == "$default"


def test_what_is_too_much_for_one_function_waits_its_turn(tmp_path: Path) -> None:
    """Hundreds of requests at once do not start hundreds of processes, and all are answered."""
    running = most = 0
    lock = threading.Lock()

    class Lambda:
        def invoke(self, **_: Any) -> dict[str, Any]:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            full.wait(0.01)
            with lock:
                running -= 1
            return {"Payload": io.BytesIO(b"{}")}

    full = threading.Event()

    async def flood() -> list[Any]:
        invoker = Invoker(Lambda(), {"F": "f"}, tmp_path / "log")
        return await asyncio.gather(*(invoker.invoke("F", {}) for _ in range(300)))

    assert len(asyncio.run(flood())) == 300
    assert 1 < most <= AT_ONCE
