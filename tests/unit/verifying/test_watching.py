"""`make verify-aws`: each condition of the checks in watching.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.verifying.cases import GONE, Case, answers, both, header, identifiers, of, prove
from tests.unit.verifying.web import Web
from tests.unit.verifying.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

ALARM = "keystow-ApiErrorsAlarm"
TOPIC = "arn:aws:sns:us-east-1:111122223333:alarms"


def heard(world: World) -> None:
    world.chosen["AlarmTopicArn"] = TOPIC
    for one in world.alarms.values():
        one["AlarmActions"] = [TOPIC]


def line(**changed: Any) -> Callable[[World, Web], Any]:
    return lambda world, _web: world.line.update(changed)


def logged(part: str) -> Callable[[World, Web], Any]:
    """What the log holds that fits a pattern with this in it."""
    return lambda world, _web: world.found.__setitem__(part, "{}")


def leaked(world: World, web: Web) -> None:
    """The line holds the key that the request was made with."""
    whole = dict(world.line)
    world.line = lambda: {**whole, "key": web.sent[-1][3]["Authorization"]}


def no_group(world: World, _web: Web) -> None:
    del world.groups[0]


CASES = [
    Case("stack", "UPDATE_ROLLBACK", of("stack", "StackStatus", value="UPDATE_ROLLBACK_COMPLETE")),
    Case("stack", "termination", of("stack", "EnableTerminationProtection", value=False)),
    Case("stack", "policy", of("stack_policy", value={"Statement": []})),
    Case("stack", "policy", of("stack_policy", value=None)),
    Case("alarms", "ApiErrorsAlarm is missing", of("alarms", ALARM, value=GONE)),
    Case("alarms", "ApiErrorsAlarm: ALARM", of("alarms", ALARM, "StateValue", value="ALARM")),
    Case("alarms", "no alarm", lambda world, _web: world.lose("AWS::CloudWatch::Alarm")),
    Case("alarms", "muted", of("alarms", ALARM, "ActionsEnabled", value=False)),
    Case("alarms", "not reach", both(heard, of("alarms", ALARM, "AlarmActions", value=["x"]))),
    Case("alarms", "nobody is subscribed", both(heard, of("subscriptions", value="0"))),
    Case("retention", "is not there", no_group, 2),
    Case("retention", "for None days", of("groups", 0, "retentionInDays", value=GONE)),
    Case("retention", "for 90 days", of("groups", 0, "retentionInDays", value=90)),
    Case("log line", "an invalid key answered 200", answers("invalid key", status=200)),
    Case("log line", "no request id", header("invalid key", "apigw-requestid", None)),
    Case("log line", "left no line", of("line", value=None)),
    Case("log line", "no JSON object", of("line", value="START RequestId")),
    Case("log line", "no JSON object", of("line", value='"text"')),
    Case("log line", "no level INFO", line(level="WARNING")),
    Case("log line", "RFC 3339", line(timestamp="2026-01-31 12:00:00,123")),
    Case("log line", "another request", line(request_id=None)),
    Case("log line", "named after the function", of("stream", value="2026/01/31/[$LATEST]abc")),
    Case("log line", "stands in the log", logged('"verify-aws-')),
    Case("log line", "stands in the log", leaked),
    Case("secrets in logs", "holds a key or token", logged("keystow_")),
    Case("secrets in logs", "holds a key or token", logged("nango_connect_session_")),
    Case("Lambda's lines", "START or REPORT", logged("START.RequestId")),
    Case("refusals", "refused", logged("AccessDenied")),
]


@pytest.mark.parametrize("case", CASES, ids=identifiers(CASES))
def test_what_is_not_as_it_should_be_is_named(world: World, web: Web, case: Case) -> None:
    prove(world, web, case)
