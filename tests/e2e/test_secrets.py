"""Promise 5: no secret anywhere but sealed. Marked ones are planted, and every file is searched."""

from __future__ import annotations

import base64
import json
import secrets
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from websockets.sync.client import connect as connect_socket

from tests.e2e import driving

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from local.harness import RunningStack

KEYS_ARE_KEPT_IN = {"stack.json", "state/keystow-keys.json"}
VAULT = "planted-vault"
BASIC = "planted-basic"


@dataclass
class Planted:
    """Secrets by what they are."""

    values: dict[str, str] = field(default_factory=dict)

    def new(self, what: str) -> str:
        """A fresh secret, with characters that every encoding treats in its own way."""
        return self.note(what, f"planted+{secrets.token_hex(12)}/é=&")

    def note(self, what: str, value: str) -> str:
        """Remember a secret that somebody else made."""
        assert len(value) >= 16
        self.values[what] = value
        return value


def forms(value: str) -> set[bytes]:
    """How a secret could stand in a file."""
    raw = value.encode()
    found = {
        raw,
        quote(value, safe="").encode(),
        quote(value).encode(),
        raw.hex().encode(),
        raw.hex().upper().encode(),
        json.dumps(value)[1:-1].encode(),
        json.dumps(json.dumps(value)[1:-1])[1:-1].encode(),
        value.encode("utf-16-le"),
    }
    for shift in range(3):  # where it begins within a longer text that was encoded
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            padded = encode(b"\0" * shift + raw)
            found.add(padded[4 if shift else 0 : len(raw) * 4 // 3 // 4 * 4 - 4])
    return found


def test_the_search_finds_every_form() -> None:
    value = "planted+0123456789abcdef/é=&"
    for text in (
        value.encode(),
        base64.b64encode(b"a" + value.encode() + b"b"),
        base64.b64encode(b"ab" + value.encode()),
        base64.urlsafe_b64encode(b"abc" + value.encode()),
        quote(value, safe="").encode(),
        json.dumps({"a": json.dumps({"b": value})}).encode(),
        value.encode().hex().encode(),
    ):
        assert any(form in text for form in forms(value)), text


def hits(folder: Path, wanted: dict[str, str]) -> list[tuple[str, str]]:
    """Files of a folder, and which of the secrets stand in them."""
    needles = {what: forms(value) for what, value in wanted.items()}
    found = []
    searched = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        searched += len(content)
        name = path.relative_to(folder).as_posix()
        found += [
            (name, what)
            for what, each in needles.items()
            if any(needle in content for needle in each)
        ]
    assert searched > 100_000
    return found


def custom(api: httpx.Client, name: str, provider: driving.Provider, mode: str) -> None:
    """An integration whose credentials nobody verifies."""
    definition = {
        "display_name": name,
        "categories": ["dev-tools"],
        "docs": f"{provider.url}/",
        "auth_mode": mode,
        "proxy": {"base_url": provider.url},
    }
    driving.done(api.put(f"/providers/{name}", json=definition))
    driving.done(api.post("/integrations", json={"provider": name, "unique_key": name}))


def plant_typed_credentials(
    stack: RunningStack, api: httpx.Client, provider: driving.Provider, planted: Planted
) -> None:
    """API keys and passwords: imported, submitted, refused, and sent in broken requests."""
    custom(api, VAULT, provider, "API_KEY")
    custom(api, BASIC, provider, "BASIC")
    key = {"type": "API_KEY", "apiKey": planted.new("imported API key")}
    body = {"provider_config_key": VAULT, "connection_id": "planted", "credentials": key}
    driving.done(api.post("/connections", json=body))
    driving.done(driving.read(api, VAULT, "planted"))
    password = planted.new("submitted password")
    token = planted.note("session token", driving.session(api, BASIC))
    with driving.browser() as web:
        asked = {"connect_session_token": token}
        typed = {"username": "u", "password": password}
        place = f"{stack.api_url}/api-auth/basic/{BASIC}"
        driving.done(web.post(place, params=asked, json=typed))
        refused = web.post(place, params=asked, json={**typed, "password": [password]})
        assert refused.status_code == 400
    wrong = {"type": "API_KEY", "apiKey": planted.new("refused API key")}
    answers = [
        refused,
        api.post("/connections", json={**body, "credentials": {**wrong, "surprise": 1}}),
        api.post(
            "/connections",
            json={**body, "provider_config_key": "demo-api-key", "credentials": wrong},
        ),
        api.post("/connections", json={**body, "credentials": {**wrong, "type": "BASIC"}}),
        api.post("/connections", content=json.dumps({**body, "credentials": wrong})[:-1].encode()),
        api.get("/connections", params={"connectionId": wrong["apiKey"] * 9}),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500
        assert not [what for what, value in planted.values.items() if value in answer.text]
    with driving.client(stack, planted.new("wrong secret key").replace("é", "e")) as stranger:
        assert stranger.get("/connections").status_code == 401


def plant_oauth(
    stack: RunningStack, api: httpx.Client, provider: driving.Provider, planted: Planted
) -> None:
    """An authorization in a browser, refreshes that work and fail, a revocation."""
    planted.note("client secret", provider.client_secret)
    token = planted.note("OAuth session token", driving.session(api, provider.integration))
    with connect_socket(stack.info.websocket_url, proxy=None) as socket, driving.browser() as popup:
        client_id = json.loads(socket.recv(30))["ws_client_id"]
        asked = {"connect_session_token": token, "ws_client_id": client_id}
        place = f"{stack.api_url}/oauth/connect/{provider.integration}"
        consent = popup.get(place, params=asked).headers["location"]
        sent = popup.post(consent, data={"account": "ada", "answer": "approve"})
        back = parse_qs(urlsplit(sent.headers["location"]).query)
        planted.note("state", back["state"][0])
        planted.note("authorization code", back["code"][0])
        assert popup.get(sent.headers["location"]).status_code == 200
        assert popup.get(sent.headers["location"]).status_code < 500
        made = json.loads(socket.recv(30))["connection_id"]
    for flags in ({}, {"force_refresh": "true"}):
        answer = driving.read(api, provider.integration, made, refresh_token="true", **flags)
        credentials = driving.done(answer)["credentials"]
        for name in ("access_token", "refresh_token"):
            planted.note(f"{name} {flags or ''}", credentials[name])
    lost = provider.imported(api, "planted-lost")
    planted.note("imported access token", lost.access_token)
    planted.note("imported refresh token", lost.refresh_token)
    provider.fault(invalid_grant=True, grant_type="refresh_token")
    refused = driving.read(api, provider.integration, "planted-lost")
    provider.fault()
    assert refused.status_code in {400, 424}
    assert lost.refresh_token not in refused.text
    place = driving.path_of(made)
    driving.done(api.delete(place, params={"provider_config_key": provider.integration}))


def plant_keys(stack: RunningStack, planted: Planted) -> None:
    """Keys of another environment."""
    with driving.client(stack, stack.keys["account_key"]) as account:
        made = driving.done(account.post("/environments", json={"name": "planted"}))["data"]
        body = {"environment_id": made["id"], "display_name": "planted"}
        key = driving.done(account.post("/environment/api-keys", json=body))["data"]["secret"]
        planted.note("key of an environment", key)
    with driving.client(stack, key) as other:
        rotated = driving.done(other.post("/environment/webhook-signing-key/rotate"))["data"]
        planted.note("webhook signing key", rotated["webhook_signing_key"])
        driving.done(other.get("/connections"))


def test_no_planted_secret_is_in_any_file(
    stack: RunningStack,
    api: httpx.Client,
    provider: driving.Provider,
) -> None:
    planted = Planted()
    plant_typed_credentials(stack, api, provider, planted)
    plant_oauth(stack, api, provider, planted)
    plant_keys(stack, planted)
    own = {what: value for what, value in stack.keys.items() if what != "public_key"}
    stack.stop()
    try:
        found = hits(stack.folder, planted.values)
        keys_in = hits(stack.folder, own)
        assert found == []
        assert {name for name, _ in keys_in} <= KEYS_ARE_KEPT_IN
        assert keys_in
    finally:
        stack.start()


@pytest.mark.full
def test_the_demo_provider_keeps_no_secret_either(stack: RunningStack) -> None:
    with driving.client(stack) as api:
        made = driving.connect(stack, api, "demo")["connection_id"]
        credentials = driving.done(driving.read(api, "demo", made, refresh_token="true"))
    (place,) = (stack.folder).rglob("provider.sqlite3")
    with sqlite3.connect(f"file:{place}?mode=ro", uri=True) as database:
        text = "\n".join(database.iterdump())
    for name in ("access_token", "refresh_token"):
        assert credentials["credentials"][name] not in text
