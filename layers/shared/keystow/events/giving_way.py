"""An attempt whose receiver is slow waits some minutes, so that others have their turn first.

It does not count as an attempt: the receiver was not asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.events import outbox
from keystow.store import All, ConditionFailed, Equals, Update, tables

if TYPE_CHECKING:
    from keystow.context import Context

AT_ONCE: Final = 2  # requests at one receiver that is known to be slow, in one container
WAIT_SECONDS: Final = 60
SPREAD_SECONDS: Final = 180


def put_off(ctx: Context, event_id: str, endpoint: int, attempt: int, group: str) -> bool:
    """Let an attempt come again later; False when it is over, or somebody else's.

    Raises:
        StoreUnavailable: nothing has changed.
    """
    delay = WAIT_SECONDS + SPREAD_SECONDS * int.from_bytes(ctx.random.bytes(2)) // 0xFFFF
    now = ctx.clock.now()
    later = {
        "due_at": int((now + delay + outbox.GRACE_SECONDS) * 1000),
        "next_at": int((now + delay) * 1000),
    }
    waiting = All((Equals("state", "pending"), Equals("attempt", attempt - 1)))
    try:
        ctx.store.update(Update(tables.delivery(event_id, endpoint), set=later, condition=waiting))
    except ConditionFailed:
        return False
    outbox.enqueue(ctx, event_id, endpoint, attempt, group, delay)
    return True
