"""Promise 1, for the proxy: the official Node client, the deployed stack, a provider on sockets."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import driving
from tests.node import node
from tests.unit.egress.loopback import Server, answer

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    import httpx

    from local.harness import RunningStack

CLIENTS = Path(__file__).resolve().parents[1] / "clients"
KEY = "proxied"
SECRET = "marked-secret"
BYTES = bytes(range(256))
JSON = "Content-Type: application/json\r\n"
PLAIN = {"of": "many words " * 50}

PACKED = gzip.compress(json.dumps(PLAIN).encode())
FIXED = {
    "bytes": answer(BYTES, headers="Content-Type: application/octet-stream\r\n"),
    "packed": answer(PACKED, headers=f"{JSON}Content-Encoding: gzip\r\n"),
    "chunked": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{JSON}\r\n".encode()
    + b'6\r\n{"a": \r\n2\r\n1}\r\n0\r\n\r\n',
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "teapot": answer(b'{"short":"and stout"}', "418 Teapot", f"{JSON}X-Tea: black\r\n"),
    "large": answer(b"x" * 7_000_000, headers="Content-Type: text/plain\r\n"),
    "cut": answer(b"x" * 100)[:-50],
}


class Echo:
    """A provider that keeps every byte, and answers by the end of the path."""

    def __init__(self) -> None:
        self.flaky = 0
        self.conflicts = 0
        self.server = Server(self.treat)

    def treat(self, connection: socket.socket, server: Server) -> None:
        raw = server.read_request(connection)
        head, _, body = raw.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        method, target, _version = line.split(" ")
        headers = dict(each.split(": ", 1) for each in rest)
        headers = {name.lower(): value for name, value in headers.items()}
        name = target.partition("?")[0].split("/")[2]
        connection.sendall(self.reply(name, method, target, headers, body))

    def reply(
        self, name: str, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> bytes:
        match name:
            case "packed":
                assert headers["accept-encoding"] == "gzip"
            case "flaky":
                self.flaky += 1
                return answer(b"{}", "503 Busy" if self.flaky < 3 else "200 OK", JSON)
            case "conflict":
                self.conflicts += 1
                return answer(b"{}", "409 Conflict" if self.conflicts < 2 else "200 OK", JSON)
            case "away":
                place = f"http://localhost:{self.server.port}/v1/echo"
                return answer(b"", "302 Found", f"Location: {place}\r\n")
        if name in FIXED:
            return FIXED[name]
        told = {
            "method": method,
            "target": target,
            "headers": headers,
            "body": base64.b64encode(body).decode(),
        }
        return answer(json.dumps(told).encode(), headers=JSON)


@dataclass(frozen=True)
class Ran:
    """What the client's methods gave, and the provider that they spoke to."""

    results: dict[str, dict[str, Any]]
    echo: Echo

    def __getitem__(self, step: str) -> Any:
        found = self.results[step]
        assert not found.get("failed"), f"{step}: {found}"
        return found["data"]

    def body(self, step: str) -> bytes:
        """What arrived at the provider."""
        return base64.b64decode(self[step]["body"])

    def error(self, step: str) -> tuple[int, str]:
        """Status and code."""
        found = self.results[step]
        assert found["failed"], f"{step}: {found}"
        return found["status"], found["data"]["error"]["code"]


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.server.close()


@pytest.fixture(scope="module")
def ran(stack: RunningStack, api: httpx.Client, provider: driving.Provider, echo: Echo) -> Ran:
    """Run all of tests/clients/proxy_client.mjs once."""
    definition = {
        "display_name": "Echo",
        "categories": ["dev-tools"],
        "auth_mode": "API_KEY",
        "proxy": {
            "base_url": echo.server.url("/v1"),
            "headers": {"x-secret": "${apiKey}"},
        },
    }
    driving.done(api.put(f"/providers/{KEY}", json=definition))
    driving.done(api.post("/integrations", json={"provider": KEY, "unique_key": KEY}))
    ids = {"over": "px-over", "refused": "px-refused", "dead": "px-dead"}
    provider.imported(api, ids["over"])
    refused = provider.authorize()
    tokens = {
        "refused": {"access_token": "wrong", "refresh_token": refused.refresh_token},
        "dead": {"access_token": "wrong", "refresh_token": "wrong"},
    }
    bodies = [
        (KEY, "px", {"type": "API_KEY", "apiKey": SECRET}),
        (
            provider.integration,
            ids["refused"],
            {"type": "OAUTH2", **tokens["refused"], "expires_at": driving.moment(3600)},
        ),
        (
            provider.integration,
            ids["dead"],
            {"type": "OAUTH2", **tokens["dead"], "expires_at": driving.moment(-60)},
        ),
    ]
    for key, connection_id, credentials in bodies:
        body = {"provider_config_key": key, "connection_id": connection_id}
        driving.done(api.post("/connections", json={**body, "credentials": credentials}))
    given = {
        "host": stack.api_url,
        "apiKey": stack.keys["secret_key"],
        "narrowKey": narrow_key(stack),
        "key": KEY,
        "id": "px",
        "oauth": provider.integration,
        "ids": ids,
        "elsewhere": echo.server.url("", "localhost"),
    }
    ended = subprocess.run(
        [node(), CLIENTS / "proxy_client.mjs"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={"PATH": ""},
    )
    assert ended.returncode == 0, ended.stderr
    return Ran(json.loads(ended.stdout), echo)


def narrow_key(stack: RunningStack) -> str:
    """Return a key that may use credentials, and read none."""
    with driving.client(stack, stack.keys["account_key"]) as account:
        (dev,) = driving.done(account.get("/environments?name=dev"))["data"]
        body = {"display_name": "px-narrow", "scopes": ["environment:proxy"]}
        made = driving.done(account.post(f"/environments/{dev['uuid']}/api-keys", json=body))
    return str(made["data"]["secret"])


def test_a_request_arrives_with_the_credential_and_nothing_of_ours(ran: Ran) -> None:
    told = ran["get"]
    assert (told["method"], told["target"], told["body"]) == ("GET", "/v1/echo", "")
    assert told["headers"] == {
        "host": f"127.0.0.1:{ran.echo.server.port}",
        "user-agent": "Keystow",
        "accept": "*/*",
        "accept-encoding": "gzip",
        "x-secret": SECRET,
        "connection": "close",
    }
    assert ran["get without a slash"]["target"] == "/v1/echo"


def test_queries_and_paths_go_as_the_client_makes_them(ran: Ran) -> None:
    assert ran["get with params"]["target"] == "/v1/echo?b=1&a=x+y%26z&c%5B%5D=%C3%A9"
    assert ran["get with a query"]["target"] == "/v1/echo?a=1&a=2&b=%2F"
    assert ran["an odd path"]["target"] == "/v1/echo/a%2Fb/%C3%A9%20%20/x"


def test_headers_of_the_caller_arrive_without_their_prefix(ran: Ran) -> None:
    headers = ran["get with headers"]["headers"]
    assert (headers["accept"], headers["x-trace"]) == ("a/b", "t")
    assert not [name for name in headers if name.startswith("nango-")]


@pytest.mark.parametrize("step", ["post", "put", "patch", "delete"])
def test_json_arrives_as_json(ran: Ran, step: str) -> None:
    told = ran[step]
    assert told["method"] == step.upper()
    assert told["headers"]["content-type"].startswith("application/json")
    assert json.loads(ran.body(step))["q"] == 1


def test_bodies_of_any_kind_arrive_byte_for_byte(ran: Ran) -> None:
    assert ran.body("post a form") == b"a=1&b=%20"
    form = "application/x-www-form-urlencoded"
    assert ran["post a form"]["headers"]["content-type"] == form
    assert ran.body("post bytes") == BYTES
    sent = ran["post multipart"]["headers"]["content-type"]
    assert sent.startswith("multipart/form-data; boundary=")
    assert sent.partition("boundary=")[2].encode() in ran.body("post multipart")
    assert BYTES in ran.body("post multipart")


def test_methods_of_webdav_go_through_the_gateway(ran: Ran) -> None:
    assert (ran["propfind"]["method"], ran.body("propfind")) == ("PROPFIND", b"<a/>")
    assert (ran["report"]["method"], ran.body("report")) == ("REPORT", b"")
    assert "content-type" not in ran["delete without a body"]["headers"]


def test_answers_of_any_kind_come_back(ran: Ran) -> None:
    assert base64.b64decode(ran["bytes as answer"]) == BYTES
    assert ran["a packed answer"] == PLAIN
    assert ran["a packed answer, unpacked"] == PLAIN
    assert ran["a chunked answer"] == {"a": 1}
    assert ran.results["no content"]["status"] == 204


def test_what_passes_by_itself_is_sent_again(ran: Ran) -> None:
    assert ran["retries"] == {}
    assert ran["retries by status"] == {}
    assert (ran.echo.flaky, ran.echo.conflicts) == (3, 2)


def test_an_error_of_the_provider_is_thrown_as_theirs(ran: Ran) -> None:
    found = ran.results["an error of theirs"]
    assert (found["status"], found["data"]) == (418, {"short": "and stout"})
    assert found["headers"]["x-tea"] == "black"


def test_other_hosts_get_the_credential_by_the_word_of_who_may_read_it(ran: Ran) -> None:
    assert ran["another host"]["target"] == "/v2/echo"
    assert ran["another host"]["headers"]["x-secret"] == SECRET
    assert ran.error("another host, narrow key") == (400, "base_url_override_not_allowed")
    assert ran["narrow key"]["headers"]["x-secret"] == SECRET
    assert ran.error("narrow key reads") == (403, "forbidden")
    assert "x-secret" not in ran["a redirect elsewhere"]["headers"]


def test_what_cannot_be_handed_on_is_told(ran: Ran) -> None:
    assert ran.error("too large") == (502, "response_too_large")
    assert "6 MB" in ran.results["too large"]["data"]["error"]["message"]
    assert ran.error("cut off") == (502, "provider_unavailable")


def test_tokens_are_renewed_before_they_are_sent_and_when_they_are_refused(ran: Ran) -> None:
    for step in ("a token that was over", "a token that was refused"):
        assert ran.results[step]["status"] == 200, ran.results[step]
    # The minute's sweep may have met the dead grant before this call did.
    backoff = (424, "connection_refresh_backoff")
    assert ran.error("a dead grant") in ((400, "server_error"), backoff)
    assert ran.error("a dead grant again") == backoff


def test_what_is_not_there_is_told_as_the_client_knows_it(ran: Ran) -> None:
    assert ran.error("no such connection") == (400, "server_error")
    assert ran.error("no such integration") == (404, "unknown_provider_config")
    assert ran.error("wrong key") == (401, "unknown_account")


def test_no_answer_of_ours_holds_the_credential(ran: Ran) -> None:
    for step, found in ran.results.items():
        if found.get("failed"):
            assert SECRET not in json.dumps(found), step
