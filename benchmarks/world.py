"""A Keystow in memory with connections in it, and a store that counts what is asked of it."""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keystow.clock import SystemClock, iso
from keystow.store import ConditionFailed, Delete, Key, Operation, Page, Put, Update
from keystow.store.dynamodb import to_attribute
from keystow.store.memory import MemoryStore
from keystow.store.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keystow.store import Item

ACCESS_TOKEN = "a" * 220  # what a large provider's opaque tokens measure
REFRESH_TOKEN = "r" * 100
UNIT_OF_READING = 4096
UNIT_OF_WRITING = 1024


@dataclass
class Counted:
    """What was asked of the tables, in requests, rows and DynamoDB's units."""

    reads: int = 0
    rows: int = 0
    read_units: float = 0
    writes: int = 0
    write_units: float = 0
    operations: list[str] = field(default_factory=list)


def size(value: Any) -> int:
    """Return about how many bytes DynamoDB counts for a value."""
    match value:
        case str():
            return len(value.encode())
        case bytes():
            return len(value)
        case dict():
            return 3 + sum(len(name) + 1 + size(each) for name, each in value.items())
        case list() | tuple():
            return 3 + sum(1 + size(each) for each in value)
        case bool() | None:
            return 1
        case _:
            return 2 + len(str(value)) // 2


def _units(count: int, unit: int) -> int:
    return max(1, math.ceil(count / unit))


class MeteredStore:
    """The in-memory tables, counting as DynamoDB charges (developer guide, "Read/write capacity").

    A strongly consistent read costs a unit for each 4 KB, of an index half of that; a write one
    for each 1 KB of the larger of before and after, twice that in a transaction; and each index
    one more for each entry put, changed or taken away (a changed key is both).
    """

    def __init__(self, inner: MemoryStore | None = None) -> None:
        self.inner = inner or MemoryStore()
        self.counted = Counted()
        self.counting = True

    def take(self) -> Counted:
        """Return what was counted, and begin anew."""
        taken, self.counted = self.counted, Counted()
        return taken

    def get(self, key: Key) -> Item | None:
        """Return an item, or None."""
        found = self.inner.get(key)
        self._read("get " + key.table, [found] if found else [], 1.0)
        return found

    def get_all(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return several items; each is charged by itself."""
        found = self.inner.get_all(keys)
        for key, item in zip(keys, found, strict=True):
            self._read("get_all " + key.table, [item] if item else [], 1.0)
        return found

    def query(self, table: str, pk: str, **options: Any) -> Page:
        """Return one page."""
        page = self.inner.query(table, pk, **options)
        index = options.get("index")
        self._read(f"query {table} {index or ''}".rstrip(), page.items, 0.5 if index else 1.0)
        return page

    def put(self, operation: Put) -> None:
        """Write one item."""
        self._write([operation], 1, lambda: self.inner.put(operation))

    def update(self, operation: Update) -> Item:
        """Change one item and return it whole."""
        changed: list[Item] = []
        self._write([operation], 1, lambda: changed.append(self.inner.update(operation)))
        return changed[0]

    def delete(self, key: Key) -> None:
        """Remove one item."""
        self._write([Delete(key)], 1, lambda: self.inner.delete(key))

    def transact(self, operations: Sequence[Operation], token: str | None = None) -> None:
        """Write all or nothing."""
        self._write(operations, 2, lambda: self.inner.transact(operations, token))

    def everything(self) -> dict[str, list[Item]]:
        """Return every item."""
        return self.inner.everything()

    def _read(self, name: str, items: Sequence[Item], factor: float) -> None:
        if not self.counting:
            return
        self.counted.reads += 1
        self.counted.rows += len(items)
        self.counted.operations.append(name)
        self.counted.read_units += factor * _units(sum(map(size, items)), UNIT_OF_READING)

    def _write(self, operations: Sequence[Operation], factor: int, work: Any) -> None:
        if not self.counting:
            work()
            return
        before = [self.inner.get(each.key) for each in operations]
        self.counted.writes += 1
        try:
            work()
        except ConditionFailed:
            self.counted.write_units += factor * len(operations)
            raise
        for operation, old in zip(operations, before, strict=True):
            new = self.inner.get(operation.key)
            largest = max(size(old or {}), size(new or {}))
            own = factor * _units(largest, UNIT_OF_WRITING)
            index = _index_units(operation.key.table, old, new)
            self.counted.write_units += own + index
            name = type(operation).__name__.lower()
            self.counted.operations.append(f"{name} {operation.key.table} {own}+{index}")


def _index_units(table: str, before: Item | None, after: Item | None) -> int:
    units = 0
    for index in TABLES[table].indexes.values():
        names = {"pk", "sk", index.hash, index.range}

        def entry(
            item: Item | None,
            names: set[str] = names,
            keys: tuple[str, str] = (index.hash, index.range),
            projection: tuple[str, ...] | None = index.projection,
        ) -> Item | None:
            if item is None or not all(name in item for name in keys):
                return None
            if projection is None:
                return item
            return {name: item[name] for name in names | set(projection) if name in item}

        old, new = entry(before), entry(after)
        if old == new:
            continue
        moved = old and new and any(old[name] != new[name] for name in (index.hash, index.range))
        for one in (old, new) if moved else (new or old,):
            units += _units(size(one), UNIT_OF_WRITING)
    return units


@dataclass
class World:
    """An environment with one integration, in memory."""

    ctx: Any
    app: Any
    secret_key: str
    store: MeteredStore

    def connect(self, names: Sequence[str], life: float) -> None:
        """Import connections whose tokens live so many seconds from now on."""
        for name in names:
            credentials = {
                "type": "OAUTH2",
                "access_token": ACCESS_TOKEN,
                "refresh_token": REFRESH_TOKEN,
                "expires_at": iso(self.ctx.clock.now() + life),
            }
            body = {
                "provider_config_key": "bench",
                "connection_id": name,
                "credentials": credentials,
                "end_user": {"id": f"user-{name}", "email": "someone@example.com"},
            }
            made = self.app.post("/connections", body)
            if made.status != 201:  # noqa: PLR2004 - created
                raise RuntimeError(f"importing failed: {made.status} {made.body!r}")

    def as_stub(self, latency: float = 0.0) -> dict[str, Any]:
        """Return all rows and data keys, as :mod:`benchmarks.aws_stub` is given them.

        Args:
            latency: of each answer, in seconds.
        """
        tables = {
            table: [{name: to_attribute(value) for name, value in item.items()} for item in rows]
            for table, rows in self.store.everything().items()
        }
        keys = {
            base64.b64encode(wrapped.blob).decode(): base64.b64encode(plain).decode()
            for wrapped, (plain, _context) in self.ctx.kms._keys.items()  # noqa: SLF001
        }
        indexes = {
            name: {index: (keys.hash, keys.range) for index, keys in table.indexes.items()}
            for name, table in TABLES.items()
        }
        return {"tables": tables, "indexes": indexes, "keys": keys, "latency": latency}


def make_world(*, origin: str = "https://bench.example", clock: Any = None, **parts: Any) -> World:
    """Return a Keystow with one integration of a provider whose endpoints stand at an origin."""
    # Imported by name, since the tests' helpers are not held to `mypy --strict`.
    support = importlib.import_module("tests.support")
    app_module = importlib.import_module("tests.app")
    definition = importlib.import_module("tests.authorization_server").DEFINITION
    log_into(io.StringIO())
    store = MeteredStore()
    ctx = support.make_context(
        store=store,
        clock=clock or SystemClock(),
        loopback_allowed=True,
        websocket_url="",
        **parts,
    )
    seeded = support.seed_environment(ctx)
    app = app_module.App(ctx, seeded.secret_key)
    moved = {
        name: value.replace("https://rotating.example", origin) if isinstance(value, str) else value
        for name, value in definition.items()
    }
    moved["proxy"] = {"base_url": origin}
    credentials = {"type": "OAUTH2", "client_id": "client", "client_secret": "secret"}
    for made in (
        app.put("/providers/bench", moved),
        app.post(
            "/integrations",
            {"provider": "bench", "unique_key": "bench", "credentials": credentials},
        ),
    ):
        if made.status not in {200, 201}:
            raise RuntimeError(f"no world: {made.status} {made.body!r}")
    return World(ctx, app, seeded.secret_key, store)


def log_into(stream: io.StringIO) -> None:
    """Send the log lines of this process into a stream, since standard output is the report."""
    for handler in logging.getLogger("keystow").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(stream)


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Keep the lines of metrics out of the report; they go to standard output."""
    with contextlib.redirect_stdout(io.StringIO()) as taken:
        yield taken
