"""What `make bench` measures cold starts with: every function, a real first event, a held quota."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cold import container, firsts, measuring, places, quota
from benchmarks.tables import Refused, Tables
from local.template import functions, load

ROOT = Path(__file__).parents[2]
INDEXES = {"t": {"by_due": ("shard", "due")}}


def row(pk: str, **fields: Any) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": "row"}, **fields}


def test_every_function_has_a_first_event_and_its_own_memory() -> None:
    template = load(ROOT / "template.yaml")
    named = {Path(each["CodeUri"]).name for each in functions(template).values()}
    _world, usual, refused = firsts.made("https://127.0.0.1:44443")
    assert usual.keys() == named
    assert refused.keys() | measuring.BUDGETS.keys() <= named
    assert places.memory_of("get_connection") == 512
    assert places.memory_of("create_session") == 256


def test_where_nobody_may_set_a_quota_there_is_none(tmp_path: Path) -> None:
    with quota.quota(tmp_path) as found:
        assert found is None


@pytest.mark.parametrize("version", [1, 2])
def test_memory_buys_a_share_of_a_processor_in_control_groups(tmp_path: Path, version: int) -> None:
    parent = tmp_path if version == 2 else tmp_path / "cpu"
    parent.mkdir(exist_ok=True)
    name = "cgroup.controllers" if version == 2 else "cpu.cfs_quota_us"
    (parent / name).write_text("cpu")
    with quota.quota(tmp_path) as found:
        assert found is not None
        found.hold(42, 512)
        (group,) = parent.glob("keystow-bench-*")
        assert (group / "cgroup.procs").read_text() == "42"
        if version == 2:
            assert (group / "cpu.max").read_text() == "5788 20000"
        else:
            assert (group / "cpu.cfs_quota_us").read_text() == "5788"
        for file in group.iterdir():  # in a real one they go with the folder
            file.unlink()
    assert not group.exists()


def test_processor_time_is_taken_where_there_is_no_quota(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import time\n"
        "while time.process_time() < 0.2: pass\n"
        "def handler(event, context):\n"
        "    until = time.process_time() + 0.1\n"
        "    while time.process_time() < until: pass\n"
        "    return event\n"
    )
    import sys

    found = container.start(
        Path(sys.executable), tmp_path, {"AWS_REGION": "x"}, {"a": 1}, memory=512
    )
    assert found.answer == {"a": 1}
    assert 0.1 <= found.first_cpu < 0.2 <= found.init_cpu


def test_a_function_that_fails_is_no_measurement(tmp_path: Path) -> None:
    import sys

    (tmp_path / "app.py").write_text("def handler(event, context): raise ValueError('broken')\n")
    with pytest.raises(RuntimeError, match="broken"):
        container.start(Path(sys.executable), tmp_path, {"AWS_REGION": "x"}, {}, memory=512)


def test_the_tables_of_the_benchmark_keep_conditions_and_forget_what_was_written() -> None:
    tables = Tables({"t": [row("a", n={"N": "1"})]}, INDEXES)
    names = {"#n": "n"}
    change = {
        "TableName": "t",
        "Key": row("a"),
        "UpdateExpression": "SET #m = :text ADD #n :one",
        "ConditionExpression": "(attribute_exists(#n) AND #n < :two)",
        "ExpressionAttributeNames": {**names, "#m": "m"},
        "ExpressionAttributeValues": {":one": {"N": "1"}, ":two": {"N": "2"}, ":text": {"S": "x"}},
    }
    changed = row("a", n={"N": "2"}, m={"S": "x"})
    assert tables.update_item(change) == {"Attributes": changed}
    with pytest.raises(Refused) as refused:
        tables.update_item(change)
    assert refused.value.body["Item"] == changed
    with pytest.raises(Refused) as cancelled:
        tables.transact_write_items({"TransactItems": [{"Update": change}]})
    assert cancelled.value.body["CancellationReasons"][0]["Code"] == "ConditionalCheckFailed"
    tables.begin_anew()
    assert tables.get_item({"TableName": "t", "Key": row("a")}) == {"Item": row("a", n={"N": "1"})}


def test_the_tables_of_the_benchmark_answer_sparse_indexes_in_order() -> None:
    rows = [row(pk, shard={"S": "s"}, due={"N": due}) for pk, due in (("a", "9"), ("b", "10"))]
    tables = Tables({"t": [*rows, row("c", shard={"S": "s"})]}, INDEXES)
    asked = {
        "TableName": "t",
        "IndexName": "by_due",
        "KeyConditionExpression": "#s = :s AND #d <= :d",
        "ExpressionAttributeNames": {"#s": "shard", "#d": "due"},
        "ExpressionAttributeValues": {":s": {"S": "s"}, ":d": {"N": "10"}},
        "ScanIndexForward": False,
    }
    assert [each["pk"]["S"] for each in tables.query(asked)["Items"]] == ["b", "a"]
    assert tables.query({**asked, "Limit": 1})["Count"] == 1
