"""Why an authorization in a popup ended without a connection (contract 2.2)."""

from __future__ import annotations


class AuthorizationFailed(Exception):  # noqa: N818 - an outcome, not a fault
    """Told three ways at once: to the browser's WebSocket, on the page, in the log.

    Args:
        error_type: what clients know it by.
        description: a sentence for a human; holds no secret.
        event: error type of the webhook that is due, None when none is.
        provider_said: what the provider gave as its reason, in plain text.
        spent: whether the attempt is over with it; False: it stays as it was.
    """

    def __init__(
        self,
        error_type: str,
        description: str,
        *,
        event: str | None = None,
        provider_said: dict[str, str] | None = None,
        spent: bool = True,
    ) -> None:
        super().__init__(f"{error_type}: {description}")
        self.error_type = error_type
        self.description = description
        self.event = event
        self.provider_said = provider_said or {}
        self.spent = spent
