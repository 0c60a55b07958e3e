"""The function translates SQS batches and schedule events, and nothing else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from keystow import context
from tests.support import FakeEgress, make_context
from tests.unit.events.sending import row, written_event

APP = Path(__file__).parents[3] / "functions" / "send_webhook" / "app.py"


@pytest.fixture
def app() -> Any:
    spec = importlib.util.spec_from_file_location("send_webhook_app", APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def records(*bodies: str) -> dict[str, Any]:
    return {"Records": [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]}


def test_a_batch_answers_with_what_must_come_again(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx: Any = make_context(egress=FakeEgress(200))
    monkeypatch.setattr(context, "_current", ctx)
    event_id = written_event(ctx)
    good = json.dumps({"event_id": event_id, "endpoint": 0, "attempt": 1})

    answer = app.handler(records("not json", good), None)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert row(ctx, event_id)["state"] == "delivered"


def test_the_schedule_sweeps(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx: Any = make_context()
    monkeypatch.setattr(context, "_current", ctx)
    written_event(ctx)
    ctx.clock.advance(61)

    answer = app.handler({"source": "aws.events", "detail-type": "Scheduled Event"}, None)

    assert answer == {"queued": 1}
    assert len(ctx.queues.webhook) == 1
