"""Every route of the template, with a world in which each of them has something to work on."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

from keystow.environments import keys
from keystow.modes import ROOMS
from keystow.store import Put, tables
from local.template import DEFAULT_ROUTE, load, routes
from tests.app import ROOT, App, Result
from tests.support import FakeEgress, claim_names, make_context, seed_environment

# A data class looks its module up by name, and tests.app does not enter modules there.
sys.modules.setdefault("functions_connect_ui_app", ModuleType("functions_connect_ui_app"))

IGNORED = {"last_used", "last_used_at", "last_fetched_at", "ttl"}
# Opened by a browser that follows a link: their errors are pages.
FORM = "POST /oauth/callback"
OWN_FORM = "POST /oauth/callback/{integration}"
WEBHOOK = "POST /webhook/{environmentUuid}/{providerConfigKey}"
PAGES = {
    "GET /oauth/callback",
    "GET /oauth/callback/{integration}",
    FORM,
    OWN_FORM,
    "GET /oauth/connect/{providerConfigKey}",
    "GET /ui/{page+}",
    "HEAD /ui/{page+}",
}
IN_QUERY = ("/oauth/connect/", "/api-auth/", "/auth/", "/oauth2/auth/")
BY_SESSION = {
    "GET /connect/session",
    "GET /connect/session/status",
    "DELETE /connect/session",
}
OPEN = {
    "GET /health",
    "GET /ready",
    "GET /ui/{page+}",
    "HEAD /ui/{page+}",
    "GET /oauth/callback",
    "GET /oauth/callback/{integration}",
    FORM,
    OWN_FORM,
    "POST /connect/telemetry",
    "GET /oauth/client-metadata/{environmentUuid}/{providerConfigKey}",
    WEBHOOK,
}
# Take no body, or look at none.
BODYLESS = {
    "POST /environment/webhook-signing-key/rotate",
    "POST /webhook-deliveries/{deliveryId}/replay",
    WEBHOOK,
    FORM,
    OWN_FORM,
}
VALUES = {
    "integration": f"env1-{'0' * 24}",
    "providerConfigKey": "key",
    "connectionId": "c1",
    "endUserId": "u1",
    "incidentId": "1767225600000_0123456789abcdef",
    "uniqueKey": "key",
    "provider": "custom",
    "environmentUuid": "1",
    "keyUuid": "1",
    "deliveryId": "d1",
    "operationId": "o1",
    "page": "connect/",
    "path": "x",
}
CUSTOM = {
    "display_name": "Custom",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "docs": "https://custom.example/docs",
    "proxy": {"base_url": "https://custom.example"},
    "credentials": {"apiKey": {"type": "string", "title": "API key"}},
}


# Metadata's older path, and a confirmation's, end in a word that the greedy parameter takes along.
LEGACY_METADATA = {"POST /connection/{connectionId+}", "PATCH /connection/{connectionId+}"}


# What a request to the proxy is about stands in its headers.
PROXY = {"ANY /proxy", "ANY /proxy/{path+}"}
PROXY_HEADERS = {"provider-config-key": "key", "connection-id": "c1"}


@lru_cache
def all_routes() -> tuple[str, ...]:
    """Return the keys of the routes (``GET /connections/{connectionId+}``), each mode's own."""
    found = routes(load(ROOT / "template.yaml"))
    keys = [key for each in found if each.key != DEFAULT_ROUTE for key in _of_modes(each.key)]
    return tuple(sorted(keys))


def _of_modes(key: str) -> list[str]:
    """Return a route, with each mode in its place where it stands for all of them."""
    before, variable, rest = key.partition("{mode}")
    if not variable:
        return [key]
    folder = before.removeprefix("POST /")
    return [f"POST /{room.path}{rest}" for room in ROOMS.values() if room.path.startswith(folder)]


def _is_by_account(route: str) -> bool:
    path = route.split(" ", 1)[1]
    return path.startswith(("/environments", "/environment/api-keys", "/account/"))


BY_ACCOUNT = {route for route in all_routes() if _is_by_account(route)}


def path_of(route: str, **values: str) -> str:
    """Return a path of a route, its variables filled in."""
    _method, path = route.split(" ", 1)
    known = {**VALUES, **values}
    filled = re.sub(r"\{(\w+)\+?\}", lambda found: known[found[1]], path)
    if route == "POST /connections/{connectionId+}":
        return f"{filled}/confirm"
    return f"{filled}/metadata" if route in LEGACY_METADATA else filled


def method_of(route: str) -> str:
    """Return the method of a route; of one for any method, some that has a body."""
    return route.split(maxsplit=1)[0].replace("ANY", "POST")


class World:
    """An environment with an integration, a connection and a session."""

    def __init__(self) -> None:
        self.ctx: Any = make_context(egress=FakeEgress(default=200))
        seeded = seed_environment(self.ctx)
        self.key = seeded.secret_key
        self.app = App(self.ctx, self.key)
        _key, text, writes = keys.new_key(self.ctx, keys.ACCOUNT, "account", keys.ACCOUNT_SCOPES)
        # What the account's routes work on, so that this environment outlives a deletion.
        other = seed_environment(self.ctx, id="env2", name="other")
        claim_names(self.ctx, other.environment)
        account = tables.environment_settings(keys.ACCOUNT)
        self.ctx.store.transact([Put(account, {"created_at": 1}), *writes])
        self.account_key = str(text.reveal())
        assert self.app.put("/providers/custom", CUSTOM).status == 201
        body = {"provider": "custom", "unique_key": "key"}
        assert self.app.post("/integrations", body).status == 200
        made = self.app.post(
            "/connections",
            {
                "provider_config_key": "key",
                "connection_id": "c1",
                "credentials": {"type": "API_KEY", "apiKey": "k"},
            },
        )
        assert made.status == 201, made.body
        made = self.app.post("/connect/sessions", {"end_user": {"id": "u1"}})
        self.token = str(made.json()["data"]["token"])
        self.values = {
            "deliveryId": self._newest("/webhook-deliveries"),
            "operationId": self._newest("/activity"),
            "environmentUuid": other.environment.uuid,
            "keyUuid": other.key.uuid,
        }

    def _newest(self, path: str) -> str:
        found = self.app.get(path).json()["data"]
        return str(found[0]["id"])

    def call(self, route: str, query: str = "", **options: Any) -> Result:
        """Call a route as somebody who may."""
        return self.call_path(route, path_of(route, **self.values), query, **options)

    def call_path(self, route: str, path: str, query: str = "", **options: Any) -> Result:
        """Call a path of a route as somebody who may."""
        headers = dict(options.pop("headers", {}))
        given = []
        if route in PROXY:
            headers = {**PROXY_HEADERS, **headers}
        if path.startswith(IN_QUERY):
            given.append(f"connect_session_token={self.token}")
        elif route in BY_SESSION:
            headers.setdefault("authorization", f"Bearer {self.token}")
        elif route in BY_ACCOUNT:
            headers.setdefault("authorization", f"Bearer {self.account_key}")
        if "connectionId" in route:
            given.append("provider_config_key=key")
        if query:
            given.append(query)
        full = f"{path}?{'&'.join(given)}" if given else path
        return self.app.call(method_of(route), full, headers=headers, **options)

    def state(self) -> dict[str, Any]:
        """Return what is stored, but for who was here last, how often, and what was noted of it."""
        return {
            table: [
                {name: value for name, value in item.items() if name not in IGNORED}
                for item in items
                if not item["pk"].startswith("use#") and not item["sk"].startswith("quota#")
            ]
            for table, items in self.ctx.store.everything().items()
            if table != "activity"
        }


def check_answer(route: str, answer: Result) -> None:
    """Require an answer that a client can read, and no fault of ours."""
    assert answer.status < 500, (route, answer.status, answer.body[:300])
    answer.body.decode()
    if answer.status < 400:
        return
    if route in PAGES and answer.headers["content-type"].startswith("text/html"):
        return
    assert answer.headers["content-type"].startswith("application/json"), (route, answer)
    error = answer.json()["error"]
    assert isinstance(error["code"], str)
    assert error["code"] != "generic_error_support"
    for issue in error.get("errors", ()):
        assert set(issue) == {"code", "message", "path"}
        assert all(isinstance(step, str) for step in issue["path"])
