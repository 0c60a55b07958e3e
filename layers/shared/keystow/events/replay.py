"""Begins a delivery anew: the same event and ``webhook-id``, ten attempts from now on.

The row says while an attempt is on its way (``sending_until``, from the claim to the settlement
or to the end of the claim). Nothing is begun meanwhile: who asks by the API then leaves a mark
(``replay_asked``), and unless that attempt is received its settlement begins the delivery anew,
or that of a later attempt when its worker died. The attempts of a delivery that is begun anew
count from 1 again; a message of an earlier count, still in the queue, at most brings one attempt
forward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.errors import ApiError
from keystow.events import deliveries, endpoints, outbox
from keystow.store import (
    Above,
    All,
    Any_,
    AtMost,
    ConditionFailed,
    Equals,
    Missing,
    Update,
    tables,
)

if TYPE_CHECKING:
    from typing import Any

    from keystow.context import Context
    from keystow.store.operations import Condition

SENDING: Final = "sending_until"
ASKED: Final = "replay_asked"
ANY_STATE: Final = ("pending", "delivered", "failed", "disabled")
_TRIES: Final = 5  # each other one needs an attempt that begins or ends between two writes


def nothing_on_its_way(now: float) -> Condition:
    """Return the condition that no attempt of a delivery is on its way."""
    return Any_((Missing(SENDING), AtMost(SENDING, int(now * 1000))))


def request(ctx: Context, environment: str, delivery_id: str) -> dict[str, Any]:
    """Begin a delivery anew for who asks by the API, and return it as lists show it then.

    Of an attempt that is on its way the outcome is awaited: it stands for the replay when it is
    received, and else the delivery begins anew after it.

    Args:
        ctx: store and queues.
        environment: id of the caller's environment.
        delivery_id: as lists name it.

    Raises:
        ApiError: 404 ``not_found``; 409 ``webhook_endpoint_off`` when its URL is turned off or
            removed; 503 ``temporarily_unavailable`` when attempts begin and end all the time.
        StoreUnavailable: try again.
    """
    delivery = deliveries.required(ctx, environment, delivery_id)
    now = endpoints.current(ctx, environment, fresh=True)
    url = now.url_now(delivery["role"], delivery["url"]) if now is not None else None
    if now is None or url is None:
        raise ApiError(
            "webhook_endpoint_off",
            f"The environment has no {delivery['role']} URL any more; "
            "PUT /environment/webhook-settings sets one",
        )
    if now.is_disabled(url):
        raise ApiError(
            "webhook_endpoint_off",
            "The endpoint answered 410 and is turned off; "
            "PUT /environment/webhook-settings, with the same values too, turns it on again",
        )
    event_id, endpoint = deliveries.parts(delivery_id)
    for _ in range(_TRIES):
        if again(ctx, event_id, endpoint) or _asked_meanwhile(ctx, event_id, endpoint):
            return deliveries.summary(ctx, environment, delivery_id)
        deliveries.detailed(ctx, environment, delivery_id)  # 404 when it has expired since
    raise ApiError(
        "temporarily_unavailable",
        "The delivery kept changing; try again",
        headers={"retry-after": "2"},
    )


def again(
    ctx: Context, event_id: str, endpoint: int, *, states: tuple[str, ...] = ANY_STATE
) -> bool:
    """Begin a delivery anew, with ten attempts and the same ``webhook-id``.

    Args:
        ctx: store and queues.
        event_id: id of the event.
        endpoint: which of its deliveries.
        states: how it may stand.

    Returns:
        Whether it was begun; not so when there is none, or while an attempt is on its way.

    Raises:
        StoreUnavailable: try again.
    """
    now = ctx.clock.now()
    may_begin = All(
        (Any_(tuple(Equals("state", state) for state in states)), nothing_on_its_way(now))
    )
    lasting = {"ttl": int(now) + outbox.LIFE_SECONDS}
    try:
        ctx.store.update(
            Update(tables.event(event_id), set=lasting, condition=Equals("type", "auth"))
        )
        row = ctx.store.update(
            Update(
                tables.delivery(event_id, endpoint),
                set={
                    **lasting,
                    "state": "pending",
                    "attempt": 0,
                    "replayed_at": int(now * 1000),
                    "due_shard": outbox.shard(event_id),
                    "due_at": int((now + outbox.GRACE_SECONDS) * 1000),
                },
                remove=("claim", "ended_at", "next_at", SENDING, ASKED),
                condition=may_begin,
            )
        )
    except ConditionFailed:
        return False
    group = outbox.receiver_group(row["environment"], row["url"])
    outbox.enqueue(ctx, event_id, endpoint, 1, group)
    return True


def _asked_meanwhile(ctx: Context, event_id: str, endpoint: int) -> bool:
    """Mark an attempt on its way, so that its failure begins anew; False when there is none."""
    now = int(ctx.clock.now() * 1000)
    try:
        ctx.store.update(
            Update(
                tables.delivery(event_id, endpoint),
                set={ASKED: True, "replayed_at": now},
                condition=All((Equals("state", "pending"), Above(SENDING, now))),
            )
        )
    except ConditionFailed:
        return False
    return True
