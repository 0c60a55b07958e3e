"""`make verify-aws`: its requests to the API, answered by the real functions of the local stack."""

from __future__ import annotations

import datetime as dt
import importlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.harness import RunningStack


class FunctionLogs:
    """What the functions have printed, as a client of CloudWatch Logs finds it."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def get_paginator(self, operation: str) -> FunctionLogs:
        assert operation == "filter_log_events"
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        term = asked["filterPattern"].strip('"')
        stream = "2026/01/31/get_connection[$LATEST]1"
        lines = [one for one in self._log.read_text("utf-8").splitlines() if term in one]
        yield {"events": [{"message": one, "logStreamName": stream} for one in lines]}


@pytest.fixture
def deployed(stack: RunningStack) -> Any:
    """The local stack, asked as a deployed one."""
    info = stack.info
    return SimpleNamespace(
        emulated=False,
        chosen={"LogLevel": "INFO"},
        outputs={
            "ApiUrl": info.api_url,
            "WebSocketUrl": info.websocket_url,
            "LogGroupName": "logs",
        },
        functions={"GetConnectionFunction": {"FunctionName": "get_connection"}},
        client={"logs": FunctionLogs(stack.folder / "functions.log")}.__getitem__,
        now=lambda: dt.datetime.now(dt.UTC),
        wait=lambda _seconds: None,
    )


@pytest.mark.parametrize(
    "name", ["API", "CORS", "large bodies", "foreign hosts", "WebSocket", "log line"]
)
def test_what_a_check_expects_is_what_the_functions_answer(deployed: Any, name: str) -> None:
    checks = importlib.import_module("verify_aws.checks").CHECKS
    findings_of = importlib.import_module("verify_aws.findings").findings_of
    (check,) = [one for one in checks if one.name == name]
    wrong = [one for one in findings_of(check, deployed) if one.outcome != "ok"]
    assert wrong == []
