"""The refresh queue and the webhook queue.

Both are standard queues with message groups (SQS "fair queues"): of a group that has many messages
under way SQS hands out fewer than of the others, so that who fills a queue waits for himself.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from keystow.aws.errors import AwsError

if TYPE_CHECKING:
    from keystow.aws.client import Client

MAX_DELAY_SECONDS = 900
# What SQS takes as the name of a message group.
_GROUP: Final = re.compile(r"[!-~]{1,128}")


class QueueUnavailable(Exception):  # noqa: N818 - an outcome, not a fault
    """SQS did not take the message; the sweep finds what it was about."""


def group_of(environment: str, host: str) -> str:
    """Return the message group of what goes to a host for an environment."""
    name = f"{environment}/{host}"
    return name if _GROUP.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()


class Queues(Protocol):
    """Where work is handed over; ``group`` is who waits behind whom (:func:`group_of`)."""

    def send_refresh(self, body: dict[str, Any], delay: float = 0, group: str = "") -> None:
        """Queue connections for refreshing. Raises QueueUnavailable."""
        ...

    def send_webhook(self, body: dict[str, Any], delay: float = 0, group: str = "") -> None:
        """Queue a delivery. Raises QueueUnavailable."""
        ...

    def send_dead_webhook(self, body: dict[str, Any]) -> None:
        """Lay a delivery that was given up where people look. Raises QueueUnavailable."""
        ...


class SqsQueues:
    """The queues of a deployment.

    Args:
        client: of SQS.
        refresh_url, webhook_url, dead_webhook_url: their URLs; empty: there is none.
    """

    def __init__(
        self, client: Client, refresh_url: str, webhook_url: str, dead_webhook_url: str = ""
    ) -> None:
        self._client = client
        self._refresh_url = refresh_url
        self._webhook_url = webhook_url
        self._dead_webhook_url = dead_webhook_url

    def send_refresh(self, body: dict[str, Any], delay: float = 0, group: str = "") -> None:
        """Queue connections for refreshing; ``delay`` in seconds, at most 15 minutes."""
        self._send(self._refresh_url, body, delay, group)

    def send_webhook(self, body: dict[str, Any], delay: float = 0, group: str = "") -> None:
        """Queue a delivery; ``delay`` in seconds, at most 15 minutes."""
        self._send(self._webhook_url, body, delay, group)

    def send_dead_webhook(self, body: dict[str, Any]) -> None:
        """Put a delivery that was given up into the dead-letter queue, where there is one.

        A redrive to the webhook queue delivers it anew.
        """
        if self._dead_webhook_url:
            self._send(self._dead_webhook_url, body, 0)

    def _send(self, url: str, body: dict[str, Any], delay: float, group: str = "") -> None:
        request = {
            "QueueUrl": url,
            "MessageBody": json.dumps(body, separators=(",", ":")),
            "DelaySeconds": max(0, min(MAX_DELAY_SECONDS, int(delay))),
        }
        if group:
            request["MessageGroupId"] = group
        try:
            self._client.call("SendMessage", request)
        except AwsError as error:
            raise QueueUnavailable(error.code) from error
