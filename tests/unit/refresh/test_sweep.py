"""The sweep takes what is due, the oldest first, each once, in messages of one host and moment."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from keystow import metrics
from keystow.refresh import sweep
from keystow.refresh.due import all_shards, shard_of
from keystow.store import Put, StoreUnavailable, Update, tables
from keystow.store.operations import Key
from tests.support import RecordingQueues, make_context

HOST = "api.example"
MINUTES_10 = 600_000


class Due:
    """A table with nothing but rows that are due, and what the sweep sends of them."""

    def __init__(self) -> None:
        self.ctx: Any = make_context()
        self.queues: RecordingQueues = self.ctx.queues
        self.now = int(self.ctx.clock.now() * 1000)

    def row(
        self,
        name: str,
        seconds: float = 0,
        *,
        environment: str = "env1",
        host: str | None = HOST,
        shard: str | None = None,
        pending: bool = False,
    ) -> Key:
        """Store what is due in so many seconds."""
        sk = tables.CONNECTION_PENDING if pending else tables.CONNECTION_SECRET
        key = Key(tables.CONNECTIONS, f"{environment}#i#{name}", sk)
        item = {
            "due_shard": shard or shard_of(name),
            "due_at": self.now + int(seconds * 1000),
            "generation": f"g-{name}",
        }
        self.ctx.store.put(Put(key, item if host is None else {**item, "host": host}))
        return key

    def due_at(self, key: Key) -> int:
        return int(self.ctx.store.get(key)["due_at"])

    def sent(self) -> list[list[str]]:
        """Return the names in each message, in the order in which messages were sent."""
        return [
            [entry["pk"].rpartition("#")[2] for entry in next(iter(body.values()))]
            for body, _delay in self.queues.refresh
        ]


@pytest.fixture
def due() -> Due:
    return Due()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one thread do it all, so that the order of messages is that of the sweep."""
    real = sweep.ThreadPoolExecutor
    monkeypatch.setattr(sweep, "ThreadPoolExecutor", lambda _threads: real(1))


def test_what_is_due_within_a_minute_is_queued_once_and_the_rest_is_not(due: Due) -> None:
    keys = [due.row("over", -5), due.row("soon", 60)]
    later = due.row("later", 60.001)
    assert sweep.sweep(due.ctx) == 2
    assert sorted(name for names in due.sent() for name in names) == ["over", "soon"]
    assert [due.due_at(key) for key in keys] == [due.now + MINUTES_10] * 2
    assert due.due_at(later) == due.now + 60_001
    assert sweep.sweep(due.ctx) == 0


def test_a_message_says_which_authorization_of_which_connection(due: Due) -> None:
    due.row("a")
    due.row("b", pending=True)
    sweep.sweep(due.ctx)
    assert sorted((json.dumps(body) for body, _delay in due.queues.refresh), reverse=True) == [
        json.dumps({"refresh": [{"pk": "env1#i#a", "generation": "g-a"}]}),
        json.dumps({"expire": [{"pk": "env1#i#b", "generation": "g-b"}]}),
    ]


@pytest.mark.parametrize(
    ("seconds", "delay"), [(-500, 0), (0, 0), (9.9, 0), (10, 10), (37, 30), (60, 60)]
)
def test_a_message_comes_when_its_connections_are_due_and_at_most_ten_seconds_early(
    due: Due, seconds: float, delay: int
) -> None:
    due.row("a", seconds)
    sweep.sweep(due.ctx)
    ((_body, waits),) = due.queues.refresh
    assert waits == delay


@pytest.mark.usefixtures("alone")
def test_what_is_due_first_goes_first_whichever_shard_it_stands_in(due: Due) -> None:
    names = [f"c{number}" for number in range(60)]
    for number, name in enumerate(names):
        due.row(name, -number)
    assert len({shard_of(name) for name in names}) > 8
    assert sweep.sweep(due.ctx) == 60
    oldest = names[::-1]
    assert due.sent() == [oldest[:25], oldest[25:50], oldest[50:]]


@pytest.mark.usefixtures("alone")
def test_what_is_over_goes_before_what_is_not_yet_due(due: Due) -> None:
    for number, seconds in enumerate((45, -20, 25)):
        due.row(f"c{number}", seconds)
    sweep.sweep(due.ctx)
    assert due.sent() == [["c1"], ["c2"], ["c0"]]
    assert [delay for _body, delay in due.queues.refresh] == [0, 20, 40]


@pytest.mark.usefixtures("alone")
def test_environments_hosts_and_what_waits_take_turns(due: Due) -> None:
    for number in range(50):
        due.row(f"many{number:02}", -100)
    due.row("other-host", host="other.example")
    due.row("no-host", host=None)
    due.row("other-environment", environment="env2")
    due.row("waiting", pending=True)
    assert sweep.sweep(due.ctx) == 54
    sent = due.sent()
    assert [len(names) for names in sent] == [25, 1, 1, 1, 1, 25]
    groups = Counter(group for _queue, group in due.queues.groups)
    assert groups == {
        "env1/api.example": 3,
        "env1/other.example": 1,
        "env1/": 1,
        "env2/api.example": 1,
    }


def test_a_shard_with_much_is_read_to_its_end_and_each_row_queued_once(due: Due) -> None:
    for number in range(600):
        due.row(f"c{number}", shard=all_shards()[5])
    assert sweep.sweep(due.ctx) == 600
    names = [name for names in due.sent() for name in names]
    assert len(names) == len(set(names)) == 600


def test_of_a_shard_only_so_much_is_taken_as_a_sweep_can_mark(
    due: Due, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "MOST_PER_SHARD", 100)
    monkeypatch.setattr(sweep, "_PAGE", 50)
    for number in range(220):
        due.row(f"c{number}", shard=all_shards()[0])
    assert [sweep.sweep(due.ctx) for _time in range(4)] == [100, 100, 20, 0]


def test_a_sweep_whose_time_is_over_reads_and_marks_nothing(due: Due) -> None:
    key = due.row("a", -5)
    assert sweep.sweep(due.ctx, until=due.ctx.clock.now()) == 0
    assert due.sent() == []
    assert due.due_at(key) == due.now - 5_000


@pytest.mark.usefixtures("alone")
def test_a_sweep_whose_time_ends_between_marks_nothing_more(due: Due) -> None:
    due.row("first", -9)
    late = due.row("second", -5, host="other.example")
    real = due.queues.send_refresh

    def slow(*message: Any) -> None:
        real(*message)
        due.ctx.clock.advance(30)

    due.queues.send_refresh = slow  # type: ignore[method-assign]
    assert sweep.sweep(due.ctx, until=due.ctx.clock.now() + 20) == 1
    assert due.sent() == [["first"]]
    assert due.due_at(late) == due.now - 5_000, "the next sweep finds it where it was"


@pytest.mark.parametrize("changed", ["due_at", "generation"])
def test_what_changed_since_it_was_read_is_left_to_whoever_changed_it(
    due: Due, changed: str
) -> None:
    key = due.row("a")
    due.row("b")
    real = due.ctx.store.query

    def query(*place: Any, **options: Any) -> Any:
        page = real(*place, **options)
        if place[1] == shard_of("a"):
            value = due.now + 1 if changed == "due_at" else "newer"
            due.ctx.store.update(Update(key, set={changed: value}))
        return page

    due.ctx.store.query = query
    assert sweep.sweep(due.ctx) == 1
    assert due.sent() == [["b"]]
    assert due.due_at(key) <= due.now + 1


def test_a_batch_of_which_nothing_is_left_sends_no_message(due: Due) -> None:
    key = due.row("a")
    real = due.ctx.store.query

    def query(*place: Any, **options: Any) -> Any:
        page = real(*place, **options)
        if page.items:
            due.ctx.store.delete(key)
        return page

    due.ctx.store.query = query
    assert sweep.sweep(due.ctx) == 0
    assert due.queues.refresh == []


def test_what_the_queue_does_not_take_is_not_counted_and_comes_due_again(due: Due) -> None:
    key = due.row("a")
    due.queues.unavailable = True
    assert sweep.sweep(due.ctx) == 0
    assert due.due_at(key) == due.now + MINUTES_10
    due.queues.unavailable = False
    due.ctx.clock.advance(600)
    assert sweep.sweep(due.ctx) == 1


def test_once_the_table_takes_no_marks_no_further_batch_is_begun(due: Due) -> None:
    for number in range(30 * 25):
        due.row(f"c{number}", host=f"host{number % 30}.example")
    tried: list[Any] = []

    def away(operation: Any) -> Any:
        tried.append(operation)
        raise StoreUnavailable("away")

    due.ctx.store.update = away
    with pytest.raises(StoreUnavailable):
        sweep.sweep(due.ctx)
    assert 1 <= len(tried) <= len(all_shards()), "one for each thread"


@pytest.mark.parametrize(("late", "told"), [(60, None), (61, 61.0), (3_600, 3_600.0)])
def test_the_alarm_hears_how_late_the_oldest_is_once_it_is_over_a_minute(
    due: Due, monkeypatch: pytest.MonkeyPatch, late: float, told: float | None
) -> None:
    due.row("a", -late)
    due.row("b", -late / 2)
    found: dict[str, float] = {}
    monkeypatch.setattr(metrics, "longest", found.__setitem__)
    sweep.sweep(due.ctx)
    assert found == ({} if told is None else {metrics.OLDEST_DUE: told})


def test_what_a_sweep_tells_the_alarm_is_written_at_its_end(
    due: Due, capsys: pytest.CaptureFixture[str]
) -> None:
    due.row("a", -120)
    sweep.sweep(due.ctx)
    (line,) = (json.loads(text) for text in capsys.readouterr().out.splitlines() if "_aws" in text)
    assert line[metrics.OLDEST_DUE] == [120.0]
