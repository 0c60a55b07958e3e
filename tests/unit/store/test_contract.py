"""What every store must do: one suite for the in-memory twin, for DynamoDB, and for the reference.

The reference is the same store on botocore: what our client of AWS does otherwise, fails here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystow.store import (
    Above,
    All,
    Any_,
    AtMost,
    Below,
    Check,
    ConditionFailed,
    Counted,
    Delete,
    Equals,
    Exists,
    ItemTooLarge,
    Key,
    Missing,
    Put,
    Update,
    tables,
)
from keystow.store.dynamodb import DynamoStore
from keystow.store.memory import MemoryStore
from keystow.store.operations import NEW, THERE
from keystow.store.store import pages
from tests.aws_server import serving
from tests.moto_tables import create_tables
from tests.support import TABLE_NAMES, run_in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystow.store import Condition, Store

KEY = Key(tables.REGISTRY, "env1", "settings")
OTHER = Key(tables.EVENTS, "evt_1", "event")


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[tuple[dict[str, Store], Any]]:
    with serving() as aws:
        client = aws.botocore("dynamodb")
        create_tables(client)
        ours = aws.client("dynamodb")
        reference: Any = aws.reference("dynamodb")
        yield (
            {
                "dynamodb": DynamoStore(ours, TABLE_NAMES),
                "reference": DynamoStore(reference, TABLE_NAMES),
            },
            client,
        )
        ours.close()


@pytest.fixture(params=["memory", "dynamodb", "reference"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    stores, client = request.getfixturevalue("dynamodb")
    yield stores[request.param]
    for table in TABLE_NAMES.values():
        for item in client.scan(TableName=table)["Items"]:
            client.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})


def put(store: Store, key: Key, **item: Any) -> None:
    store.put(Put(key, item))


def test_an_item_comes_back_as_it_was_put(store: Store) -> None:
    item = {
        "text": "grüße 🗝",
        "empty": "",
        "number": -(2**60),
        "yes": True,
        "nothing": None,
        "bytes": b"\x00\xff",
        "list": ["a", 1, {"b": [None]}],
        "map": {"with space": {"and.dot": 1}},
    }

    store.put(Put(KEY, item))

    assert store.get(KEY) == {**item, "pk": "env1", "sk": "settings"}


def test_nothing_is_found_where_nothing_was_put(store: Store) -> None:
    assert store.get(KEY) is None


def test_items_of_several_tables_are_read_at_once_in_the_order_of_their_keys(
    store: Store,
) -> None:
    missing = Key(tables.SESSIONS, "session#1", "session")
    put(store, KEY, name="dev")
    put(store, OTHER, body=b"\x00")
    found = store.get_all([OTHER, missing, KEY])
    assert found == [store.get(OTHER), None, store.get(KEY)]
    assert found[0] is not None
    assert found[0]["body"] == b"\x00"
    assert store.get_all([]) == []


def test_a_key_that_no_table_takes_is_read_as_nothing_beside_others(store: Store) -> None:
    put(store, KEY, name="dev")
    assert store.get_all([Key(tables.REGISTRY, "e" * 3000, "settings"), KEY]) == [
        None,
        store.get(KEY),
    ]


def test_what_was_handed_in_and_out_is_not_what_is_stored(store: Store) -> None:
    item = {"map": {"a": 1}}
    store.put(Put(KEY, item))
    item["map"]["a"] = 2
    found = store.get(KEY)
    assert found is not None
    found["map"]["a"] = 3

    again = store.get(KEY)

    assert again is not None
    assert again["map"] == {"a": 1}


@pytest.mark.parametrize("value", [1.5, object(), {"a": 0.1}])
def test_a_type_that_tables_do_not_hold_is_refused(store: Store, value: object) -> None:
    with pytest.raises(TypeError):
        put(store, KEY, value=value)

    assert store.get(KEY) is None


def test_a_put_replaces_the_whole_item(store: Store) -> None:
    put(store, KEY, a=1, b=2)
    put(store, KEY, a=3)

    assert store.get(KEY) == {"pk": "env1", "sk": "settings", "a": 3}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Exists("number"), True),
        (Exists("none"), False),
        (Missing("none"), True),
        (Missing("number"), False),
        (NEW, False),
        (THERE, True),
        (Equals("number", 5), True),
        (Equals("number", 6), False),
        (Equals("none", 5), False),
        (Equals("text", "a"), True),
        (Equals("text", "b"), False),
        (Equals("yes", True), True),
        (Equals("number", "5"), False),
        (Below("number", 6), True),
        (Below("number", 5), False),
        (Below("none", 6), False),
        (AtMost("number", 5), True),
        (AtMost("number", 4), False),
        (Above("number", 4), True),
        (Above("number", 5), False),
        (Above("none", 4), False),
        (All((Equals("number", 5), Equals("text", "a"))), True),
        (All((Equals("number", 5), Equals("text", "b"))), False),
        (Any_((Equals("number", 6), Equals("text", "a"))), True),
        (Any_((Equals("number", 6), Equals("text", "b"))), False),
        (All((Any_((Missing("none"), Below("none", 3))), Exists("yes"))), True),
        (Any_((All((Exists("none"), Exists("yes"))), Above("number", 9))), False),
    ],
)
def test_both_stores_decide_a_condition_alike(
    store: Store, condition: Condition, expected: bool
) -> None:
    put(store, KEY, number=5, text="a", yes=True)
    write = Update(KEY, set={"written": True}, condition=condition)

    if expected:
        assert store.update(write)["written"] is True
    else:
        with pytest.raises(ConditionFailed):
            store.update(write)
        found = store.get(KEY)
        assert found is not None
        assert "written" not in found


@pytest.mark.parametrize("condition", [Equals("yes", 1), Below("text", 6)])
def test_a_value_of_another_type_is_never_equal_nor_below(condition: Condition) -> None:
    # As DynamoDB documents it; moto compares Python values, so this is the twin's alone.
    store = MemoryStore()
    put(store, KEY, text="a", yes=True)

    with pytest.raises(ConditionFailed):
        store.update(Update(KEY, set={"written": True}, condition=condition))


def test_a_new_item_is_made_once(store: Store) -> None:
    store.put(Put(KEY, {"owner": "first"}, NEW))

    with pytest.raises(ConditionFailed) as failure:
        store.put(Put(KEY, {"owner": "second"}, NEW))

    assert failure.value.failed == (0,)
    assert failure.value.found[0] is not None
    assert failure.value.found[0]["owner"] == "first"


def test_an_update_changes_some_attributes_and_returns_them_all(store: Store) -> None:
    put(store, KEY, kept=1, changed=1, removed=1, count=1)

    found = store.update(
        Update(KEY, set={"changed": 2}, add={"count": 3, "fresh": 2}, remove=("removed", "never"))
    )

    expected = {"pk": "env1", "sk": "settings", "kept": 1, "changed": 2, "count": 4, "fresh": 2}
    assert found == expected
    assert store.get(KEY) == expected


def test_an_update_makes_an_item_that_was_not_there(store: Store) -> None:
    assert store.update(Update(KEY, set={"a": 1})) == {"pk": "env1", "sk": "settings", "a": 1}


def test_an_update_with_a_condition_makes_no_item(store: Store) -> None:
    with pytest.raises(ConditionFailed) as failure:
        store.update(Update(KEY, set={"a": 1}, condition=THERE))

    assert failure.value.found == (None,)
    assert store.get(KEY) is None


def test_entries_of_a_map_change_apart(store: Store) -> None:
    put(store, KEY, metadata={"a": "1", "b": "2"})

    store.update(Update(KEY, set_entries={("metadata", "b"): "3", ("metadata", "c.d e"): "4"}))

    found = store.get(KEY)
    assert found is not None
    assert found["metadata"] == {"a": "1", "b": "3", "c.d e": "4"}


def test_an_entry_of_a_map_that_is_not_there_changes_nothing(store: Store) -> None:
    put(store, KEY, a=1)

    with pytest.raises(Exception):  # noqa: B017, PT011 - a fault of the caller, of either store's kind
        store.update(Update(KEY, set={"a": 2}, set_entries={("metadata", "b"): "3"}))

    found = store.get(KEY)
    assert found is not None
    assert found["a"] == 1


def test_words_reserved_in_expressions_are_names_like_others(store: Store) -> None:
    put(store, KEY, name=1, size=2)

    found = store.update(
        Update(KEY, set={"name": 3, "status": 4}, remove=("size",), condition=Exists("size"))
    )

    assert (found["name"], found["status"], "size" in found) == (3, 4, False)


def test_deleting_is_done_whether_the_item_is_there_or_not(store: Store) -> None:
    put(store, KEY, a=1)

    store.delete(KEY)
    store.delete(KEY)

    assert store.get(KEY) is None


def test_a_transaction_writes_over_tables(store: Store) -> None:
    put(store, KEY, a=1)
    third = Key(tables.REGISTRY, "env1", "third")
    put(store, third, gone=1)

    store.transact(
        [
            Update(KEY, set={"a": 2}, condition=Equals("a", 1)),
            Put(OTHER, {"b": 1}, NEW),
            Delete(third, THERE),
            Check(Key(tables.REGISTRY, "env1", "fourth"), NEW),
        ]
    )

    assert store.get(KEY) == {"pk": "env1", "sk": "settings", "a": 2}
    assert store.get(OTHER) == {"pk": "evt_1", "sk": "event", "b": 1}
    assert store.get(third) is None


def test_a_transaction_writes_all_or_nothing_and_says_what_stood_in_the_way(
    store: Store,
) -> None:
    put(store, KEY, a=1)
    third = Key(tables.REGISTRY, "env1", "third")

    with pytest.raises(ConditionFailed) as failure:
        store.transact(
            [
                Put(OTHER, {"b": 1}, NEW),
                Update(KEY, set={"a": 2}, condition=Equals("a", 7)),
                Check(third, THERE),
            ]
        )

    assert failure.value.failed == (1, 2)
    assert failure.value.found[0] is not None
    assert failure.value.found[0]["a"] == 1
    assert failure.value.found[1] is None
    assert store.get(OTHER) is None
    assert store.get(KEY) == {"pk": "env1", "sk": "settings", "a": 1}


def test_a_transaction_with_an_item_too_large_writes_nothing(store: Store) -> None:
    with pytest.raises(ItemTooLarge):
        store.transact([Put(KEY, {"a": 1}), Put(OTHER, {"text": "x" * 410_000})])

    assert store.get(KEY) is None


def test_an_item_too_large_is_refused(store: Store) -> None:
    with pytest.raises(ItemTooLarge):
        put(store, KEY, text="x" * 410_000)

    assert store.get(KEY) is None


def test_an_update_that_makes_an_item_too_large_is_refused(store: Store) -> None:
    put(store, KEY, text="x" * 300_000)

    with pytest.raises(ItemTooLarge):
        store.update(Update(KEY, set={"more": "x" * 120_000}))

    found = store.get(KEY)
    assert found is not None
    assert "more" not in found


def test_one_transaction_takes_one_operation_for_an_item(store: Store) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - a fault of the caller, of either store's kind
        store.transact([Put(KEY, {"a": 1}), Update(KEY, set={"a": 2})])

    assert store.get(KEY) is None


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


def test_of_many_who_claim_one_item_one_wins(store: Store) -> None:
    put(store, KEY, fence=0)

    def claim(number: int) -> str:
        try:
            store.update(Update(KEY, add={"fence": 1}, condition=Equals("fence", 0)))
        except ConditionFailed:
            return "lost"
        return "won"

    outcomes = run_in_parallel(8, claim)

    assert sorted(outcomes) == ["lost"] * 7 + ["won"]


def test_one_token_writes_once() -> None:
    store = MemoryStore()  # moto does not remember client request tokens
    put(store, KEY, count=0)

    store.transact([Update(KEY, add={"count": 1})], token="once")
    store.transact([Update(KEY, add={"count": 1})], token="once")
    store.transact([Update(KEY, add={"count": 1})], token="twice")

    found = store.get(KEY)
    assert found is not None
    assert found["count"] == 2
