"""Environments with connections of a few integrations, on memory or on DynamoDB."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from keystow.clock import iso
from keystow.environments import keys
from keystow.records.connection import StoredSecret
from keystow.refresh import worker
from keystow.store import tables
from tests.app import App, Result
from tests.authorization_server import DEFINITION, AuthorizationServer
from tests.support import Seeded, make_context, seed_environment

# Keys of it are stored as they are: there is no call to try one with.
UNTRIED: dict[str, Any] = {
    "display_name": "Untried",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "proxy": {
        "base_url": "https://untried.example",
        "headers": {"authorization": "Bearer ${apiKey}"},
    },
}


class World:
    """One environment; ``of`` an existing world: another environment beside it."""

    def __init__(self, *, of: World | None = None, environment: str = "env1", **parts: Any) -> None:
        self.provider = of.provider if of else AuthorizationServer()
        self.ctx: Any = of.ctx if of else make_context(egress=self.provider, **parts)
        self.environment = environment
        self.seeded: Seeded = seed_environment(self.ctx, id=environment, name=environment)
        self.app = App(self.ctx, self.seeded.secret_key)
        assert self.app.put("/providers/rotating", DEFINITION).status == 201
        client = {"type": "OAUTH2", "client_id": "id", "client_secret": "app-secret"}
        self.integration("rot", "rotating", credentials=client)
        assert self.app.put("/providers/untried", UNTRIED).status == 201
        self.integration("pat", "untried")

    def integration(self, key: str, provider: str, **fields: Any) -> None:
        made = self.app.post("/integrations", {"provider": provider, "unique_key": key, **fields})
        assert made.status == 200, made.body

    def imported(self, connection_id: str, key: str = "pat", **fields: Any) -> dict[str, Any]:
        credentials: dict[str, Any] = {"type": "API_KEY", "apiKey": "k"}
        if key == "rot":
            credentials = {"type": "OAUTH2", "access_token": "at-0", "refresh_token": "rt-0"}
        body = {
            "provider_config_key": key,
            "connection_id": connection_id,
            "credentials": credentials,
            **fields,
        }
        made = self.app.post("/connections", body)
        assert made.status == 201, made.body
        return dict(made.json())

    def read(
        self, connection_id: str, integration: str = "pat", query: str = "", **options: Any
    ) -> Result:
        path = f"/connections/{quote(connection_id)}?provider_config_key={integration}{query}"
        return self.app.get(path, **options)

    def rotating(self, connection_id: str, *, expires_in: float, key: str = "rot") -> None:
        """Import a connection of a provider that rotates refresh tokens."""
        credentials = {
            "type": "OAUTH2",
            "access_token": "at-0",
            "refresh_token": "rt-0",
            "expires_at": iso(self.ctx.clock.now() + expires_in),
        }
        body = {
            "provider_config_key": key,
            "connection_id": connection_id,
            "credentials": credentials,
        }
        made = self.app.post("/connections", body)
        assert made.status == 201, made.body

    def pk(self, connection_id: str = "c1") -> str:
        """Return the partition of a connection of this environment."""
        items = self.ctx.store.everything()[tables.CONNECTIONS]
        return str(
            next(
                item["pk"]
                for item in items
                if item["sk"] == tables.CONNECTION_SECRET
                and item["pk"].startswith(f"{self.environment}#")
                and item["pk"].endswith(f"#{connection_id}")
            )
        )

    def secret(self, connection_id: str = "c1") -> StoredSecret:
        """Return the sealed credential as it is stored."""
        page = self.ctx.store.query(
            tables.CONNECTIONS, self.pk(connection_id), prefix=tables.CONNECTION_SECRET
        )
        return StoredSecret.from_item(page.items[0])

    def events(self) -> list[dict[str, Any]]:
        """Return the events that tell of failed and recovered refreshes."""
        return [
            item
            for item in self.ctx.store.everything()[tables.EVENTS]
            if item["sk"] == "event" and '"operation":"refresh"' in item["body"]
        ]

    def work(self) -> list[str]:
        """Let one worker take all that is on the refresh queue; return what must come again."""
        messages = self.ctx.queues.take_refreshes()
        return worker.handle(
            self.ctx,
            [(str(n), json.dumps(body)) for n, (body, _) in enumerate(messages)],
        )

    def listed(self, **query: Any) -> list[str]:
        return [each["connection_id"] for each in self.page(**query)["connections"]]

    def page(self, **query: Any) -> dict[str, Any]:
        found = self.app.get(f"/connections?{urlencode(query)}" if query else "/connections")
        assert found.status == 200, found.body
        return dict(found.json())

    def key(self, *scopes: str) -> str:
        """Return a new API key with these scopes."""
        _key, text, writes = keys.new_key(self.ctx, self.environment, "scoped", scopes)
        self.ctx.store.transact(list(writes))
        return str(text.reveal())


class Refreshing(World):
    """A world with one connection, ``c1``, whose token expires in so many seconds."""

    def __init__(self, *, expires_in: float = -60, **parts: Any) -> None:
        super().__init__(**parts)
        self.rotating("c1", expires_in=expires_in)

    def read(self, query: str = "", connection_id: str = "c1") -> Result:  # type: ignore[override]
        path = f"/connections/{connection_id}?provider_config_key=rot&refresh_token=true"
        return self.app.get(path + query)

    def token(self, connection_id: str = "c1") -> str:
        return str(self.read(connection_id=connection_id).json()["credentials"]["access_token"])
