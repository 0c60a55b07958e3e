"""The vault: seals and opens, finds and caches data keys.

One data key for each (environment, purpose, month), shared by all workers: made by KMS
``GenerateDataKey``, stored wrapped in the Registry table. An envelope names its data key, so that
re-wrapping touches a few rows and no ciphertext, and destroying the data keys of an environment
destroys what they sealed.

A month, since whoever reads what was sealed over a year unwraps twelve data keys then, and 365 of
days; and no month brings an environment near the 2^32 random nonces that one key may have (NIST SP
800-38D, 8.3): a million connections renewed hourly seal 0.7 × 10^9 times.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import OrderedDict
from concurrent.futures import Future
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystow.store import ConditionFailed, Put, StoreUnavailable, TransactionConflict, gates
from keystow.store.operations import NEW
from keystow.store.tables import data_key
from keystow.value import Value
from keystow.vault.kms import KmsError, Wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from keystow.clock import Clock
    from keystow.ids import Randomness
    from keystow.store import Item, Key, Store
    from keystow.vault.kms import KeyWrapper

NONCE_BYTES = 12
CACHE_SECONDS = 300
# How long a warmed key stays at hand: longer than an exchange and its commit.
WARM_SECONDS = 90
CACHE_KEYS = 512
_FORMAT = 1


class Purpose(StrEnum):
    """What a data key seals; a role is given only the purposes that its function needs."""

    CREDENTIAL = "credential"
    INTEGRATION = "integration"
    SESSION = "session"
    SIGNING = "signing"
    WEBHOOK = "webhook"
    INPUT = "input"
    VARIABLE = "variable"
    HMAC = "hmac"


class VaultError(Exception):
    """The envelope does not open: altered, moved to another row, or its data key is destroyed."""


class VaultUnavailable(Exception):  # noqa: N818 - an outcome, not a fault
    """KMS or the table of data keys did not answer; asking again later may help."""


class Envelope(Value):
    """A sealed value: which data key, the nonce, and the ciphertext with its tag."""

    data_key: str
    nonce: bytes
    ciphertext: bytes

    def as_item(self) -> dict[str, Any]:
        """Return the envelope as an attribute of an item."""
        return {"f": _FORMAT, "k": self.data_key, "n": self.nonce, "c": self.ciphertext}

    @classmethod
    def from_item(cls, found: Any) -> Envelope:
        """Return the envelope of an attribute. Raises VaultError when it is none."""
        if not isinstance(found, dict) or found.get("f") != _FORMAT:
            raise VaultError("not an envelope")
        return cls(found["k"], bytes(found["n"]), bytes(found["c"]))


class Vault:
    """Seals and opens values of one deployment.

    Args:
        store: holds the wrapped data keys.
        wrapper: KMS.
        clock: time.
        random: nonces.
    """

    def __init__(self, store: Store, wrapper: KeyWrapper, clock: Clock, random: Randomness) -> None:
        self._store = store
        self._wrapper = wrapper
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, str], tuple[bytes, float]] = OrderedDict()
        self._loading: dict[tuple[str, str, bool], Future[bytes]] = {}
        self._rows: dict[tuple[str, str], Item] = {}  # of data keys, read with other rows

    @contextlib.contextmanager
    def fetching_ahead(self, purpose: Purpose, environment: str) -> Iterator[None]:
        """Get the data key that an envelope most likely needs, beside the work within.

        An :meth:`open` within waits for it instead of asking as well, and meets its fault; one
        that comes after a fault asks anew.
        """
        key_id = self._current_key(purpose)
        if self._cached((environment, key_id)) is not None:
            yield
            return

        def fetch() -> None:
            self._key(environment, purpose, key_id, create=False)

        with _beside([fetch]):
            yield

    def missing(self, environment: str, *purposes: Purpose) -> list[Key]:
        """Return where the month's data keys are stored that are not at hand."""
        names = map(self._current_key, purposes)
        return [
            data_key(environment, name)
            for name in names
            if self._cached((environment, name)) is None
        ]

    @contextlib.contextmanager
    def unwrapping_ahead(self, environment: str, rows: Mapping[Key, Item | None]) -> Iterator[None]:
        """Unwrap data keys, one after another, beside the work within; as :meth:`fetching_ahead`.

        Args:
            environment: whose they are.
            rows: what was found at :meth:`missing`, read with other rows.
        """
        known = {(environment, key.sk): row for key, row in rows.items() if row is not None}
        with self._lock:
            self._rows.update(known)

        def unwrap(key_id: str) -> None:
            purpose = Purpose(key_id.rpartition("-")[0])
            self._key(environment, purpose, key_id, create=False)

        try:
            with _beside([partial(unwrap, key_id) for _environment, key_id in known]):
                yield
        finally:
            with self._lock:
                for name in known:
                    self._rows.pop(name, None)

    def warm(self, purpose: Purpose, environment: str) -> None:
        """Have the month's data key at hand, so that a later :meth:`seal` needs no KMS.

        Raises:
            VaultUnavailable: no data key could be had now.
        """
        key_id = self._sealing_key(environment, purpose)
        if self._cached((environment, key_id), WARM_SECONDS) is None:
            current = self._current_key(purpose)
            self._key(environment, purpose, current, create=True, for_seconds=WARM_SECONDS)

    def seal(
        self, purpose: Purpose, environment: str, binding: tuple[str, ...], plaintext: bytes
    ) -> Envelope:
        """Return the sealed form of a value.

        Args:
            purpose: what kind of value it is.
            environment: whose it is.
            binding: where it will be stored; it opens only with the same binding.
            plaintext: the value.

        Raises:
            VaultUnavailable: no data key could be had now.
            VaultError: the environment is being deleted, or was.
        """
        key_id = self._sealing_key(environment, purpose)
        key = self._key(environment, purpose, key_id, create=True)
        nonce = self._random.bytes(NONCE_BYTES)
        data = _additional_data(purpose, environment, key_id, binding)
        return Envelope(key_id, nonce, AESGCM(key).encrypt(nonce, plaintext, data))

    def open(
        self, purpose: Purpose, environment: str, binding: tuple[str, ...], envelope: Envelope
    ) -> bytes:
        """Return the value of an envelope.

        Raises:
            VaultError: it is not the envelope of this binding, or its data key is gone.
            VaultUnavailable: the data key could not be had now.
        """
        if not envelope.data_key.startswith(f"{purpose}-"):
            raise VaultError("the envelope was sealed for another purpose")
        key = self._key(environment, purpose, envelope.data_key, create=False)
        data = _additional_data(purpose, environment, envelope.data_key, binding)
        try:
            return AESGCM(key).decrypt(envelope.nonce, envelope.ciphertext, data)
        except InvalidTag as error:
            raise VaultError("the envelope does not open here") from error

    def is_current(self, purpose: Purpose, environment: str, envelope: Envelope) -> bool:
        """Return whether sealing the same now would take the same data key."""
        return envelope.data_key == self._sealing_key(environment, purpose)

    def _sealing_key(self, environment: str, purpose: Purpose) -> str:
        """Return the data key to seal with.

        The month's; but in the first minutes of a month the last one's while that alone is at hand,
        so that what was warmed before an exchange serves after it.
        """
        current = self._current_key(purpose)
        before = self._current_key(purpose, seconds_ago=CACHE_SECONDS)
        if self._cached((environment, current)) or not self._cached((environment, before)):
            return current
        return before

    def _current_key(self, purpose: Purpose, *, seconds_ago: float = 0) -> str:
        month = datetime.fromtimestamp(self._clock.now() - seconds_ago, UTC).strftime("%Y%m")
        return f"{purpose}-{month}"

    def _key(
        self,
        environment: str,
        purpose: Purpose,
        key_id: str,
        *,
        create: bool,
        for_seconds: float = 0,
    ) -> bytes:
        cached = self._cached((environment, key_id), for_seconds)
        if cached is not None:
            return cached
        # Of many threads that need the same one, one gets it, and what it meets is all theirs.
        name = (environment, key_id, create)
        with self._lock:
            others = self._loading.get(name)
            # One that is only looked for is the same, if it is there.
            found = self._loading.get((environment, key_id, False)) if create else None
            if others is None:
                mine = self._loading[name] = Future()
        if others is not None:
            return others.result()
        try:
            # Somebody else may have had it between the two looks.
            plain = self._cached((environment, key_id), for_seconds) or self._looked_for(found)
            if plain is None:
                plain = self._loaded(environment, purpose, key_id, create=create)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(plain)
            return plain
        finally:
            with self._lock:
                del self._loading[name]

    @staticmethod
    def _looked_for(found: Future[bytes] | None) -> bytes | None:
        """Return what another thread gets; None: it gets nothing."""
        if found is not None:
            with contextlib.suppress(Exception):
                return found.result()
        return None

    def _loaded(self, environment: str, purpose: Purpose, key_id: str, *, create: bool) -> bytes:
        context = encryption_context(environment, purpose)
        try:
            plain = self._load_or_make(environment, key_id, context, create=create)
        except KmsError as error:
            if error.altered:
                raise VaultError(f"KMS refused: {error.code}") from error
            raise VaultUnavailable(error.code) from error
        except StoreUnavailable as error:
            raise VaultUnavailable(str(error)) from error
        with self._lock:
            self._cache[(environment, key_id)] = (plain, self._clock.now() + CACHE_SECONDS)
            while len(self._cache) > CACHE_KEYS:
                self._cache.popitem(last=False)
        return plain

    def _cached(self, name: tuple[str, str], for_seconds: float = 0) -> bytes | None:
        with self._lock:
            found = self._cache.get(name)
            if found is None:
                return None
            if found[1] <= self._clock.now():
                del self._cache[name]
                return None
            if found[1] <= self._clock.now() + for_seconds:
                return None
            return found[0]

    def _load_or_make(
        self, environment: str, key_id: str, context: dict[str, str], *, create: bool
    ) -> bytes:
        place = data_key(environment, key_id)
        with self._lock:
            item = self._rows.get((environment, key_id))
        item = item or self._store.get(place)
        if item is not None:
            return self._unwrap(item, context)
        if not create:
            raise VaultError("the data key of this envelope does not exist")
        plain, wrapped = self._wrapper.generate(context)
        made: Item = {
            "wrapped": wrapped.blob,
            "key": wrapped.key,
            "created_at": int(self._clock.now() * 1000),
        }
        try:
            # Whoever destroys the data keys of an environment shuts it before, and so finds all.
            gates.transact(
                self._store, [Put(place, made, NEW)], environment=environment, spread=key_id
            )
        except gates.EnvironmentClosed as error:
            raise VaultError("the environment is being deleted") from error
        except TransactionConflict as error:
            raise VaultUnavailable("data key in flux") from error
        except ConditionFailed as error:
            # Another worker was first: everybody uses the stored one.
            winner = error.found[0] or self._store.get(place)
            if winner is None:
                raise VaultUnavailable("data key in flux") from error
            return self._unwrap(winner, context)
        return plain

    def _unwrap(self, item: Item, context: dict[str, str]) -> bytes:
        if not item.get("wrapped"):
            raise VaultError("the data key was destroyed")
        return self._wrapper.unwrap(Wrapped(bytes(item["wrapped"]), item["key"]), context)


@contextlib.contextmanager
def _beside(work: Sequence[Callable[[], object]]) -> Iterator[None]:
    """Do some work in a thread beside that within; whoever needs what it gets meets its faults."""

    def do() -> None:
        for each in work:
            with contextlib.suppress(Exception):
                each()

    if not work:
        yield
        return
    beside = threading.Thread(target=do, daemon=True)
    beside.start()
    try:
        yield
    finally:
        beside.join()  # what is left behind would stand still between two invocations


def encryption_context(environment: str, purpose: str) -> dict[str, str]:
    """Return what KMS binds a data key to."""
    return {"keystow:environment": environment, "keystow:purpose": purpose}


def _additional_data(
    purpose: Purpose, environment: str, key_id: str, binding: tuple[str, ...]
) -> bytes:
    # JSON of a list keeps ("a", "bc") and ("ab", "c") apart.
    return json.dumps([_FORMAT, str(purpose), environment, key_id, *binding]).encode()
