"""What the end-to-end tests drive a stack with: API, provider, a browser's part, receiver."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import httpx
from websockets.sync.client import connect as connect_socket

from local.demo import provider as demo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.harness import RunningStack

T = TypeVar("T")
TIMEOUT = 90
NOBODY_CALLS_THIS = "http://127.0.0.1:9/callback"


def client(stack: RunningStack, key: str | None = None) -> httpx.Client:
    """A client of a stack's API; its secret key is used unless another one is given."""
    headers = {"authorization": f"Bearer {key or stack.keys['secret_key']}"}
    return httpx.Client(base_url=stack.api_url, headers=headers, trust_env=False, timeout=TIMEOUT)


def browser() -> httpx.Client:
    """A client with a cookie jar and no key, as a browser is one."""
    return httpx.Client(trust_env=False, timeout=TIMEOUT)


def done(answer: httpx.Response) -> Any:
    """The JSON of an answer that must be a success."""
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return answer.json()


def wait_for(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """Return what ``look`` finds, once it finds something."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"Within {seconds:.0f} s there was no {what}")
        time.sleep(0.2)


@dataclass(frozen=True)
class Tokens:
    """A real pair of a provider, and whose it is."""

    access_token: str
    refresh_token: str
    family: str


@dataclass
class Provider:
    """A demo provider of a test's own, with an integration of it in Keystow.

    Nothing else asks its token endpoint, so that its log tells exactly what Keystow did.
    """

    server: demo.RunningProvider
    integration: str
    client_id: str
    client_secret: str
    http: httpx.Client = field(repr=False)

    @property
    def url(self) -> str:
        """Its address."""
        return self.server.url

    def fault(self, **faults: Any) -> None:
        """Turn faults on, after all others were turned off."""
        done(self.http.post("/faults", json={"reset": True, **faults}))

    def log(self, grant_type: str = "refresh_token", **wanted: Any) -> list[dict[str, Any]]:
        """What its token endpoint was asked, oldest first."""
        entries: list[dict[str, Any]] = done(self.http.get("/log"))["entries"]
        wanted["grant_type"] = grant_type
        return [each for each in entries if wanted.items() <= each.items()]

    def works(self, access_token: str) -> bool:
        """Whether its API takes a token."""
        given = {"authorization": f"Bearer {access_token}"}
        return self.http.get("/api/me", headers=given).is_success

    def authorize(self, account: str = "ada") -> Tokens:
        """Go through its code flow by hand and return a real pair of tokens."""
        verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        question = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": NOBODY_CALLS_THIS,
            "state": "s",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "scope": "profile",
        }
        form = {"account": account, "answer": "approve"}
        sent = self.http.post("/authorize", params=question, data=form)
        (code,) = parse_qs(urlsplit(sent.headers["location"]).query)["code"]
        answer = self.http.post(
            "/token",
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": NOBODY_CALLS_THIS,
                "code_verifier": verifier,
            },
            auth=(self.client_id, self.client_secret),
        )
        pair = done(answer)
        family = self.log("authorization_code")[-1]["family"]
        return Tokens(pair["access_token"], pair["refresh_token"], family)

    def imported(
        self,
        api: httpx.Client,
        connection_id: str,
        *,
        seconds_left: float = -60,
        **more: Any,
    ) -> Tokens:
        """Put a connection with a real pair into Keystow; its access token ends as said."""
        pair = self.authorize()
        body = {
            "provider_config_key": self.integration,
            "connection_id": connection_id,
            "credentials": {
                "type": "OAUTH2",
                "access_token": pair.access_token,
                "refresh_token": pair.refresh_token,
                "expires_at": moment(seconds_left),
            },
            **more,
        }
        done(api.post("/connections", json=body))
        return pair


def moment(seconds_from_now: float) -> str:
    """A time in ISO 8601."""
    when = time.gmtime(time.time() + seconds_from_now)
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", when)


def open_provider(
    api: httpx.Client, folder: Path, name: str, callback: str, **options: Any
) -> Provider:
    """Start a demo provider and make it known as a provider and an integration of this name."""
    server = demo.start(0, folder, **options)
    http = httpx.Client(base_url=server.url, trust_env=False, timeout=TIMEOUT)
    registered = done(http.post("/register", json={"redirect_uris": [NOBODY_CALLS_THIS, callback]}))
    made = Provider(server, name, registered["client_id"], registered["client_secret"], http)
    done(api.put(f"/providers/{name}", json=demo.provider_definition(server.url)))
    credentials = {
        "type": "OAUTH2",
        "client_id": made.client_id,
        "client_secret": made.client_secret,
        "scopes": "profile",
    }
    body = {"provider": name, "unique_key": name, "credentials": credentials}
    done(api.post("/integrations", json=body))
    return made


def path_of(connection_id: str) -> str:
    """The path of a connection; as with the official client, a slash of its id stays one."""
    return f"/connections/{quote(connection_id)}"


def read(api: httpx.Client, integration: str, connection_id: str, **flags: str) -> httpx.Response:
    """Ask for a connection."""
    asked = {"provider_config_key": integration, **flags}
    return api.get(path_of(connection_id), params=asked)


def session(api: httpx.Client, integration: str, **more: Any) -> str:
    """Make a connect session and return its token."""
    body = {"end_user": {"id": "u-1"}, "allowed_integrations": [integration], **more}
    return str(done(api.post("/connect/sessions", json=body))["data"]["token"])


def connect(
    stack: RunningStack,
    api: httpx.Client,
    integration: str,
    *,
    account: str = "ada",
    token: str | None = None,
    answer: str = "approve",
) -> dict[str, Any]:
    """Connect as a browser does, and return the frame that the WebSocket brought.

    Args:
        stack: the stack.
        api: a client with a secret key.
        integration: what to connect.
        account: who approves.
        token: a connect session; made unless given.
        answer: what is clicked: ``approve`` or anything else.
    """
    token = token or session(api, integration)
    with connect_socket(stack.info.websocket_url, proxy=None) as socket, browser() as popup:
        first = json.loads(socket.recv(30))
        assert first["message_type"] == "connection_ack"
        asked = {"connect_session_token": token, "ws_client_id": first["ws_client_id"]}
        page = popup.get(f"{stack.api_url}/oauth/connect/{integration}", params=asked)
        assert page.status_code == 302, page.text
        consent = page.headers["location"]
        assert popup.get(consent).status_code == 200
        sent = popup.post(consent, data={"account": account, "answer": answer})
        shown = popup.get(sent.headers["location"])
        assert "text/html" in shown.headers["content-type"], shown.text
        frame: dict[str, Any] = json.loads(socket.recv(30))
        return frame


@dataclass(frozen=True)
class Delivery:
    """A webhook as it arrived."""

    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """Its JSON."""
        return dict(json.loads(self.raw))


class Receiver:
    """Takes webhooks on loopback, and answers as it is told.

    ``status`` is what it answers; 0 hangs up without an answer. What was answered with 200 is in
    ``deliveries``, the ``webhook-id`` of everything else in ``refused``.
    """

    def __init__(self) -> None:
        self.status = 200
        self.deliveries: list[Delivery] = []
        self.refused: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                given = {name.lower(): text for name, text in self.headers.items()}
                if receiver.status != 200:
                    receiver.refused.append(given["webhook-id"])
                if receiver.status == 0:
                    self.close_connection = True
                    return
                if receiver.status == 200:
                    receiver.deliveries.append(Delivery(given, raw))
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def about(self, connection_id: str, **wanted: Any) -> Iterator[Delivery]:
        """The deliveries that concern a connection, oldest first."""
        wanted["connectionId"] = connection_id
        for delivery in list(self.deliveries):
            if wanted.items() <= delivery.body.items():
                yield delivery

    def wait(self, connection_id: str, *, seconds: float = 40, **wanted: Any) -> Delivery:
        """Return the first delivery that concerns a connection, when it is there."""
        return wait_for(
            lambda: next(self.about(connection_id, **wanted), None),
            seconds,
            f"webhook about {connection_id} with {wanted}",
        )
