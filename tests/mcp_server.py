"""An MCP server with its sign-in server, by the MCP SDK: what Keystow's authors did not write.

The SDK answers over ASGI; here it stands in for the way out. It checks redirect URIs, PKCE, client
authentication and rotation by itself; its storage below keeps what it was given.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.routes import create_auth_routes, create_protected_resource_routes
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from keystow.egress.client import Answer
from tests.support import Outside, Sent

ISSUER = "https://sign-in.example"
RESOURCE = "https://mcp.example/mcp"
LIFE_SECONDS = 3600


class Storage(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """What the SDK asks a server's author for: keeps clients, codes and tokens."""

    def __init__(self) -> None:
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.refresh_tokens: dict[str, RefreshToken] = {}
        self.access_tokens: dict[str, AccessToken] = {}
        self.revoked: list[str] = []

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id is not None
        self.clients[client_info.client_id] = client_info

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        code = secrets.token_urlsafe(32)
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or [],
            expires_at=time.time() + 600,
            client_id=client.client_id or "",
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        told = {"code": code, "state": params.state, "iss": ISSUER}
        return construct_redirect_uri(str(params.redirect_uri), **told)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        found = self.codes.get(authorization_code)
        return found if found is not None and found.client_id == client.client_id else None

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self._issued(client, authorization_code.scopes)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        found = self.refresh_tokens.get(refresh_token)
        return found if found is not None and found.client_id == client.client_id else None

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        del self.refresh_tokens[refresh_token.token]
        return self._issued(client, scopes)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.access_tokens.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.revoked.append(token.token)

    def _issued(self, client: OAuthClientInformationFull, scopes: list[str]) -> OAuthToken:
        refresh = secrets.token_urlsafe(32)
        self.refresh_tokens[refresh] = RefreshToken(
            token=refresh, client_id=client.client_id or "", scopes=scopes
        )
        access = secrets.token_urlsafe(32)
        self.access_tokens[access] = AccessToken(
            token=access, client_id=client.client_id or "", scopes=scopes
        )
        return OAuthToken(
            access_token=access,
            token_type="Bearer",
            expires_in=LIFE_SECONDS,
            refresh_token=refresh,
            scope=" ".join(scopes),
        )


class McpWorld(Outside):
    """Stands in for egress: the MCP server and its sign-in server, by the SDK.

    Attributes:
        sent: every request, in order.
        metadata: changes to the sign-in server's metadata; None takes a member out.
        resource: changes to the resource's metadata.
        challenge: ``WWW-Authenticate`` of the MCP server.
    """

    def __init__(self) -> None:
        self.storage = Storage()
        self.sent: list[Sent] = []
        self.metadata: dict[str, Any] = {}
        self.resource: dict[str, Any] = {}
        self.challenge = "Bearer"
        self.down: set[str] = set()
        registration = ClientRegistrationOptions(
            enabled=True, valid_scopes=["read", "write", "offline_access"]
        )
        sign_in = create_auth_routes(
            self.storage,
            AnyHttpUrl(ISSUER),
            client_registration_options=registration,
            revocation_options=RevocationOptions(enabled=True),
        )
        mcp = create_protected_resource_routes(
            AnyHttpUrl(RESOURCE), [AnyHttpUrl(ISSUER)], scopes_supported=["read"]
        )
        self._apps = {
            "sign-in.example": Starlette(routes=sign_in),
            "mcp.example": Starlette(routes=[*mcp, Route("/mcp", self._unauthorized)]),
        }

    async def _unauthorized(self, _request: Any) -> Response:
        headers = {"www-authenticate": self.challenge}
        return JSONResponse({"error": "invalid_token"}, 401, headers)

    def answer_to(self, sent: Sent) -> Answer:
        """Answer as the SDK does, with what a test changes of its documents."""
        self.sent.append(sent)
        parts = urlsplit(sent.url)
        app = self._apps.get(parts.netloc)
        if app is None or parts.netloc in self.down:
            return Answer(404, {}, b"")
        client = TestClient(app, base_url=f"https://{parts.netloc}")
        found = client.request(
            sent.method,
            parts.path + (f"?{parts.query}" if parts.query else ""),
            headers=sent.headers,
            content=sent.body,
            follow_redirects=False,
        )
        changes = {}
        if "oauth-authorization-server" in parts.path:
            told = {"authorization_response_iss_parameter_supported": True}
            changes = {**told, "issuer": ISSUER, **self.metadata}
        elif "oauth-protected-resource" in parts.path:
            changes = {"authorization_servers": [ISSUER], **self.resource}
        if changes and found.status_code == 200:
            body = {**found.json(), **changes}
            document = {name: value for name, value in body.items() if value is not None}
            return Answer(200, {"content-type": "application/json"}, json.dumps(document).encode())
        return Answer(found.status_code, dict(found.headers), found.content)

    def agreed(self, location: str) -> dict[str, str]:
        """Return what a browser brings back whose person agreed at the sign-in server."""
        parts = urlsplit(location)
        assert parts.netloc == "sign-in.example"
        client = TestClient(self._apps["sign-in.example"], base_url=ISSUER)
        found = client.get(f"{parts.path}?{parts.query}", follow_redirects=False)
        assert found.status_code == 302, found.text
        return dict(parse_qsl(urlsplit(found.headers["location"]).query))

    def forms(self, path: str) -> list[dict[str, str]]:
        """Return the forms that were posted to a path of the sign-in server."""
        return [each.form() for each in self.sent if urlsplit(each.url).path == path]
