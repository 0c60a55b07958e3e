"""Why an authorization in a popup ended without a connection (contract 2.2)."""

from __future__ import annotations


class AuthorizationFailed(Exception):  # noqa: N818 - an outcome, not a fault
    """Told three ways at once: to the browser's WebSocket, on the page, in the log.

    Args:
        error_type: what clients know it by.
        description: a sentence for a human; holds no secret.
        event: error type of the webhook that is due, None when none is.
    """

    def __init__(self, error_type: str, description: str, *, event: str | None = None) -> None:
        super().__init__(f"{error_type}: {description}")
        self.error_type = error_type
        self.description = description
        self.event = event
