"""The activity log: one operation for each attempt, refresh or delivery, with its messages.

    pk environment#operation
       0001767225600123#5f0c…   messages of one call to note() or finish()
       0001767225601456#91aa…   messages of the next
       operation                the header: what it was, of whom, and how it ended

Writing never raises what the tables raise: a flow must not break because its log is away.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from keystow import ids
from keystow.activity.masking import clean_details, clean_text
from keystow.log import logger
from keystow.store import (
    All,
    Any_,
    AtMost,
    ConditionFailed,
    Equals,
    Exists,
    ItemTooLarge,
    Missing,
    Put,
    StoreUnavailable,
    TransactionConflict,
    Update,
    gates,
    tables,
)
from keystow.store.operations import THERE
from keystow.store.store import pages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from keystow.context import Context
    from keystow.store import Item, Operation

Level = Literal["debug", "info", "warn", "error"]
State = Literal["success", "failed", "running", "timeout"]

HEADER: Final = "operation"
LIFE_SECONDS: Final = 30 * 86_400
MOST_READ: Final = 1_000
MOST_OF_BROWSER: Final = 200
_MOST_MESSAGES: Final = 50

# Contract 13, and our own of an environment; a test refuses others.
OPERATIONS: Final = frozenset(
    {
        ("auth", "create_connection"),
        ("auth", "refresh_token"),
        ("auth", "connection_test"),
        ("auth", "post_connection"),
        ("events", "pre_connection_deletion"),
        ("environment", "create_api_key"),
        ("environment", "change_api_key"),
        ("environment", "delete_api_key"),
        ("environment", "rotate_webhook_signing_key"),
        ("environment", "change_public_keys"),
        ("webhook", "connection_create"),
        ("webhook", "connection_refresh"),
        ("webhook", "connection_delete"),
    }
)


@dataclass(frozen=True)
class Message:
    """One line of an operation's log.

    ``details`` are scalars, masked where they look secret; ``ago`` is how long before it is written
    it happened, in seconds.
    """

    level: Level
    text: str
    details: dict[str, Any] | None = None
    ago: float = 0


class Identity(TypedDict, total=False):
    """Whom an operation is about; what is None is left as it was."""

    connection_id: str | None
    integration_key: str | None
    provider: str | None
    end_user: str | None


def begin(
    ctx: Context,
    environment: str,
    kind: str,
    action: str,
    *,
    operation: str | None = None,
    **identity: Unpack[Identity],
) -> str:
    """Open an operation and return its id.

    Args:
        ctx: clock, randomness and store.
        environment: immutable id of the environment.
        kind: with ``action``, one of :data:`OPERATIONS`.
        action: see ``kind``.
        operation: the id, where it was drawn earlier (a connect session draws it); opening the
            same one twice changes nothing but its state.
        identity: whom it is about, as far as known.
    """
    operation = operation or ids.operation_id(ctx.clock.now(), ctx.random)
    begun = {"kind": kind, "action": action, "state": "running"}
    header = _header(ctx, environment, operation, {**begun, **_known(identity)})
    _write(ctx, environment, operation, header)
    return operation


def note(ctx: Context, environment: str, operation: str, *messages: Message) -> None:
    """Add messages to an operation: one write."""
    if messages:
        _write(ctx, environment, operation, _note(ctx, environment, operation, *messages))


def note_of_browser(
    ctx: Context, environment: str, operation: str, messages: Sequence[Message]
) -> bool:
    """Add what a browser tells of itself; return whether there was room for it.

    Only :data:`MOST_OF_BROWSER` messages are taken: else it could cost without end, and fill an
    operation until nobody reads what happened after that.
    """
    counter, number = "of_browser", len(messages)
    room = Any_((Missing(counter), AtMost(counter, MOST_OF_BROWSER - number)))
    header = tables.activity(environment, operation, HEADER)
    counted = Update(header, add={counter: number}, condition=All((THERE, room)))
    added = _note(ctx, environment, operation, *messages)
    try:
        gates.transact(ctx.store, [counted, added], environment=environment, spread=operation)
    except ConditionFailed as failure:
        return not any(failure.found)  # without a header, its beginning was not written
    except gates.EnvironmentClosed:
        return True  # nobody may ask what happened in it any more
    except (ItemTooLarge, StoreUnavailable, TransactionConflict) as error:
        _warn(operation, error)
    return True


def finish(
    ctx: Context,
    environment: str,
    operation: str,
    state: State,
    *messages: Message,
    **identity: Unpack[Identity],
) -> None:
    """Add messages and set how the operation stands: one write; ``running`` leaves it open."""
    changes: Item = {"state": state, **_known(identity)}
    if state != "running":
        changes["ended_at"] = int(ctx.clock.now() * 1000)
    header = _header(ctx, environment, operation, changes)
    notes = [_note(ctx, environment, operation, *messages)] if messages else []
    _write(ctx, environment, operation, *notes, header)


def record(
    ctx: Context,
    environment: str,
    kind: str,
    action: str,
    state: State,
    *messages: Message,
    operation: str | None = None,
    **identity: Unpack[Identity],
) -> str:
    """Write a short operation, such as a refresh, with its messages at once; return its id.

    It costs one write; the messages stand on the header.
    """
    now = ctx.clock.now()
    operation = operation or ids.operation_id(now, ctx.random)
    changes: Item = {"kind": kind, "action": action, "state": state, **_known(identity)}
    if messages:
        changes["messages"] = _written(messages, now)
    if state != "running":
        changes["ended_at"] = int(now * 1000)
    _write(ctx, environment, operation, _header(ctx, environment, operation, changes))
    return operation


def forget_end_user(
    ctx: Context, environment: str, operation: str, end_user: str | None = None
) -> bool:
    """Take out of an operation whom it was about; return whether it said so.

    Args:
        ctx: the store.
        environment: whose.
        operation: which.
        end_user: only when it was about this one; None: whoever it was.

    Raises:
        StoreUnavailable: it may still say so.
    """
    key = tables.activity(environment, operation, HEADER)
    named = Exists("end_user") if end_user is None else Equals("end_user", clean_text(end_user))
    try:
        ctx.store.update(Update(key, remove=("end_user",), condition=named))
    except ConditionFailed:  # it says nobody, or has expired
        return False
    return True


def read(ctx: Context, environment: str, operation: str) -> tuple[Item, list[Item]] | None:
    """Return an operation's header and its messages in order, or None.

    Of more than 1,000 entries the first ones are read, and a last message says so.

    Raises:
        StoreUnavailable: reading, unlike writing, says so.
    """
    key = tables.activity(environment, operation, HEADER)
    header = ctx.store.get(key)
    if header is None:
        return None
    messages: list[Item] = list(header.get("messages", ()))
    # Moments are digits with leading zeros. A browser adds entries too, so they are bounded.
    entries = pages(ctx.store, tables.ACTIVITY, key.pk, prefix="0")
    for entry in islice(entries, MOST_READ):
        messages.extend(entry["messages"])
    if next(entries, None) is not None:
        more = {"level": "warn", "text": "There is more; this is the beginning"}
        messages.append({**more, "at": messages[-1]["at"]})
    return header, sorted(messages, key=lambda message: int(message["at"]))


def _header(ctx: Context, environment: str, operation: str, changes: Item) -> Update:
    now = ctx.clock.now()
    # Index attributes follow from the id, so that writing them again changes nothing, and a
    # finish() whose begin() was lost still makes an operation that can be listed.
    always = {
        "environment": environment,
        "created": operation,
        "updated_at": int(now * 1000),
        "ttl": int(now) + LIFE_SECONDS,
    }
    key = tables.activity(environment, operation, HEADER)
    return Update(key, set={**always, **changes})


def _note(ctx: Context, environment: str, operation: str, *messages: Message) -> Put:
    now = ctx.clock.now()
    moment = f"{int(now * 1000):016d}#{ctx.random.bytes(6).hex()}"
    key = tables.activity(environment, operation, moment)
    return Put(key, {"messages": _written(messages, now), "ttl": int(now) + LIFE_SECONDS})


def _known(identity: Identity) -> dict[str, str]:
    return {name: clean_text(str(value)) for name, value in identity.items() if value is not None}


def _written(messages: Sequence[Message], now: float) -> list[Item]:
    written: list[Item] = []
    for message in messages[:_MOST_MESSAGES]:
        entry: Item = {
            "level": message.level,
            "text": clean_text(message.text),
            "at": int((now - message.ago) * 1000),
        }
        details = clean_details(message.details)
        if details:
            entry["details"] = details
        written.append(entry)
    return written


def _write(ctx: Context, environment: str, operation: str, *writes: Operation) -> None:
    try:
        gates.transact(ctx.store, writes, environment=environment, spread=operation)
    except gates.EnvironmentClosed:
        return  # nobody may ask what happened in it any more
    except ItemTooLarge as error:
        _warn(operation, error)
        if len(writes) > 1:  # how it stands is told without the messages
            _write(ctx, environment, operation, writes[-1])
    except (ConditionFailed, StoreUnavailable, TransactionConflict) as error:
        _warn(operation, error)


def _warn(operation: str, error: Exception) -> None:
    cause = type(error).__name__
    logger.warning("activity was not written", extra={"operation": operation, "cause": cause})
