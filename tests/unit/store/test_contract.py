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
from keystow.store.memory import MemoryStore
from keystow.store.operations import NEW, THERE
from tests.support import run_in_parallel

if TYPE_CHECKING:
    from keystow.store import Condition, Store

KEY = Key(tables.REGISTRY, "env1", "settings")
OTHER = Key(tables.EVENTS, "evt_1", "event")


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
