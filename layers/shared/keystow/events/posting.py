"""One POST of an event to one receiver: signed, with the URL's login, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.events import destinations, schedule
from keystow.events.webhook_body import signed_headers
from keystow.vault import VaultError, VaultUnavailable

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.secret import Secret
    from keystow.store import Item

DEADLINE_SECONDS: Final = 20
_OK: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)
_SLOW_DOWN: Final = frozenset({429, 503})


@dataclass(frozen=True)
class Reply:
    """How an attempt went: its HTTP status, or the kind of failure, in words for the log.

    ``asked``: seconds that the receiver wants to be left alone. ``final``: trying again is no use.
    """

    text: str
    status: int | None = None
    asked: float | None = None
    final: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the receiver has taken it."""
        return self.status is not None and self.status in _OK


def post(ctx: Context, event: Item, url: str, keys: list[Secret[str]]) -> Reply:
    """Send an event once.

    Args:
        ctx: the way out, the vault and the time.
        event: its row.
        url: the stored URL of the receiver.
        keys: the environment's signing keys, the present one first.
    """
    if not keys:
        return Reply("The signing key does not open; nothing is sent unsigned")
    body = str(event["body"])
    headers = signed_headers(keys, str(event["pk"]), int(ctx.clock.now()), body)
    try:
        login = destinations.authorization(url, str(event["environment"]), ctx.vault)
    except VaultUnavailable:
        return Reply("The login of this URL cannot be opened just now")
    except VaultError:
        return Reply("The login of this URL does not open", final=True)
    if login is not None:
        headers["authorization"] = login.reveal()
    try:
        answer = ctx.egress.send(
            "POST",
            destinations.shown(url),
            headers=headers,
            body=body.encode(),
            deadline=DEADLINE_SECONDS,
            redirects=0,
        )
    except EgressRefused as refused:
        return Reply(f"This URL may not be called: {refused.reason}", final=True)
    except EgressFailed as failed:
        return Reply(f"No answer: {failed.kind}")
    asked = None
    if answer.status in _SLOW_DOWN:
        asked = schedule.retry_after(answer.headers.get("retry-after"), ctx.clock.now())
    text = f"Answered {answer.status}"
    if answer.status in _REDIRECT:
        text += "; redirects are not followed"
    return Reply(text, answer.status, asked)
