"""Parts that tests hand to the domain: a stopped clock, counted randomness, and recorders.

``make_context()`` gives a whole :class:`keystow.context.Context` on an in-memory store;
``seed_environment(ctx)`` puts an environment and an API key with every scope into it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from keystow import ids
from keystow.context import Context
from keystow.egress.client import Answer
from keystow.environments import keys, service
from keystow.queues import QueueUnavailable
from keystow.records.environment import Environment, WebhookSettings, seal_signing_key
from keystow.settings import Settings
from keystow.store import Put, tables
from keystow.store.memory import MemoryStore
from keystow.store.operations import NEW
from keystow.value import replace
from keystow.vault import Vault
from keystow.vault.kms import KmsError, Wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystow.records.environment import ApiKey
    from keystow.store import Store
    from keystow.vault.kms import KeyWrapper

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
SIGNING_KEY = "11111111-2222-4333-8444-555555555555"
OLD_KEY = "11111111-2222-4333-8444-666666666666"

TABLE_NAMES = {
    "connections": "test-connections",
    "registry": "test-registry",
    "keys": "test-keys",
    "sessions": "test-sessions",
    "events": "test-events",
    "activity": "test-activity",
}


class StoppedClock:
    """A clock that only moves when told to; sleeping moves it."""

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self._now += seconds

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds

    def set(self, now: float) -> None:
        with self._lock:
            self._now = now


class CountingRandom:
    """Deterministic bytes that never repeat: SHA-256 of a seed and a counter, stretched."""

    def __init__(self, seed: str = "keystow") -> None:
        self._seed = seed.encode()
        self._count = 0
        self._lock = threading.Lock()

    def bytes(self, count: int) -> bytes:
        with self._lock:
            self._count += 1
            number = self._count
        found = b""
        block = 0
        while len(found) < count:
            text = self._seed + b":%d:%d" % (number, block)
            found += hashlib.sha256(text).digest()
            block += 1
        return found[:count]


class FakeKms:
    """A key wrapper that binds the encryption context, counts its calls and can be broken.

    Attributes:
        key_id: which of its KMS keys wraps.
        disabled: KMS keys that open nothing any more.
        generated, unwrapped: how often it was asked.
        failure: raised by every call while set (``KmsError("ThrottlingException")``).
    """

    def __init__(self) -> None:
        self.key_id = "arn:aws:kms:us-east-1:1:key/first"
        self.disabled: set[str] = set()
        self.generated = 0
        self.unwrapped = 0
        self.failure: KmsError | None = None
        self._keys: dict[Wrapped, tuple[bytes, dict[str, str]]] = {}
        self._lock = threading.Lock()

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, Wrapped]:
        with self._lock:
            if self.failure is not None:
                raise self.failure
            self.generated += 1
            plain = hashlib.sha256(b"plain:%d" % self.generated).digest()
            return plain, self._wrap(plain, context)

    def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        with self._lock:
            if self.failure is not None:
                raise self.failure
            self.unwrapped += 1
            return self._open(wrapped, context)

    def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
        with self._lock:
            if self.failure is not None:
                raise self.failure
            return self._wrap(self._open(wrapped, context), context)

    def _wrap(self, plain: bytes, context: Mapping[str, str]) -> Wrapped:
        wrapped = Wrapped(b"wrapped:%d" % len(self._keys), self.key_id)
        self._keys[wrapped] = (plain, dict(context))
        return wrapped

    def _open(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        if wrapped.key in self.disabled:
            raise KmsError("DisabledException")
        plain, bound = self._keys.get(wrapped, (b"", {}))
        if bound != dict(context):
            raise KmsError("InvalidCiphertextException", altered=True)
        return plain


@dataclass
class RecordingQueues:
    """Queues that keep what was sent, as (body, delay in seconds).

    While ``unavailable`` is true, sending raises QueueUnavailable and keeps nothing. ``groups``
    are the message groups of all that was sent, as (queue, group).
    """

    refresh: list[tuple[dict[str, Any], float]] = field(default_factory=list)
    webhook: list[tuple[dict[str, Any], float]] = field(default_factory=list)
    dead_webhook: list[dict[str, Any]] = field(default_factory=list)
    unavailable: bool = False
    groups: list[tuple[str, str]] = field(default_factory=list)

    def send_refresh(self, body: dict[str, Any], delay: float = 0, group: str = "") -> None:
        self._check()
        self.groups.append(("refresh", group))
        self.refresh.append((json.loads(json.dumps(body)), delay))

    def send_webhook(self, body: dict[str, Any], delay: float = 0, group: str = "") -> None:
        self._check()
        self.groups.append(("webhook", group))
        self.webhook.append((json.loads(json.dumps(body)), delay))

    def send_dead_webhook(self, body: dict[str, Any]) -> None:
        self._check()
        self.dead_webhook.append(json.loads(json.dumps(body)))

    def _check(self) -> None:
        if self.unavailable:
            raise QueueUnavailable("ConnectFailed")

    def take_webhooks(self) -> list[tuple[dict[str, Any], float]]:
        """Return what is in the webhook queue, and empty it."""
        taken, self.webhook = self.webhook, []
        return taken

    def take_refreshes(self) -> list[tuple[dict[str, Any], float]]:
        """Return what is in the refresh queue, and empty it."""
        taken, self.refresh = self.refresh, []
        return taken


@dataclass
class RecordingSockets:
    """Sockets that keep the frames pushed, as (connection or public id, frame).

    ``gone`` holds the connections and public ids that answer as if there were no such socket.
    """

    pushed: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    def push(self, connection: str, frame: dict[str, Any]) -> bool:
        if connection in self.gone:
            return False
        self.pushed.append((connection, json.loads(json.dumps(frame))))
        return True

    def push_to_client(self, client_id: str, frame: dict[str, Any]) -> bool:
        return self.push(client_id, frame)


@dataclass(frozen=True)
class Sent:
    """One request that went out."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    options: dict[str, Any]

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


class Outside(ABC):
    """The way out: subclasses answer for the internet."""

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        **options: Any,
    ) -> Answer:
        """Take a request as the real one does."""
        given = {name.lower(): value for name, value in (headers or {}).items()}
        return self.answer_to(Sent(method, url, given, body or b"", options))

    @abstractmethod
    def answer_to(self, sent: Sent) -> Answer:
        """Answer a request, or raise what the real one would."""


class FakeEgress(Outside):
    """The way out, answered by the test.

    Args:
        answers: each request takes the next one: an Answer, an exception to raise, a function of
            the :class:`Sent` that gives one of both, or a bare status. When none is left,
            ``default`` answers (None: the test fails).
    """

    def __init__(self, *answers: Any, default: Any = None) -> None:
        self.answers = list(answers)
        self.default = default
        self.sent: list[Sent] = []
        self._lock = threading.Lock()

    def answer_to(self, sent: Sent) -> Answer:
        with self._lock:
            self.sent.append(sent)
            answer = self.answers.pop(0) if self.answers else self.default
        if callable(answer) and not isinstance(answer, (Answer, BaseException)):
            answer = answer(sent)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, int):
            answer = Answer(answer, {}, b"")
        if answer is None:
            raise AssertionError(f"nothing answers {sent.method} {sent.url}")
        assert isinstance(answer, Answer)
        return answer


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a JSON body."""
    given = {"content-type": "application/json", **(headers or {})}
    return Answer(status, given, json.dumps(body).encode())


def make_context(
    *,
    store: Store | None = None,
    clock: StoppedClock | None = None,
    random: Any = None,
    kms: KeyWrapper | None = None,
    egress: Any = None,
    queues: Any = None,
    sockets: Any = None,
    settings: Settings | None = None,
    **settings_changes: Any,
) -> Context:
    """Return a context in which nothing leaves the process.

    Args:
        store, clock, random, kms, egress, queues, sockets: the part to use instead of the usual
            one (MemoryStore, StoppedClock, CountingRandom, FakeKms, FakeEgress, RecordingQueues,
            RecordingSockets). They are attributes of the context: ``ctx.queues.webhook``,
            ``ctx.egress.sent``; the key wrapper is ``ctx.kms``.
        settings: whole settings; else the defaults with ``settings_changes``.
    """
    tables: dict[str, Any] = {f"{name}_table": table for name, table in TABLE_NAMES.items()}
    chosen = settings or Settings(
        **tables,
        kms_key_id="alias/test",
        public_url="https://keystow.test",
        websocket_url="wss://socket.test/live",
    )
    ctx: Any = Context(
        replace(chosen, **settings_changes),
        clock=clock or StoppedClock(),
        random=random or CountingRandom(),
    )
    wrapper = kms or FakeKms()
    ctx.kms = wrapper
    ctx.store = MemoryStore() if store is None else store
    ctx.vault = Vault(ctx.store, wrapper, ctx.clock, ctx.random)
    ctx.egress = egress or FakeEgress()
    ctx.queues = queues or RecordingQueues()
    ctx.sockets = sockets or RecordingSockets()
    return ctx  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Seeded:
    """What ``seed_environment`` made."""

    environment: Environment
    key: ApiKey
    secret_key: str
    signing_key: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a caller that may do everything."""
        return {"authorization": f"Bearer {self.secret_key}"}


def seed_environment(
    ctx: Context,
    *,
    id: str = "env1",  # noqa: A002 - the field's own name
    name: str = "dev",
    primary_url: str | None = "https://hooks.example.com/keystow",
    secondary_url: str | None = None,
    on_auth_creation: bool = True,
    on_auth_refresh_error: bool = True,
    on_connection_deletion: bool = False,
    signing_key: str = SIGNING_KEY,
    scopes: tuple[str, ...] | None = None,
    **fields: Any,
) -> Seeded:
    """Store an environment and an API key of it, and return both.

    Args:
        ctx: where to.
        id, name: of the environment; ``id`` is what stands in table keys.
        primary_url, secondary_url, on_auth_creation, on_auth_refresh_error,
            on_connection_deletion: webhook settings.
        signing_key: the text webhooks are signed with.
        scopes: of the API key; None: every scope of an environment.
        fields: further fields of :class:`keystow.records.environment.Environment`.
    """
    now = ctx.clock.now()
    environment = Environment(
        id=id,
        number=ids.numeric_id(now, ctx.random),
        name=name,
        uuid=ids.uuid4(ctx.random),
        public_key=ids.uuid4(ctx.random),
        signing_key=seal_signing_key(ctx.vault, id, signing_key),
        created_at=int(now * 1000),
        webhooks=WebhookSettings(
            primary_url,
            secondary_url,
            on_auth_creation,
            on_auth_refresh_error,
            on_connection_deletion,
        ),
    )
    environment = replace(environment, **fields)
    every = tuple(sorted(scope for scope in keys.SCOPES if scope.startswith("environment:")))
    key, text, writes = keys.new_key(ctx, id, "test", every if scopes is None else scopes)
    ctx.store.transact([Put(environment.key, environment.as_item(), NEW), *writes])
    return Seeded(environment, key, text.reveal(), signing_key)


def claim_names(ctx: Context, environment: Environment) -> None:
    """Let an environment be found by its UUID, number and name too, as one that was created is."""
    claim = {
        "environment": environment.id,
        "number": environment.number,
        "uuid": environment.uuid,
    }
    for place in (
        tables.environment_name(environment.name),
        service.number_claim(environment.number),
    ):
        ctx.store.put(Put(place, claim))


def store_key_of_old(
    ctx: Context, owner: str, scopes: tuple[str, ...], text: str = OLD_KEY
) -> None:
    """Store an API key whose text has the earlier form, a UUID."""
    key, _, _ = keys.new_key(ctx, owner, "Of old", scopes)
    kept = replace(key, key_hash=hashlib.sha256(text.encode()).hexdigest())
    ctx.store.transact(keys.storing(kept))


def hmac_sha256(key: str, body: str) -> str:
    """Return what X-Nango-Hmac-Sha256 must be, computed apart from the code under test."""
    return hmac.new(key.encode(), body.encode(), hashlib.sha256).hexdigest()


def run_in_parallel(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Start that many threads at one moment; return results and exceptions in order."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(place: int) -> None:
        barrier.wait()
        try:
            results[place] = work(place)
        except Exception as error:  # noqa: BLE001 - handed to the test
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
