"""What every store must do where more than one item is asked for: queries, pages, indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystow.store import Counted, Key, Put, Update, tables
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.store import Store


def put(store: Store, key: Key, **item: Any) -> None:
    store.put(Put(key, item))


def fill(store: Store, count: int) -> None:
    for number in range(count):
        put(store, Key(tables.REGISTRY, "env1", f"integration#{number:03d}"), number=number)
    put(store, Key(tables.REGISTRY, "env1", "settings"), number=-1)
    put(store, Key(tables.REGISTRY, "env2", "integration#000"), number=-2)


def test_a_query_finds_the_items_of_a_partition_in_order(store: Store) -> None:
    fill(store, 5)

    page = store.query(tables.REGISTRY, "env1")

    assert [item["number"] for item in page.items] == [0, 1, 2, 3, 4, -1]
    assert page.next is None


def test_a_query_by_prefix_leaves_the_others_out(store: Store) -> None:
    fill(store, 5)

    page = store.query(tables.REGISTRY, "env1", prefix="integration#")

    assert [item["number"] for item in page.items] == [0, 1, 2, 3, 4]


def test_a_query_finds_nothing_in_an_empty_partition(store: Store) -> None:
    page = store.query(tables.REGISTRY, "nobody")

    assert (page.items, page.next) == ([], None)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7])
def test_pages_bring_every_item_once(store: Store, limit: int, descending: bool) -> None:
    fill(store, 5)

    found = list(
        pages(
            store,
            tables.REGISTRY,
            "env1",
            prefix="integration#",
            limit=limit,
            descending=descending,
        )
    )

    expected = [4, 3, 2, 1, 0] if descending else [0, 1, 2, 3, 4]
    assert [item["number"] for item in found] == expected


def test_a_page_holds_no_more_than_its_limit(store: Store) -> None:
    fill(store, 5)

    page = store.query(tables.REGISTRY, "env1", limit=2)

    assert len(page.items) == 2
    assert page.next is not None


def due(store: Store, event: str, at: int | None, shard: str = "3") -> None:
    item: dict[str, Any] = {"url": "https://a.example"}
    if at is not None:
        item |= {"due_shard": shard, "due_at": at}
    store.put(Put(tables.delivery(event, 0), item))


def test_an_index_holds_only_items_with_its_keys(store: Store) -> None:
    due(store, "evt_due", 100)
    due(store, "evt_done", None)
    due(store, "evt_elsewhere", 100, shard="4")

    page = store.query(tables.EVENTS, "3", index="by_due")

    assert [item["pk"] for item in page.items] == ["evt_due"]


def test_an_item_leaves_an_index_with_its_keys(store: Store) -> None:
    due(store, "evt_1", 100)

    store.update(Update(tables.delivery("evt_1", 0), remove=("due_shard", "due_at")))

    assert store.query(tables.EVENTS, "3", index="by_due").items == []


def test_an_index_by_time_finds_what_is_due_in_numeric_order(store: Store) -> None:
    for at in (1000, 20, 3, 400):
        due(store, f"evt_{at}", at)

    page = store.query(tables.EVENTS, "3", index="by_due", at_most=400)

    assert [item["due_at"] for item in page.items] == [3, 20, 400]


def test_an_index_of_keys_brings_only_keys(store: Store) -> None:
    due(store, "evt_1", 100)

    (item,) = store.query(tables.EVENTS, "3", index="by_due").items

    assert item == {"pk": "evt_1", "sk": "delivery#0", "due_shard": "3", "due_at": 100}


def test_an_index_brings_the_attributes_it_includes(store: Store) -> None:
    key = tables.connection_secret("env1", "int1", "c1")
    put(
        store,
        key,
        due_shard="1",
        due_at=5,
        host="a.example",
        generation="g",
        version=1,
        sealed=b"x",
    )

    (item,) = store.query(tables.CONNECTIONS, "1", index="by_due").items

    assert item == {
        "pk": key.pk,
        "sk": key.sk,
        "due_shard": "1",
        "due_at": 5,
        "host": "a.example",
        "generation": "g",
        "version": 1,
    }


@pytest.mark.parametrize("descending", [False, True])
def test_pages_of_an_index_bring_items_with_equal_keys_once(store: Store, descending: bool) -> None:
    names = [f"evt_{number}" for number in range(7)]
    for name in names:
        due(store, name, 100)

    found = list(pages(store, tables.EVENTS, "3", index="by_due", limit=2, descending=descending))

    assert sorted(item["pk"] for item in found) == names


def test_items_of_an_index_are_counted_with_those_that_have_an_attribute(store: Store) -> None:
    for number in range(5):
        key = tables.connection("env1", "int1", f"c{number}")
        failing = {"auth_error": {"log_id": "l"}} if number < 2 else {}
        put(store, key, integration="env1#int1", created=f"{number:03d}", **failing)
    put(store, tables.connection("env1", "int2", "x"), integration="env1#int2", created="9")

    counted = store.count(
        tables.CONNECTIONS, "env1#int1", index="by_integration", having="auth_error"
    )

    assert counted == Counted(5, 2)
    none = store.count(tables.CONNECTIONS, "no", index="by_integration", having="auth_error")
    assert none == Counted(0, 0)
    impossible = store.count(tables.CONNECTIONS, "", index="by_integration", having="auth_error")
    assert impossible == Counted(0, 0)


def test_an_index_lists_the_newest_first(store: Store) -> None:
    for number in range(3):
        key = tables.connection("env1", "int1", f"c{number}")
        put(store, key, environment="env1", created=f"{number:03d}")

    page = store.query(tables.CONNECTIONS, "env1", index="by_environment", descending=True, limit=2)

    assert [item["created"] for item in page.items] == ["002", "001"]
