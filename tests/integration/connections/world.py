"""Environments with connections of a few integrations, on memory or on DynamoDB."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from keystow.environments import keys
from tests.app import App, Result
from tests.authorization_server import DEFINITION, AuthorizationServer
from tests.support import Seeded, make_context, seed_environment


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
        self.integration("pat", "airtable-pat")

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
