"""Plays a recorded run against the API in process: same order, same clock, same provider."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed, EgressRefused
from tests.app import App
from tests.support import (
    Outside,
    Sent,
    StoppedClock,
    claim_names,
    make_context,
    seed_environment,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app import Result

RECORDINGS = Path(__file__).parent / "recordings.jsonl"
FULL_KEY = "6e0fbb7d-4675-40af-ac78-323ebe7dd7a3"
ENVIRONMENT_UUID = "e3de2108-c5f5-43dc-bf08-7cc25e208f05"
SCOPED_KEY = "0edbbb0f-f9a1-4d0d-8ecf-e08177928ae3"
TOKEN = re.compile(r"nango_connect_session_[a-f0-9]{64}")
NO_TOKEN = "nango_connect_session_" + 64 * "0"
STATE = re.compile(r"state=([0-9a-f-]{36})")
SCOPED = ("environment:connections:read", "environment:connections:list")

# When the recorded server was asked; between two of these its clock hardly moved.
TIMES = {
    "health": "2026-11-21T23:56:32Z",
    "connections_empty": "2026-11-21T23:58:02Z",
    "L_conn_import_verify_bad": "2026-11-22T00:00:52Z",
    "cs_create_min": "2026-11-22T00:00:55Z",
    "reconnect_ok": "2026-11-22T00:01:00Z",
    "M_import_valid24h": "2026-11-22T00:11:39Z",
    "M_get_margin_after_31s": "2026-11-22T00:12:11Z",
}
# When the provider could be reached, and when not.
PROVIDER = {
    "health": False,
    "L_conn_import_verify_bad": True,
    "L_get_revoked_4_force_500": False,
    "cs_create_min": True,
    "M_get_in_margin_provider_down": False,
    "M_get_margin_provider_back_within_30s": True,
}


def local(**changes: Any) -> dict[str, Any]:
    """Return the definition of a provider of the recorded run's own machine."""
    return {
        "display_name": "Local",
        "categories": ["dev-tools"],
        "auth_mode": "OAUTH2",
        "authorization_url": "https://local.example/authorize",
        "token_url": "https://local.example/token",
        "proxy": {"base_url": "https://local.example/api"},
        **changes,
    }


def without(definition: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in definition.items() if name not in names}


CUSTOM: dict[str, dict[str, Any]] = {
    "local-oauth2": local(display_name="Local OAuth2"),
    "local-oauth2-norotate": local(token_url="https://local.example/token-norotate"),
    "local-oauth2-cc": without(local(auth_mode="OAUTH2_CC"), "authorization_url"),
    "local-apikey-verify": {
        "display_name": "Local API key with verification",
        "categories": ["dev-tools"],
        "auth_mode": "API_KEY",
        "proxy": {
            "base_url": "https://local.example/api",
            "headers": {"authorization": "Bearer ${apiKey}"},
            "verification": {"endpoints": ["/verify"]},
        },
        "credentials": {"apiKey": {"type": "string", "title": "API Key"}},
    },
}


# The recorded server took keys of these providers untried.
UNTRIED_THERE = {
    *("/v0/meta/whoami", "/v2/addresses", "/v1/balance"),
    "/services/rest/record/v1/metadata-catalog",
}


class Provider(Outside):
    """The provider of the recorded run; ``inside`` a network that nothing is sent to."""

    def __init__(self) -> None:
        self.up = False
        self.inside = True
        self.issued = 0

    def answer_to(self, sent: Sent) -> Answer:
        parts = urlsplit(sent.url)
        if parts.path in UNTRIED_THERE:
            return _json(200, {})
        if not self.up:
            raise EgressFailed("connect", sent=False)
        if parts.hostname != "local.example":
            return _json(403, {"message": "no such key"})
        if parts.path == "/api/foo":
            return self._echo(sent, parts.query)
        if parts.path == "/api/verify":
            return _json(200 if sent.headers["authorization"] == "Bearer good" else 401, {})
        form = sent.form()
        if form.get("refresh_token") == "rt_revoked":
            return _json(400, {"error": "invalid_grant"})
        self.issued += 1
        answer = {
            "access_token": f"at_{self.issued}",
            "token_type": "bearer",
            "expires_in": 3600,
            "scope": "read",
        }
        if form["grant_type"] == "refresh_token" and parts.path == "/token":
            answer["refresh_token"] = f"rt_{self.issued}"
        return _json(200, answer)

    def _echo(self, sent: Sent, query: str) -> Answer:
        if self.inside:
            raise EgressRefused("loopback")
        body = {
            "path": f"/api/foo?{query}" if query else "/api/foo",
            "method": sent.method,
            "auth": sent.headers["authorization"],
            "body": sent.body.decode(),
        }
        return _json(200, body)


def _json(status: int, body: Any) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(body).encode())


class Replay:
    """One run: plays recordings in their order and returns what they have in common with ours."""

    def __init__(self) -> None:
        self.provider = Provider()
        ctx: Any = make_context(clock=StoppedClock(_epoch("health")), egress=self.provider)
        self.ctx = ctx
        seeded = seed_environment(ctx)
        scoped = seed_key(ctx, SCOPED)
        self.app = App(ctx, seeded.secret_key)
        claim_names(ctx, seeded.environment)
        self.known = {
            FULL_KEY: seeded.secret_key,
            SCOPED_KEY: scoped,
            ENVIRONMENT_UUID: seeded.environment.uuid,
        }
        self.cookies: dict[str, str] = {}
        for name, definition in CUSTOM.items():
            made = self.app.put(f"/providers/{name}", definition)
            assert made.status == 201, (name, made.body)

    def play(self, recorded: dict[str, Any]) -> dict[str, Any]:
        """Send a recorded request and return the shape of our answer."""
        name = recorded["name"]
        if name in TIMES:
            self.ctx.clock.set(_epoch(name))
        else:
            self.ctx.clock.advance(0.02)
        self.provider.up = PROVIDER.get(name, self.provider.up)
        if name in BEFORE:
            BEFORE[name](self)
        path = self._translated(recorded["path"])
        headers = {key: self._translated(text) for key, text in recorded["headers"].items()}
        raw, body = None, recorded["body"]
        if isinstance(body, str):
            raw, body = body.encode(), None
        result = self.app.call(
            recorded["method"],
            path,
            body,
            key=None,
            headers=headers,
            raw=raw,
            cookies=self.cookies,
        )
        self._learn(recorded, result)
        return shape_of(result)

    def session(self, body: dict[str, Any] | None = None) -> str:
        """Make a connect session that the recording used and did not show being made."""
        made = self.app.post("/connect/sessions", body or {"end_user": {"id": "eu-x"}})
        assert made.status == 201, made.body
        return str(made.json()["data"]["token"])

    def import_oauth2(self, connection_id: str, key: str, seconds: float, token: str) -> None:
        """Import a connection that the recording shows only later."""
        expires = datetime.fromtimestamp(self.ctx.clock.now() + seconds).astimezone()
        body = {
            "provider_config_key": key,
            "connection_id": connection_id,
            "credentials": {
                "type": "OAUTH2",
                "access_token": "before",
                "refresh_token": token,
                "expires_at": expires.isoformat(),
            },
        }
        made = self.app.post("/connections", body)
        assert made.status == 201, made.body

    def _translated(self, text: str) -> str:
        for old in {*TOKEN.findall(text)} - {NO_TOKEN}:
            self.known.setdefault(old, "")
            self.known[old] = self.known[old] or self.session()
        for old, new in self.known.items():
            text = text.replace(old, new)
        return text

    def _learn(self, recorded: dict[str, Any], result: Result) -> None:
        """Remember what stands for the tokens and states of the recording."""
        given = recorded["response"]
        if (
            isinstance(given, dict)
            and "token" in (given.get("data") or {})
            and result.status == 201
        ):
            self.known[given["data"]["token"]] = result.json()["data"]["token"]
        location = recorded["response_headers"].get("location", "")
        if (found := STATE.search(location)) and "location" in result.headers:
            own = dict(parse_qsl(urlsplit(result.headers["location"]).query))
            self.known[found[1]] = own["state"]
            for cookie in result.cookies:
                key, _, value = cookie.split(";")[0].partition("=")
                self.cookies[key] = value


def seed_key(ctx: Any, scopes: tuple[str, ...]) -> str:
    """Store an API key with some scopes and return it."""
    from keystow.environments import keys

    _key, text, writes = keys.new_key(ctx, "env1", "scoped", scopes)
    ctx.store.transact(list(writes))
    return str(text.reveal())


def _epoch(name: str) -> float:
    return datetime.fromisoformat(TIMES[name]).timestamp()


def _metadata_of_old(replay: Replay) -> None:
    place = {"connection_id": "ak-1", "provider_config_key": "airtable-pat"}
    first = {**place, "metadata": {"n": None, "x": 1, "y": {"z": 2}}}
    assert replay.app.post("/connections/metadata", first).status == 201
    then = {**place, "metadata": {"y": {"w": 3}}}
    assert replay.app.patch("/connections/metadata", then).status == 200


def _legacy_patch(replay: Replay) -> None:
    path = "/connection/ak-1/metadata?provider_config_key=airtable-pat"
    assert replay.app.patch(path, {"legacy2": 1}).status == 200


def _with_defaults(replay: Replay) -> None:
    defaults = {
        "authorization_params": {"prompt": "consent"},
        "connection_config": {"oauth_scopes_override": "read,write"},
    }
    token = "nango_connect_session_6e53a3ce6d89ead397e58a8d8058a4f05e2997577c88399a02294920db2caf95"
    body = {"end_user": {"id": "x"}, "integrations_config_defaults": {"local-oauth2": defaults}}
    replay.known[token] = replay.session(body)


def _outside(replay: Replay) -> None:
    replay.provider.inside = False


def _used_up(replay: Replay) -> None:
    """The recorded callback had been called once before."""
    state = replay.known["cca91a70-e607-11f1-975f-35d255bc6679"]
    first = replay.app.get(
        f"/oauth/callback?code=c&state={state}", key=None, cookies=replay.cookies
    )
    assert first.status == 200, first.body


def _another_attempt(replay: Replay) -> None:
    started = replay.app.get(
        f"/oauth/connect/local-oauth2?connect_session_token={replay.session()}", key=None
    )
    own = dict(parse_qsl(urlsplit(started.headers["location"]).query))
    replay.known["cd43acc0-e607-11f1-975f-35d255bc6679"] = own["state"]
    key, _, value = started.cookies[0].split(";")[0].partition("=")
    replay.cookies[key] = value


# What the recorded server was asked in between without it being in the recording.
BEFORE: dict[str, Callable[[Replay], object]] = {
    "meta_after_patch": _metadata_of_old,
    "conn_patch_get": _legacy_patch,
    "L_get_expired_refreshes": lambda run: run.import_oauth2("L-exp", "local-oauth2", -60, "rt_L"),
    "L_get_norotate_refreshes": lambda run: run.import_oauth2(
        "L-nr", "local-norotate", -60, "rt_nr"
    ),
    "L_get_expiring_in_16min": lambda run: [
        run.import_oauth2(f"L-{minutes}", "local-oauth2", minutes * 60, f"rt_{minutes}")
        for minutes in (14, 16)
    ],
    "L_get_revoked_1": lambda run: run.import_oauth2("L-rev", "local-oauth2", -60, "rt_revoked"),
    "oauth_connect_with_defaults": _with_defaults,
    "M_proxy_margin_provider_back_within_30s": _outside,
    "oauth_callback_replay": _used_up,
    "oauth_callback_provider_error": _another_attempt,
}


def recordings() -> list[dict[str, Any]]:
    """Return the recorded run."""
    return [json.loads(line) for line in RECORDINGS.read_text().splitlines()]


def recorded_shape(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return what of a recorded answer must be the same in ours."""
    response = recorded["response"]
    headers = recorded["response_headers"]
    location = headers.get("location")
    content_type = None
    if recorded["status"] not in {204, 302}:
        content_type = headers.get("content-type", "").split(";")[0] or None
    found = _shape(recorded["status"], response, content_type, location)
    if any(name.startswith("x-ratelimit") for name in headers):
        found["rate_limit"] = True
    return found


def shape_of(result: Result) -> dict[str, Any]:
    """Return what of our answer must be the same as recorded."""
    content_type = None
    body: Any = ""
    if result.status not in {204, 302}:
        content_type = result.headers.get("content-type", "").split(";")[0] or None
        body = result.body.decode()
        if content_type == "application/json":
            body = json.loads(body)
    found = _shape(result.status, body, content_type, result.headers.get("location"))
    if any(name.startswith("x-ratelimit") for name in result.headers):
        found["rate_limit"] = True
    return found


def _shape(status: int, body: Any, content_type: str | None, location: str | None) -> Any:
    found: dict[str, Any] = {"status": status, "content_type": content_type}
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        error = body["error"]
        found["code"] = error.get("code")
        found["issues"] = sorted(
            (each["code"], ".".join(each["path"])) for each in error.get("errors", [])
        )
    if isinstance(body, (dict, list)):
        truncated = isinstance(body, dict) and "__truncated__" in body
        found["keys"] = dict.fromkeys(body["top_level"], "") if truncated else keys_of(body)
    if location is not None:
        query = parse_qsl(urlsplit(location).query, keep_blank_values=True)
        found["parameters"] = [name for name, _ in query]
        found["fixed"] = {
            name: unquote(value)
            for name, value in query
            if name in {"response_type", "client_id", "scope", "code_challenge_method", "prompt"}
        }
    return found


KINDS: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def keys_of(body: Any, prefix: str = "") -> dict[str, str]:
    """Return the path of each key with its value's JSON type; a list is its first element."""
    found: dict[str, str] = {}
    if isinstance(body, list):
        if body and not isinstance(body[0], (dict, list)):
            return {f"{prefix}[]": KINDS[type(body[0])]}
        return keys_of(body[0], f"{prefix}[].") if body else {}
    if isinstance(body, dict):
        for name, value in body.items():
            path = f"{prefix}{name}"
            found[path] = KINDS[type(value)]
            found |= keys_of(value, f"{path}.")
    return found
