"""What the deployed API answers when it is as it should be; tests break one answer each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.unit.verifying.world import REQUEST_ID, World

if TYPE_CHECKING:
    from collections.abc import Mapping

FOREIGN = "foreign.example"


def error(code: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": "m"}}).encode()


class Web:
    """Answers in place of the network. ``broken`` maps a request to what changes in its answer."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[tuple[str, str, str, dict[str, str]]] = []
        self.broken: dict[str, dict[str, Any]] = {}
        self.frame: Any = {"message_type": "connection_ack", "ws_client_id": "c1"}
        self.door_moves = 0  # how often a door sends a browser on

    def ask(
        self,
        _deployed: Any,
        url: str,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Any:
        from verify_aws.calls import Answer

        headers = dict(headers or {})
        self.sent.append((url, method, path, headers))
        name = self.name(url, method, path, headers, body)
        changed = self.broken.get(name, {})
        if "raises" in changed:
            raise changed["raises"]
        status, shown, said = self.sound(name, url, headers)
        for header, value in changed.get("headers", {}).items():
            shown.pop(header, None)
            if value is not None:
                shown[header] = value
        return Answer(changed.get("status", status), shown, changed.get("body", said))

    def name(self, url: str, method: str, path: str, headers: Any, body: Any) -> str:
        """A word for each kind of request."""
        closed = url == self.world.api["ApiEndpoint"] and self.world.chosen["DomainName"]
        kinds = {
            "invalid key": "Authorization" in headers,
            "large": body is not None,
            "host": "Host" in headers,
            "forwarded": "X-Forwarded-Host" in headers,
            "own": path == "/connect/telemetry",
            "preflight": method == "OPTIONS",
            "cors": "Origin" in headers,
            "default endpoint": bool(closed),
            "popup": path.startswith("/oauth/connect/"),
            "read": path.startswith("/connections/"),
            "odd method": method == "PROPFIND",
        }
        plain = path.strip("/").partition("/")[0]  # health, ready, no
        return next((kind for kind, fits in kinds.items() if fits), plain)

    def sound(self, name: str, url: str, headers: Any) -> tuple[int, dict[str, str], bytes]:
        """The answer to each kind of request, as it should be."""
        base = {"access-control-allow-origin": "*", "apigw-requestid": REQUEST_ID}
        base["access-control-expose-headers"] = "Etag, X-Nango-Signature"
        own = {"access-control-allow-origin": self.world.outputs["ApiUrl"]}
        if name == "preflight":
            asked = headers["Access-Control-Request-Headers"]
            more = {
                "access-control-allow-methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
                "access-control-allow-headers": asked,
                "access-control-max-age": "600",
            }
            return 204, {**base, **more}, b""
        if name == "default endpoint":
            open_ = self.world.chosen["DefaultEndpoint"] == "Enabled"
            return (200 if open_ else 404), {}, b'{"message":"Not Found"}'
        if name == "popup" and self.door_moves:
            self.door_moves -= 1
            return 302, {"location": f"{url}/oauth/connect/x?keystow_moved=1"}, b""
        answers: dict[str, tuple[int, dict[str, str], bytes]] = {
            "health": (200, base, b"{}"),
            "ready": (200, base, b"{}"),
            "cors": (200, base, b"{}"),
            "no": (404, base, error("not_found")),
            "read": (401, base, error("missing_auth_header")),
            "odd method": (401, base, error("missing_auth_header")),
            "invalid key": (401, base, error("unknown_api_key")),
            "large": (413, {}, b""),
            "host": (403, {}, b'{"message":"Forbidden"}'),
            "forwarded": (204, own, b""),
            "own": (204, own, b""),
            "popup": (401, base, error("missing_connect_session_token")),
        }
        return answers[name]

    def first_frame(self, _deployed: Any, url: str) -> Any:
        assert url == self.world.outputs["WebSocketUrl"]
        if isinstance(self.frame, Exception):
            raise self.frame
        return self.frame
