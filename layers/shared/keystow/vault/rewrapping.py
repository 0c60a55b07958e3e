"""Wraps data keys anew: with another KMS key, or with the present one's newest material.

    read wrapped ─▶ KMS ReEncrypt ─▶ replace, if it still stands there
                    (never plain)     (else it was destroyed, or another run was first)

What the data keys sealed is not touched, and stays readable before, during and after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.store import ConditionFailed, Equals, Key, Update, tables
from keystow.store.store import pages
from keystow.value import Value
from keystow.vault.kms import KmsError, Wrapped
from keystow.vault.vault import VaultUnavailable, encryption_context

if TYPE_CHECKING:
    from keystow.clock import Clock
    from keystow.store import Store
    from keystow.vault.kms import KeyWrapper

_PREFIX = "datakey#"


class Result(Value):
    """How far a run came.

    ``rewrapped`` by it; ``refused``: data keys that KMS does not take as what they should be;
    ``done``: none is left to look at.
    """

    rewrapped: int
    refused: tuple[str, ...]
    done: bool


def rewrap_environment(
    store: Store, wrapper: KeyWrapper, clock: Clock, environment: str, since: int, until: float
) -> Result:
    """Wrap an environment's data keys anew.

    Args:
        store: holds them.
        wrapper: KMS, with the key that shall wrap them.
        clock: time.
        environment: whose.
        since: begin of the whole undertaking, in milliseconds since the epoch: what the present
            key wrapped after it is passed over, so that the next run goes on where this stopped.
        until: epoch seconds after which no further one is begun.

    Raises:
        VaultUnavailable: KMS did not answer, or this role may not use one of the keys.
        StoreUnavailable: as the store.
    """
    rewrapped = 0
    refused: list[str] = []
    for item in pages(store, tables.REGISTRY, environment, prefix=_PREFIX):
        if "wrapped" not in item:
            continue  # destroyed
        made: int = item.get("wrapped_at") or item["created_at"]
        if item["key"] == wrapper.key_id and made >= since:
            continue
        if clock.now() >= until:
            return Result(rewrapped, tuple(refused), done=False)
        name = item["sk"].removeprefix(_PREFIX)
        context = encryption_context(environment, name.rpartition("-")[0])
        try:
            fresh = wrapper.rewrap(Wrapped(bytes(item["wrapped"]), item["key"]), context)
        except KmsError as error:
            if not error.altered:
                raise VaultUnavailable(error.code) from error
            refused.append(name)
            continue
        update = Update(
            Key(tables.REGISTRY, environment, item["sk"]),
            set={
                "wrapped": fresh.blob,
                "key": fresh.key,
                "wrapped_at": int(clock.now() * 1000),
            },
            condition=Equals("wrapped", item["wrapped"]),
        )
        try:
            store.update(update)
        except ConditionFailed:
            continue
        rewrapped += 1
    return Result(rewrapped, tuple(refused), done=True)
