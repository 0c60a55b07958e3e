"""The first event of each function, real for it, and the rows that it finds.

A world in memory is brought to where each event comes next: a browser at the provider's, a
connection to be refreshed, one that waits to be confirmed. Then the events are written down as API
Gateway, SQS and EventBridge would send them.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from benchmarks import ROOT
from benchmarks.world import World, make_world
from keystow.records.environment import Environment
from keystow.refresh import sweep
from keystow.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEDULE: Final = "sweep.json"
UNKNOWN_KEY: Final = "00000000-0000-4000-8000-000000000000"
LONG_SECONDS: Final = 86_400
KEY: Final = "key"
ANY_STATUS: Final = 0


@dataclass(frozen=True)
class First:
    """A first event, and the status of the usual answer (ANY_STATUS: an answer without one)."""

    event: Any
    status: int = 200

    def fits(self, answer: Any) -> bool:
        """Return whether an answer is the usual one."""
        if self.status == ANY_STATUS:
            return isinstance(answer, dict) and not answer.get("batchItemFailures")
        return bool(answer["statusCode"] == self.status)


def made(origin: str) -> tuple[World, dict[str, First], dict[str, First]]:
    """Return a world, the first event of each function, and of some one whose key is unknown.

    Args:
        origin: of the provider and of the webhook receiver, ``https`` on loopback.
    """
    support = importlib.import_module("tests.support")
    tokens = {"access_token": "a", "refresh_token": "r", "token_type": "bearer", "expires_in": 3600}
    egress = support.FakeEgress(default=support.json_answer(200, tokens))
    world = make_world(origin=origin, egress=egress)
    maker = _Maker(world, origin)
    return world, maker.firsts(), maker.refused()


class _Maker:
    def __init__(self, world: World, origin: str) -> None:
        self._world = world
        self._app = world.app
        self._origin = origin

    def firsts(self) -> dict[str, First]:
        """Bring the world there and return the events; the order matters."""
        world, queues = self._world, self._world.ctx.queues
        self._made("PUT", "/environment/webhook-settings", {"primary_url": f"{self._origin}/hook"})
        self._made("PUT", "/providers/tried", self._tried())
        self._made("POST", "/integrations", {"provider": "tried", "unique_key": KEY})
        world.connect(["customer-1"], life=LONG_SECONDS)
        webhook, _delay = queues.take_webhooks()[-1]
        world.connect(["customer-2"], life=-60)
        sweep.sweep(world.ctx)
        refresh, _delay = queues.take_refreshes()[-1]
        world.connect(["customer-3"], life=-60)
        waiting = self._typed(self._session(confirm=True))
        found = self._http(waiting)
        schedule = json.loads((ROOT / "events" / SCHEDULE).read_text(encoding="utf-8"))
        found["sweep_due"] = First(schedule, ANY_STATUS)
        found["refresh_tokens"] = First(_records(refresh), ANY_STATUS)
        found["send_webhook"] = First(_records(webhook), ANY_STATUS)
        for name in ("bootstrap_keys", "rewrap_data_keys"):
            event = json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))
            found[name] = First(event, ANY_STATUS)
        connect = (ROOT / "events" / "socket_connect.json").read_text(encoding="utf-8")
        found["browser_socket"] = First(json.loads(connect))
        preflight = (ROOT / "events" / "preflight.json").read_text(encoding="utf-8")
        found["answer_default"] = First(json.loads(preflight), 204)
        return found

    def refused(self) -> dict[str, First]:
        """Return events whose API key nobody knows: what is asked of a function at the least."""
        of = self._asked(UNKNOWN_KEY)
        return {
            **of(401, "GET", "/connections/customer-1?provider_config_key=bench"),
            **of(401, "POST", "/connect/sessions", {"end_user": {"id": "user-1"}}),
        }

    def _http(self, waiting: str) -> dict[str, First]:
        """Return the events of the functions behind routes."""
        token = self._session()
        state, cookies = self._popup(self._session())
        back = urlencode({"code": "c", "state": state, "iss": self._origin})
        person = {"connect_session_token": token, "ws_client_id": UNKNOWN_KEY}
        imported = {
            "provider_config_key": "bench",
            "connection_id": "customer-9",
            "credentials": {"type": "OAUTH2", "access_token": "a", "refresh_token": "r"},
        }
        user = {"id": "user-1", "email": "someone@example.com"}
        backend, browser, nobody = self._asked(""), self._asked(token), self._asked(None)
        one = "provider_config_key=bench"
        return {
            **nobody(200, "GET", "/ui/connect/"),
            **backend(201, "POST", "/connect/sessions", {"end_user": user}),
            **browser(200, "GET", "/connect/session"),
            **browser(200, "GET", "/integrations"),
            **browser(200, "GET", "/providers/bench"),
            **nobody(302, "GET", f"/oauth/connect/bench?{urlencode(person)}"),
            **nobody(200, "GET", f"/oauth/callback?{back}", cookies=cookies),
            **nobody(
                200,
                "POST",
                f"/api-auth/api-key/{KEY}?connect_session_token={token}",
                {"apiKey": "k" * 20},
            ),
            **backend(200, "GET", f"/connections/customer-1?{one}"),
            **backend(
                200,
                "GET",
                "/proxy/me?a=b",
                headers={"provider-config-key": "bench", "connection-id": "customer-1"},
            ),
            **backend(200, "GET", "/connections"),
            **backend(201, "POST", "/connections", imported),
            **backend(200, "PATCH", f"/connections/customer-1?{one}", {"tags": {"a": "b"}}),
            **backend(200, "POST", f"/connections/{waiting}/confirm?provider_config_key={KEY}"),
            **backend(200, "DELETE", f"/connections/customer-1?{one}"),
            **backend(200, "DELETE", "/end-users/user-customer-2"),
            **backend(
                202, "POST", "/incidents", {"end_user_id": "user-customer-2", "reason": "leaked"}
            ),
            **backend(201, "PUT", "/providers/other", self._tried()),
            **backend(200, "GET", "/environment/webhook-settings"),
            **backend(200, "GET", "/webhook-deliveries"),
            **backend(200, "GET", "/activity"),
            **nobody(204, "POST", f"/webhook/{self._uuid()}/bench", {"event": "installed"}),
            **nobody(404, "GET", f"/oauth/client-metadata/{self._uuid()}/bench"),
        }

    def _uuid(self) -> str:
        """Return the environment's UUID, by which it can be found from now on."""
        support = importlib.import_module("tests.support")
        store = self._world.ctx.store
        hashed = hashlib.sha256(str(self._app.key).encode()).hexdigest()
        owner = store.get(tables.api_key_lookup(hashed))["owner"]
        environment = Environment.from_item(store.get(tables.environment_settings(owner)))
        support.claim_names(self._world.ctx, environment)
        return environment.uuid

    def _asked(self, key: str | None) -> Callable[..., dict[str, First]]:
        def asked(
            status: int, method: str, path: str, body: Any = None, **more: Any
        ) -> dict[str, First]:
            folder, event = self._app.asked(method, path, body, key=key, **more)
            return {folder: First(event, status)}

        return asked

    def _tried(self) -> dict[str, Any]:
        """Return a provider whose keys are tried before they are stored."""
        return {
            "display_name": "Tried",
            "categories": ["dev-tools"],
            "auth_mode": "API_KEY",
            "docs": f"{self._origin}/docs",
            "proxy": {
                "base_url": self._origin,
                "headers": {"x-key": "${apiKey}"},
                "verification": {"endpoints": ["/me"]},
            },
        }

    def _made(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        found = self._app.call(method, path, body, **more)
        if found.status not in {200, 201, 302}:
            raise RuntimeError(f"{method} {path}: {found.status} {found.body!r}")
        return found

    def _session(self, **more: Any) -> str:
        body = {"end_user": {"id": "user-1"}, **more}
        return str(self._made("POST", "/connect/sessions", body).json()["data"]["token"])

    def _typed(self, token: str) -> str:
        """Connect with an API key, and return the connection's id."""
        path = f"/api-auth/api-key/{KEY}?connect_session_token={token}"
        return str(self._made("POST", path, {"apiKey": "k" * 20}, key=None).json()["connectionId"])

    def _popup(self, token: str) -> tuple[str, dict[str, str]]:
        """Set out for the provider, and return the state and the browser's cookies."""
        asked = urlencode({"connect_session_token": token, "ws_client_id": UNKNOWN_KEY})
        started = self._made("GET", f"/oauth/connect/bench?{asked}", key=None)
        (state,) = parse_qs(urlsplit(started.headers["location"]).query)["state"]
        name, _, value = started.cookies[0].split(";")[0].partition("=")
        return state, {name: value}


def _records(body: Any) -> Any:
    """Return a batch of SQS with one message."""
    return {"Records": [{"messageId": "message-1", "body": json.dumps(body)}]}
