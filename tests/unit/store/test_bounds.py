"""A key that no table takes finds nothing and makes nothing; both stores agree on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystow.store import (
    Check,
    ConditionFailed,
    Delete,
    ItemTooLarge,
    Key,
    KeyTooLong,
    Put,
    Update,
    tables,
)
from keystow.store.memory import MemoryStore
from keystow.store.operations import NEW, THERE
from tests.moto_tables import moto_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystow.store import Store

LONG_PARTITION = Key(tables.REGISTRY, "é" * 1025, "settings")
LONG_SORT = Key(tables.REGISTRY, "env1", "😀" * 257)
EMPTY = Key(tables.REGISTRY, "", "settings")
LONGEST = Key(tables.REGISTRY, "é" * 1024, "😀" * 256)
KEY = Key(tables.CONNECTIONS, "env1#int1#c1", "connection")

MISPLACED = [LONG_PARTITION, LONG_SORT, EMPTY]


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Store]:
    with moto_store() as (made, _client):
        yield made


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    made: Store = request.getfixturevalue("dynamodb")
    return made


@pytest.mark.parametrize("key", MISPLACED)
def test_nothing_is_found_under_a_key_that_no_table_takes(store: Store, key: Key) -> None:
    assert store.get(key) is None
    assert store.query(key.table, key.pk, prefix=key.sk).items == []
    store.delete(key)


@pytest.mark.parametrize("key", MISPLACED)
def test_what_must_be_there_is_not_there_under_such_a_key(store: Store, key: Key) -> None:
    for write in (
        lambda: store.update(Update(key, set={"a": 1}, condition=THERE)),
        lambda: store.put(Put(key, {"a": 1}, THERE)),
        lambda: store.transact([Put(KEY, {"a": 1}), Check(key, THERE)]),
        lambda: store.transact([Put(KEY, {"a": 1}), Delete(key, THERE)]),
    ):
        with pytest.raises(ConditionFailed) as failed:
            write()
        assert failed.value.found == (None,)
    assert store.get(KEY) is None


@pytest.mark.parametrize("key", MISPLACED)
def test_an_item_that_would_get_such_a_key_is_too_large(store: Store, key: Key) -> None:
    for write in (
        lambda: store.put(Put(key, {"a": 1})),
        lambda: store.put(Put(key, {"a": 1}, NEW)),
        lambda: store.update(Update(key, set={"a": 1})),
        lambda: store.transact([Put(KEY, {"a": 1}), Put(key, {"a": 1})]),
    ):
        with pytest.raises(KeyTooLong):
            write()
    assert store.get(KEY) is None


def test_an_item_that_would_stand_in_an_index_under_such_a_key_is_too_large(store: Store) -> None:
    for attributes in (
        {"end_user": "é" * 1025, "created": "1"},
        {"end_user": "", "created": "1"},
        {"end_user": "u", "created": "é" * 513},
    ):
        with pytest.raises(ItemTooLarge):
            store.put(Put(KEY, attributes))
    assert store.get(KEY) is None


def test_the_longest_key_in_bytes_is_taken(store: Store) -> None:
    store.put(Put(LONGEST, {"a": 1}))
    found = store.get(LONGEST)
    assert found is not None
    assert found["a"] == 1
    (listed,) = store.query(LONGEST.table, LONGEST.pk, prefix=LONGEST.sk).items
    assert listed["sk"] == LONGEST.sk
    store.delete(LONGEST)
    assert store.get(LONGEST) is None


def test_a_lone_surrogate_is_counted_and_no_fault(store: Store) -> None:
    assert store.get(Key(tables.REGISTRY, "\ud800" * 3000, "settings")) is None
