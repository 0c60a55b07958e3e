"""The browser's WebSocket: its public id, its first frame and the result of an authorization.

The browser protocol (contract 2.1, 2.2): the server speaks first, with an id that the popup carries
through the authorization; exactly one result follows on the same socket.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from keystow.aws.client import path_part
from keystow.aws.errors import AwsRefused, AwsUnanswered
from keystow.store import Put
from keystow.store.tables import browser_socket

if TYPE_CHECKING:
    from keystow.aws.client import Client
    from keystow.clock import Clock
    from keystow.store import Store

LIFE_SECONDS = 2 * 3600
_GONE = 410


class Sockets(Protocol):
    """Where frames go."""

    def push(self, connection: str, frame: dict[str, Any]) -> bool:
        """Send a frame to a socket; return False when it is not (or not yet) there."""
        ...

    def push_to_client(self, client_id: str, frame: dict[str, Any]) -> bool:
        """Send a frame to the socket of a public id; return False when there is none."""
        ...


class ApiGatewaySockets:
    """Sockets held by API Gateway.

    Args:
        client: of ``execute-api``, at the endpoint of the WebSocket API's stage.
        store: maps public ids to API Gateway's own.
    """

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store

    def push(self, connection: str, frame: dict[str, Any]) -> bool:
        """Send a frame to a socket; return False when it is not (or not yet) there."""
        data = json.dumps(frame, separators=(",", ":")).encode()
        path = f"/@connections/{path_part(connection)}"
        try:
            self._client.post("PostToConnection", path, data)
        except AwsRefused as error:
            if error.status == _GONE:
                return False
            raise
        except AwsUnanswered:
            return False
        return True

    def push_to_client(self, client_id: str, frame: dict[str, Any]) -> bool:
        """Send a frame to the socket of a public id; return False when there is none."""
        item = self._store.get(browser_socket(client_id))
        return item is not None and self.push(item["connection"], frame)


def remember(store: Store, clock: Clock, client_id: str, connection: str) -> None:
    """Store which socket a public id means."""
    key = browser_socket(client_id)
    store.put(Put(key, {"connection": connection, "ttl": int(clock.now()) + LIFE_SECONDS}))


def acknowledgement(client_id: str) -> dict[str, Any]:
    """Return the first frame."""
    return {"message_type": "connection_ack", "ws_client_id": client_id}


def success(provider_config_key: str, connection_id: str, *, pending: bool = False) -> Any:
    """Return the frame of a made connection."""
    return {
        "message_type": "success",
        "provider_config_key": provider_config_key,
        "connection_id": connection_id,
        "is_pending": pending,
    }


def failure(
    error_type: str,
    description: str,
    provider_config_key: str | None = None,
    connection_id: str | None = None,
) -> dict[str, Any]:
    """Return the frame of a failed authorization."""
    frame: dict[str, Any] = {
        "message_type": "error",
        "error_type": error_type,
        "error_desc": description,
    }
    if provider_config_key is not None:
        frame["provider_config_key"] = provider_config_key
    if connection_id is not None:
        frame["connection_id"] = connection_id
    return frame


def invoke_later(function: str, event: dict[str, Any]) -> None:
    """Invoke a function without waiting for it."""
    from keystow.aws.clients import client

    client("lambda").post(
        "Invoke",
        f"/2015-03-31/functions/{path_part(function)}/invocations",
        json.dumps(event).encode(),
        {"x-amz-invocation-type": "Event"},
    )


def get_ready_to_invoke() -> None:
    """Load what :func:`invoke_later` would load."""
    from keystow.aws.clients import client

    client("lambda")
