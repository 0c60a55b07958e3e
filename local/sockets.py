"""The browser's WebSocket: a WebSocket API of API Gateway, and its ``@connections``."""

from __future__ import annotations

import base64
import secrets
import time
import uuid
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from local.payload import Reply, message, socket_event

if TYPE_CHECKING:
    from local.invoker import Invoker

FUNCTION = "BrowserSocketFunction"
_OK = range(200, 300)


class Sockets:
    """Open WebSockets by connection id."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker
        self._open: dict[str, WebSocket] = {}

    async def serve(self, socket: WebSocket) -> None:
        """Serve one WebSocket from ``$connect`` to ``$disconnect``."""
        connection_id = base64.urlsafe_b64encode(secrets.token_bytes(11)).decode()
        connected_at = time.time()

        async def tell(route: str, **details: Any) -> bool:
            event = socket_event(
                route,
                connection_id,
                connected_at=connected_at,
                at=time.time(),
                request_id=str(uuid.uuid4()),
                source_ip=socket.client.host if socket.client else "",
                headers=dict(socket.headers),
                **details,
            )
            outcome = await self._invoker.invoke(FUNCTION, event)
            result = outcome.result if isinstance(outcome.result, dict) else {}
            return not outcome.failed and int(result.get("statusCode", 200)) in _OK

        if not await tell("$connect"):
            await socket.close()
            return
        # As on AWS, nothing can be sent to a connection before $connect has been answered.
        await socket.accept()
        self._open[connection_id] = socket
        closed = (1006, "")
        try:
            while True:
                await tell("$default", body=await socket.receive_text())
        except WebSocketDisconnect as end:
            closed = (end.code, end.reason or "")
        finally:
            self._open.pop(connection_id, None)
            await tell("$disconnect", closed=closed)

    async def post(self, connection_id: str, content: bytes) -> Reply:
        """Send a message to a connection (PostToConnection)."""
        socket = self._open.get(connection_id)
        if socket is None or socket.client_state is not WebSocketState.CONNECTED:
            return _gone()
        try:
            await socket.send_text(content.decode())
        except (RuntimeError, OSError, WebSocketDisconnect):
            return _gone()
        return Reply(200)

    async def delete(self, connection_id: str) -> Reply:
        """Close a connection (DeleteConnection)."""
        socket = self._open.pop(connection_id, None)
        if socket is None:
            return _gone()
        await socket.close(1000)
        return Reply(204)


def _gone() -> Reply:
    gone = message(410, "Gone")
    gone.headers.append(("x-amzn-errortype", "GoneException"))
    return gone
