"""Ada, whose account is connected in each of the ways there are."""

from __future__ import annotations

import json
from typing import Any

from keystow.environments import keys
from keystow.store import tables
from tests.integration.environments.erasing import Erasing

ADA = {
    "id": "ada-1815",
    "email": "ada@example.com",
    "display_name": "Ada Lovelace",
    "tags": {"team": "analytical-engines"},
}
ORGANIZATION = {"id": "royal-society", "display_name": "Royal Society"}
ABOUT = ("ada-1815", "ada@example.com", "Ada Lovelace", "analytical-engines", "oyal")
KEPT = (tables.CONNECTIONS, tables.EVENTS, tables.ACTIVITY, tables.REGISTRY)


class World(Erasing):
    """An environment in which Ada's account is connected in one of the ways there are."""

    def connected(self, way: str) -> str:
        user: dict[str, Any] = {"end_user": ADA, "organization": ORGANIZATION}
        if way == "popup":
            return self.popup.connected(**user)
        if way == "waiting":  # for confirmation
            return self.popup.connected(**user, confirm=True)
        if way == "typed":
            path = f"/api-auth/api-key/pat?connect_session_token={self.popup.session(**user)}"
            made = self.app.post(path, {"apiKey": "k" * 20}, key=None)
            assert made.status == 200, made.body
            return str(made.json()["connectionId"])
        credentials = {"type": "OAUTH2", "access_token": "a", "refresh_token": "r"}
        body = {
            "provider_config_key": "rot",
            "connection_id": "adas",
            "end_user": ADA,
            "tags": {"society": "royal"},
            "credentials": credentials,
        }
        assert self.app.post("/connections", body).status == 201
        return "adas"

    def path(self, connection_id: str, way: str) -> str:
        key = "pat" if way == "typed" else "rot"
        return f"/connections/{connection_id}?provider_config_key={key}"

    def key(self, *scopes: str) -> str:
        """An API key of the environment that may do just this."""
        _key, text, writes = keys.new_key(self.ctx, "env1", "scoped", scopes)
        self.ctx.store.transact(list(writes))
        return str(text.reveal())

    def told_of_ada(self, *tables_: str) -> list[tuple[str, str]]:
        everything = self.ctx.store.everything()
        return [
            (table, text)
            for table in tables_ or KEPT
            for row in everything[table]
            for text in ABOUT
            if text in json.dumps(row, default=str)
        ]
