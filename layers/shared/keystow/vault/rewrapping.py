"""Wraps data keys anew: with another KMS key, or with the present one's newest material.

    read wrapped ─▶ KMS ReEncrypt ─▶ replace, if it still stands there
                    (never plain)     (else it was destroyed, or another run was first)

What the data keys sealed is not touched, and stays readable before, during and after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.store import ConditionFailed, Equals, Update, tables
from keystow.store.store import pages
from keystow.value import Value
from keystow.vault.kms import KmsError, Wrapped
from keystow.vault.vault import VaultUnavailable, encryption_context

if TYPE_CHECKING:
    from keystow.clock import Clock
    from keystow.store import Store
    from keystow.vault.kms import KeyWrapper

# What KMS says of this one data key and the key that wrapped it; asking again changes nothing.
_OF_THIS_ONE: Final = frozenset(
    {
        "AccessDeniedException",
        "DisabledException",
        "IncorrectKeyException",
        "InvalidCiphertextException",
        "KMSInvalidStateException",
        "NotFoundException",
    }
)


class Result(Value):
    """How far a run came.

    ``rewrapped`` by it; ``refused``: (data key, KMS's code) of those that KMS did not take;
    ``last``: the last one looked at; ``done``: it was the last of all.
    """

    rewrapped: int
    refused: tuple[tuple[str, str], ...]
    last: str
    done: bool


def rewrap_environment(
    store: Store,
    wrapper: KeyWrapper,
    clock: Clock,
    environment: str,
    since: int,
    until: float,
    after: str = "",
) -> Result:
    """Wrap an environment's data keys anew.

    Args:
        store: holds them.
        wrapper: KMS, with the key that shall wrap them.
        clock: time.
        environment: whose.
        since: begin of the whole undertaking, in milliseconds since the epoch: what the present
            key wrapped after it is passed over.
        until: epoch seconds after which no further one is begun.
        after: the last data key that an earlier run has looked at.

    Raises:
        VaultUnavailable: KMS did not answer.
        StoreUnavailable: as the store.
    """
    rewrapped = 0
    refused: list[tuple[str, str]] = []
    for item in pages(store, tables.REGISTRY, tables.data_keys(environment)):
        name = item["sk"]
        if "wrapped" not in item or name <= after:
            continue  # destroyed, or looked at
        made: int = item.get("wrapped_at") or item["created_at"]
        if item["key"] == wrapper.key_id and made >= since:
            continue
        if clock.now() >= until:
            return Result(rewrapped, tuple(refused), after, done=False)
        after = name
        context = encryption_context(environment, name.rpartition("-")[0])
        try:
            fresh = wrapper.rewrap(Wrapped(bytes(item["wrapped"]), item["key"]), context)
        except KmsError as error:
            if error.code not in _OF_THIS_ONE:
                raise VaultUnavailable(error.code) from error
            refused.append((name, error.code))
            continue
        update = Update(
            tables.data_key(environment, name),
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
    return Result(rewrapped, tuple(refused), after, done=True)
