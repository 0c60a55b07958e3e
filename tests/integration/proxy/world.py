"""A world with a few kinds of connections, and requests to their providers by the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.integration.connections.world import World

if TYPE_CHECKING:
    from tests.app import Result

API = "https://api.acme.example/v1"
ACME: dict[str, Any] = {
    "display_name": "Acme",
    "categories": ["dev-tools"],
    "auth_mode": "OAUTH2",
    "docs": "https://acme.example/docs",
    "authorization_url": "https://acme.example/authorize",
    "token_url": "https://auth.acme.example/token",
    "proxy": {"base_url": API},
}


class Proxied(World):
    """A world whose calls go through the proxy; connection ``c1`` of integration ``pat``."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.imported("c1")

    def provider_of(self, key: str, mode: str = "OAUTH2", **proxy: Any) -> None:
        """Put a provider and an integration of it."""
        definition = {**ACME, "auth_mode": mode, "proxy": {**ACME["proxy"], **proxy}}
        if mode == "OAUTH1":
            method = definition["proxy"].pop("signature_method", "HMAC-SHA1")
            definition |= {"request_url": "https://acme.example/r", "signature_method": method}
        elif mode != "OAUTH2":
            for name in ("authorization_url", *(("token_url",) if mode != "OAUTH2_CC" else ())):
                del definition[name]
        made = self.app.put(f"/providers/{key}", definition)
        assert made.status in {200, 201}, made.body
        if mode in {"OAUTH1", "OAUTH2"}:
            client = {"type": mode, "client_id": "id", "client_secret": "app-secret"}
            self.integration(key, key, credentials=client)
        else:
            self.integration(key, key)

    def connected(self, key: str, credentials: dict[str, Any], **fields: Any) -> None:
        """Import a connection with the integration's key as its id."""
        body = {
            "provider_config_key": key,
            "connection_id": key,
            "credentials": credentials,
            **fields,
        }
        made = self.app.post("/connections", body)
        assert made.status == 201, made.body

    def sent(
        self,
        method: str = "GET",
        path: str = "/x",
        *,
        connection: str = "c1",
        of: str = "pat",
        raw: bytes | None = None,
        key: str = "",
        **headers: str,
    ) -> Result:
        """Send a request through the proxy; names of headers have underscores."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"provider-config-key": of, "connection-id": connection, **given}
        return self.app.call(method, f"/proxy{path}", headers=given, raw=raw, key=key)
