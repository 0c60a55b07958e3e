"""A world with one integration of a mode that is typed in, and another side that is handed in."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from keystow.refresh import sweep, worker
from keystow.store import tables
from tests.app import App, Result
from tests.integration.authorization.popup import END_USER
from tests.support import make_context, seed_environment

KEY = "room"


class Room:
    """One environment with one integration, ``room``.

    Args:
        other_side: answers for the provider, as an egress.
        path: where a browser posts what is typed in.
        definition: of the provider; a text names a built-in one.
        integration: more of the body that makes the integration.
    """

    def __init__(self, other_side: Any, path: str, definition: Any, **integration: Any) -> None:
        self.path = path
        self.ctx: Any = make_context(egress=other_side)
        self.app = App(self.ctx, seed_environment(self.ctx).secret_key)
        provider = definition
        if not isinstance(definition, str):
            provider = "room-provider"
            made = self.app.put(f"/providers/{provider}", definition)
            assert made.status == 201, made.body
        body = {"provider": provider, "unique_key": KEY, **integration}
        made = self.app.post("/integrations", body)
        assert made.status == 200, made.body

    def session(self) -> str:
        found = self.app.post("/connect/sessions", {"end_user": END_USER})
        assert found.status == 201, found.body
        return str(found.json()["data"]["token"])

    def reconnecting(self, connection_id: str) -> str:
        body = {"connection_id": connection_id, "integration_id": KEY}
        found = self.app.post("/connect/sessions/reconnect", body)
        assert found.status == 201, found.body
        return str(found.json()["data"]["token"])

    def submit(self, body: Any, *, token: str | None = None, **query: str) -> Result:
        given = {"connect_session_token": token or self.session(), **query}
        return self.app.post(f"/{self.path}/{KEY}?{urlencode(given)}", body, key=None)

    def connected(self, body: Any, **query: str) -> str:
        """Connect, and return the connection's id."""
        made = self.submit(body, **query)
        assert made.status == 200, made.body
        assert list(made.json()) == ["connectionId", "providerConfigKey"]
        return str(made.json()["connectionId"])

    def imported(self, credentials: Any, config: Any = None) -> Result:
        body = {
            "provider_config_key": KEY,
            "connection_id": "imported",
            "credentials": credentials,
            "connection_config": config or {},
        }
        return self.app.post("/connections", body)

    def get(self, connection_id: str, **query: str) -> Result:
        asked = urlencode({"provider_config_key": KEY, **query})
        return self.app.get(f"/connections/{connection_id}?{asked}")

    def read(self, connection_id: str, **query: str) -> dict[str, Any]:
        found = self.get(connection_id, **query)
        assert found.status == 200, found.body
        return dict(found.json())

    def credentials(self, connection_id: str, **query: str) -> dict[str, Any]:
        return dict(self.read(connection_id, **query)["credentials"])

    def swept(self) -> None:
        """Let the sweep and a worker pass once."""
        sweep.sweep(self.ctx)
        messages = self.ctx.queues.take_refreshes()
        bodies = [(str(n), json.dumps(body)) for n, (body, _) in enumerate(messages)]
        worker.handle(self.ctx, bodies)

    def deleted(self, connection_id: str) -> None:
        done = self.app.delete(f"/connections/{connection_id}?provider_config_key={KEY}")
        assert done.status == 200, done.body
        assert self.get(connection_id).status == 404

    def stored(self) -> list[Any]:
        return list(self.ctx.store.everything()[tables.CONNECTIONS])

    def told(self, operation: str) -> list[dict[str, Any]]:
        """Return the bodies of the events of an operation."""
        found = self.ctx.store.everything()[tables.EVENTS]
        bodies = [json.loads(each["body"]) for each in found if each["sk"] == "event"]
        return [each for each in bodies if each.get("operation") == operation]
