"""What the stack tells those who watch it: its own state, alarms and log lines."""

from __future__ import annotations

import http.client
import json
import re
import secrets
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from verify_aws.calls import ask
from verify_aws.findings import FAILED, NOT_SEEN, NOT_YET, Finding, expect, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verify_aws.stack import Deployed

SETTLED: Final = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
POLICY: Final = Path(__file__).resolve().parent.parent / "stack-policy.json"
RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
QUIET: Final = {"OK", "INSUFFICIENT_DATA"}
HOUR: Final = 3600
DAY: Final = 24 * HOUR
PAGES: Final = 40  # of a log, each of up to 1 MB that AWS has searched
TRIES, PAUSE = 10, 3.0  # a line is there within seconds, seldom within half a minute
_HEX: Final = "[0-9a-f]" * 12
# CloudWatch finds plain terms as whole words, and regular expressions (a few signs of them, no
# parentheses) anywhere. This is what API keys and tokens of connect sessions begin with.
SECRETS: Final = f"%keystow_{_HEX}|nango_connect_session_{_HEX}%"
REFUSALS: Final = "%AccessDenied|not.authorized.to.perform%"
# Lambda's own lines, which cost as much as ours.
LAMBDA: Final = "%START.RequestId|REPORT.RequestId|platform.start|platform.report%"


def stack_stands(deployed: Deployed) -> Iterator[Finding]:
    """The last deployment ended well, and nobody ends the stack by a slip."""
    state = deployed.stack["StackStatus"]
    yield expect(state in SETTLED, f"its state is {state}")
    yield expect(
        deployed.stack.get("EnableTerminationProtection", False), "no termination protection"
    )
    found = deployed.client("cloudformation").get_stack_policy(StackName=deployed.name)
    wanted = json.loads(POLICY.read_text(encoding="utf-8"))
    policy = json.loads(found.get("StackPolicyBody") or "null")
    yield expect(policy == wanted, "its policy is not the one of make deploy")
    yield told(f"{state}, protected")


def alarms_are_quiet(deployed: Deployed) -> Iterator[Finding]:
    """Every alarm is there, does not go off, and somebody hears it."""
    names = deployed.of_type("AWS::CloudWatch::Alarm")
    client = deployed.client("cloudwatch")
    asked = {"AlarmNames": list(names.values())}
    pages = client.get_paginator("describe_alarms").paginate(**asked)
    found = {one["AlarmName"]: one for page in pages for one in page["MetricAlarms"]}
    topic = deployed.chosen.get("AlarmTopicArn", "")
    yield expect(bool(names), "the stack has no alarm")
    for logical, name in names.items():
        alarm = found.get(name)
        if alarm is None:
            yield Finding(FAILED, f"{logical} is missing")
            continue
        yield expect(alarm["StateValue"] in QUIET, f"{logical}: {alarm['StateValue']}")
        yield expect(alarm.get("ActionsEnabled", True), f"{logical} tells nobody: it is muted")
        heard = alarm.get("AlarmActions", [])
        yield expect(not topic or topic in heard, f"{logical} does not reach AlarmTopicArn")
    if not topic:
        yield told(f"{len(names)} alarms; nobody is told, there is no AlarmTopicArn")
        return
    told_of = deployed.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    yield expect(
        int(told_of.get("SubscriptionsConfirmed", 0)) > 0, "nobody is subscribed to AlarmTopicArn"
    )
    yield told(f"{len(names)} alarms, and somebody hears them")


def logs_end(deployed: Deployed) -> Iterator[Finding]:
    """The log group keeps lines as long as was chosen."""
    name = deployed.outputs["LogGroupName"]
    pages = (
        deployed.client("logs")
        .get_paginator("describe_log_groups")
        .paginate(logGroupNamePrefix=name)
    )
    groups = {one["logGroupName"]: one for page in pages for one in page["logGroups"]}
    yield expect(name in groups, "the log group is not there")
    days = groups.get(name, {}).get("retentionInDays")
    yield expect(
        str(days) == deployed.chosen["LogRetentionDays"], f"lines are kept for {days} days"
    )
    yield told(f"lines are kept for {days} days")


def a_line_is_as_it_should_be(deployed: Deployed) -> Iterator[Finding]:
    """One request with an invalid key, and the line that its function wrote about it."""
    invalid = f"verify-aws-{secrets.token_hex(16)}"
    began = _milliseconds(deployed) - 60_000  # clocks differ
    path = "/connections/verify-aws?provider_config_key=none"
    key = {"Authorization": f"Bearer {invalid}"}
    answer = ask(deployed, deployed.outputs["ApiUrl"], "GET", path, key)
    yield expect(
        answer.status == http.client.UNAUTHORIZED, f"an invalid key answered {answer.status}"
    )
    request_id = answer.headers.get("apigw-requestid", "")
    yield expect(bool(request_id), "API Gateway names no request id")
    if not request_id:
        return
    if deployed.chosen.get("LogLevel") not in {"DEBUG", "INFO"}:
        yield Finding(NOT_YET, "requests leave no line at this LogLevel")
        return
    line, _ = _found(deployed, f'"{request_id}"', began)
    for _ in range(TRIES):
        if line:
            break
        deployed.wait(PAUSE)
        line, _ = _found(deployed, f'"{request_id}"', began)
    if not line:
        yield Finding(FAILED, "the request left no line within half a minute")
        return
    try:
        said = json.loads(line["message"])
    except ValueError:
        said = None
    if not isinstance(said, dict):
        yield Finding(FAILED, "its line is no JSON object")
        return
    when = str(said.get("timestamp"))
    yield expect(said.get("level") == "INFO", "its line has no level INFO")
    yield expect(bool(RFC_3339.fullmatch(when)), "its line's time is not of RFC 3339")
    yield expect(said.get("request_id") == request_id, "its line names another request")
    function = deployed.functions["GetConnectionFunction"]["FunctionName"]
    yield expect(
        function in str(line.get("logStreamName")), "its stream is not named after the function"
    )
    leaked, _ = _found(deployed, f'"{invalid}"', began)
    yield expect(
        leaked is None and invalid not in line["message"], "the key of a request stands in the log"
    )
    yield told("JSON, level, time and request id; the key of the request is not in it")


def nothing_secret_is_logged(deployed: Deployed) -> Iterator[Finding]:
    """No line of the last day holds an API key or a session's token."""
    yield from _none(deployed, SECRETS, DAY, "a line of the last 24 hours holds a key or token")
    yield told("no key and no session token in the last 24 hours")


def lambda_is_silent(deployed: Deployed) -> Iterator[Finding]:
    """Lambda writes no lines of its own beside ours."""
    yield from _none(deployed, LAMBDA, HOUR, "Lambda writes START or REPORT lines")
    yield told("no START or REPORT line in the last hour")


def nothing_was_refused(deployed: Deployed) -> Iterator[Finding]:
    """No role lacked anything for what its function did."""
    yield from _none(deployed, REFUSALS, DAY, "AWS refused a function something; look for it")
    yield told("no AccessDenied in the last 24 hours")


def _milliseconds(deployed: Deployed) -> int:
    return int(deployed.now().timestamp() * 1000)


def _none(deployed: Deployed, pattern: str, seconds: int, wrong: str) -> Iterator[Finding]:
    """Expect that no line fits a pattern; say so when there were too many to search."""
    line, whole = _found(deployed, pattern, _milliseconds(deployed) - seconds * 1000)
    yield expect(line is None, wrong)
    if not whole:
        yield Finding(NOT_SEEN, f"over {PAGES} MB of lines: not all were searched")


def _found(deployed: Deployed, pattern: str, since: int) -> tuple[dict[str, Any] | None, bool]:
    """Return the first line that fits a pattern, and whether all lines were searched."""
    asked = {
        "logGroupName": deployed.outputs["LogGroupName"],
        "filterPattern": pattern,
        "startTime": since,
        # Else a busy log would never come to an end.
        "endTime": _milliseconds(deployed) + 60_000,
    }
    pages = iter(deployed.client("logs").get_paginator("filter_log_events").paginate(**asked))
    for page in islice(pages, PAGES):
        if page["events"]:
            return page["events"][0], True
    return None, next(pages, None) is None
