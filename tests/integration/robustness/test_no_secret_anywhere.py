"""Marked secrets are planted in a whole life of connections, and then searched for everywhere."""

from __future__ import annotations

import base64
import io
import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import pytest

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed
from keystow.environments import keys
from keystow.log import logger
from keystow.refresh import sweep, worker
from keystow.secret import Secret
from keystow.sessions import public_keys
from tests.app import App, invoke
from tests.support import Outside, Sent, claim_names, make_context, seed_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "mArKeD5eCrEt"
IN_URL = "uRl5eCrEt"
SIGNING_KEY = "5ec12e75-5ec1-45ec-85ec-5ec12e75ec12"
OAUTH: dict[str, Any] = {
    "display_name": "Own",
    "categories": ["dev-tools"],
    "auth_mode": "OAUTH2",
    "docs": "https://own.example/docs",
    "authorization_url": "https://own.example/authorize",
    "token_url": "https://own.example/token",
    "revocation_url": "https://own.example/revoke",
}
KEY: dict[str, Any] = {
    "display_name": "Key",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "docs": "https://key.example/docs",
    "proxy": {
        "base_url": "https://key.example",
        "headers": {"authorization": "Bearer ${apiKey}"},
        "verification": {"endpoints": ["/me/${credentials.apiKey}"]},
    },
    "credentials": {"apiKey": {"type": "string", "title": "API key", "secret": True}},
}


class Talkative(Outside):
    """A provider that repeats every secret it gets in what it answers."""

    def __init__(self) -> None:
        self.mood = "good"
        self.issued = 0

    def answer_to(self, sent: Sent) -> Answer:
        text = sent.body.decode()
        heard = f"{sent.url} {text} {sent.headers} {json.dumps(parse_qs(text))}"
        if self.mood == "lost":
            raise EgressFailed("lost", sent=True)
        if self.mood == "bad" or "bad" in heard:
            told = {"error": "invalid_request", "error_description": f"You said: {heard}"}
            return Answer(400, {"content-type": "application/json"}, json.dumps(told).encode())
        self.issued += 1
        found = {
            "access_token": f"{MARK}-access-{self.issued}",
            "refresh_token": f"{MARK}-refresh-{self.issued}",
            "id_token": f"{MARK}-id",
            "expires_in": 3600,
        }
        return Answer(200, {"content-type": "application/json"}, json.dumps(found).encode())


class Life:
    """Everything that can happen to connections, with every text of it kept."""

    def __init__(self) -> None:
        self.provider = Talkative()
        self.ctx: Any = make_context(egress=self.provider)
        seeded = seed_environment(
            self.ctx, signing_key=SIGNING_KEY, primary_url=f"https://hooks.example.com/{IN_URL}"
        )
        self.app = App(self.ctx, seeded.secret_key)
        self.environment = seeded.environment
        claim_names(self.ctx, seeded.environment)
        _key, account, writes = keys.new_key(self.ctx, keys.ACCOUNT, "a", keys.ACCOUNT_SCOPES)
        self.ctx.store.transact(list(writes))
        self.account = account.reveal()
        self.secrets = {MARK, SIGNING_KEY, seeded.secret_key, self.account}
        self.errors: list[str] = []
        self.messages: list[str] = []
        self.browser_sees: list[str] = []
        self.told: list[str] = []

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        found = self.app.call(method, path, body, **options)
        assert found.status < 500 or found.status == 503, found.body
        if found.status >= 400:
            self.errors.append(found.body.decode())
        self.messages += [json.dumps(each) for each in self.ctx.queues.refresh]
        self.messages += [json.dumps(each) for each in self.ctx.queues.webhook]
        return found

    def session(self, **body: Any) -> str:
        made = self.call("POST", "/connect/sessions", {"end_user": {"id": "u"}, **body})
        token = str(made.json()["data"]["token"])
        self.secrets.add(token.removeprefix("nango_connect_session_"))
        return token

    def popup(self, token: str, **query: str) -> Any:
        more = "".join(f"&{quote(name)}={quote(value)}" for name, value in query.items())
        started = self.call(
            "GET", f"/oauth/connect/own?connect_session_token={token}&ws_client_id=ws{more}"
        )
        self.browser_sees.append(started.headers["location"])
        state = dict(parse_qsl(urlsplit(started.headers["location"]).query))["state"]
        name, _, value = started.cookies[0].split(";")[0].partition("=")
        self.secrets |= {state, value}
        page = self.call(
            "GET", f"/oauth/callback?state={state}&code={MARK}-code", cookies={name: value}
        )
        self.browser_sees.append(page.body.decode())
        return page

    def live(self) -> None:
        self.call("PUT", "/providers/own", OAUTH)
        self.call("PUT", "/providers/key", KEY)
        client = {
            "type": "OAUTH2",
            "client_id": "id",
            "client_secret": f"{MARK}-client",
            "webhook_secret": f"{MARK}-webhook",
        }
        for credentials in (client, {**client, "client_secret": f"{MARK}-client2"}):
            body = {"provider": "own", "unique_key": "own", "credentials": credentials}
            self.call("POST", "/integrations", body)
            self.call("PATCH", "/integrations/own", {"credentials": credentials})
        self.call("POST", "/integrations", {"provider": "key", "unique_key": "key"})
        token = self.session()
        own_client = {
            "credentials[oauth_client_id_override]": "own",
            "credentials[oauth_client_secret_override]": f"{MARK}-own",
            "params[password]": f"{MARK}-param",
        }
        assert self.popup(token).status == 200
        fixed = {"connection_config": {"password": f"{MARK}-fixed"}}
        assert self.popup(self.session(integrations_config_defaults={"own": fixed})).status == 200
        assert self.popup(token, **own_client).status == 200
        self.provider.mood = "bad"
        assert self.popup(token, **own_client).status == 400
        self.provider.mood = "good"
        for key in (f"{MARK}-key", f"{MARK}-bad-key"):
            place = f"/api-auth/api-key/key?connect_session_token={token}"
            self.call("POST", place, {"apiKey": key})
            credentials = {"type": "API_KEY", "apiKey": key}
            body = {"provider_config_key": "key", "credentials": credentials}
            self.call("POST", "/connections", body)
        for expires in ("2020-01-01T00:00:00Z", "2027-01-01T00:00:00Z"):
            for mood in ("good", "bad", "lost"):
                self.provider.mood = mood
                self.one_connection(expires)
        self.provider.mood = "good"
        self.public_key()
        self.wrong_requests(token)
        self.ctx.clock.advance(3_000)
        sweep.sweep(self.ctx)
        self.messages += [json.dumps(each) for each in self.ctx.queues.refresh]
        bodies = [
            (str(place), json.dumps(body))
            for place, (body, _) in enumerate(self.ctx.queues.take_refreshes())
        ]
        worker.handle(self.ctx, bodies)
        self.look_back()

    def look_back(self) -> None:
        """Everything that the activity log and the deliveries tell."""
        records = [
            {"messageId": str(place), "body": json.dumps(body)}
            for place, (body, _) in enumerate(self.ctx.queues.take_webhooks())
        ]
        for mood in ("lost", "bad", "good"):
            self.provider.mood = mood
            invoke(self.ctx, "send_webhook", {"Records": records})
        for path in ("/activity", "/webhook-deliveries"):
            listed = self.call("GET", f"{path}?limit=500")
            self.told.append(listed.body.decode())
            for each in listed.json()["data"]:
                self.told.append(self.call("GET", f"{path}/{each['id']}").body.decode())
        for each in listed.json()["data"]:
            replayed = self.call("POST", f"/webhook-deliveries/{each['id']}/replay")
            self.told.append(replayed.body.decode())

    def public_key(self) -> None:
        """A browser that comes with a public key, and variables that a backend keeps."""
        place = f"/environments/{self.environment.uuid}"
        for wish in ({"hmac_enabled": True, "hmac_key": f"{MARK}-hmac"}, {"hmac_key": [MARK]}):
            self.call("PATCH", place, wish, key=self.account)
        digest = public_keys.digest(Secret(f"{MARK}-hmac"), "key", "user-1")
        self.secrets.add(digest)
        public = f"public_key={self.environment.public_key}&connection_id=user-1"
        for given in (digest, f"{MARK}-wrong"):
            path = f"/api-auth/api-key/key?{public}&hmac={given}"
            self.call("POST", path, {"apiKey": f"{MARK}-key"})
        for name in ("A", "no name"):
            kept = {"variables": [{"name": name, "value": f"{MARK}-variable"}]}
            self.call("PUT", "/environment-variables", kept)
        assert f"{MARK}-variable" in self.call("GET", "/environment-variables").body.decode()
        self.call("GET", "/connections/user-1?provider_config_key=key")

    def one_connection(self, expires: str) -> None:
        credentials = {
            "type": "OAUTH2",
            "access_token": f"{MARK}-at",
            "refresh_token": f"{MARK}-rt",
            "expires_at": expires,
            "config_override": {"client_id": "x", "client_secret": f"{MARK}-over"},
        }
        body = {
            "provider_config_key": "own",
            "connection_id": "c1",
            "credentials": credentials,
            "connection_config": {"password": f"{MARK}-config"},
        }
        self.call("POST", "/connections", body)
        for flag in ("false", "true"):
            self.call("GET", f"/connections/c1?provider_config_key=own&force_refresh={flag}")
        self.call("DELETE", "/connections/c1?provider_config_key=own")

    def wrong_requests(self, token: str) -> None:
        """Secrets in the wrong place must not come back in what is wrong with them."""
        for path in ("/connections", "/integrations", "/connection", "/connect/sessions"):
            for body in (
                {"credentials": {"type": f"{MARK}-type", "apiKey": 1}},
                {"credentials": f"{MARK}-text", "provider_config_key": "key"},
                {"credentials": {"type": "API_KEY", "apiKey": f"{MARK}" * 200}},
                {"provider": "own", "unique_key": "z", "credentials": {"client_secret": [MARK]}},
                {"provider_config_key": "own", "access_token": [MARK], "expires_at": MARK},
            ):
                self.call("POST", path, body)
        place = f"/api-auth/api-key/key?connect_session_token={token}"
        self.call("POST", place, {"apiKey": {"a": MARK}})
        self.call("POST", f"/oauth2/auth/key?connect_session_token={token}", {"client_id": [MARK]})
        self.call("GET", "/connections", key=f"{MARK}-wrong")
        self.call("GET", "/connect/session", key=f"nango_connect_session_{MARK}")
        self.call("POST", "/connections", raw=f'{{"apiKey":"{MARK}"'.encode())


@pytest.fixture
def life() -> Life:
    return Life()


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the logger writes, in its own form."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logger.registered_formatter)
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def forms(secret: str) -> list[str]:
    """Return a secret as it could be hidden: plain, percent-encoded, in base64."""
    encoded = base64.b64encode(secret.encode()).decode()
    return [secret, quote(secret, safe=""), encoded.rstrip("=")[:-2]]


def require_absent(life: Life, where: str, text: str) -> None:
    for secret in life.secrets:
        for form in forms(secret):
            place = text.find(form)
            assert place < 0, f"{where}: ...{text[max(0, place - 150) : place + 60]}..."


def test_no_table_queue_log_error_page_or_frame_holds_a_secret(
    life: Life, written: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    life.live()
    assert '"message":"request"' in written.getvalue(), "the lines are among what is searched"
    assert len(life.errors) > 20
    assert life.messages
    tables = life.ctx.store.everything()
    assert all(tables.values()), "every table has been written to"
    for name, items in tables.items():
        for item in items:
            require_absent(life, f"table {name}", repr(item))
    require_absent(life, "log", written.getvalue())
    for record in caplog.records:
        require_absent(life, "log record", repr(record.__dict__))
    for text in life.messages:
        require_absent(life, "queue", text)
    for text in life.errors:
        require_absent(life, "error", text)
    assert len(life.told) > 50
    for text in life.told:
        require_absent(life, "what is told afterwards", text)
        assert IN_URL not in text
    for frame in life.ctx.sockets.pushed:
        require_absent(life, "frame", repr(frame))
    for page in life.browser_sees[1::2]:
        require_absent(life, "page", page)
    life.secrets = {MARK}
    for location in life.browser_sees[::2]:
        require_absent(life, "location", location)


def test_the_search_would_find_a_secret(life: Life) -> None:
    """The test above must be able to fail: what is answered to the owner does hold secrets."""
    life.live()
    found = life.app.get("/integrations/own?include=credentials")
    with pytest.raises(AssertionError):
        require_absent(life, "answer", found.body.decode())
