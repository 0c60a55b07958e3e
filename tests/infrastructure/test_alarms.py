"""Each alarm looks at something that is there, and tells people what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keystow import metrics
from local import template as templates
from tests.unit.docs.reading import sections

ROOT = Path(__file__).resolve().parents[2]
RESOURCES: dict[str, Any] = templates.load(ROOT / "template.yaml")["Resources"]
ALARMS = {n: e for n, e in RESOURCES.items() if e["Type"] == "AWS::CloudWatch::Alarm"}
RUNBOOK = sections((ROOT / "docs/aws.md").read_text("utf-8"), 3)
CODE = "".join(
    path.read_text("utf-8")
    for path in (ROOT / "layers/shared/keystow").rglob("*.py")
    if path.name != "metrics.py"
)
OURS = {name: value for name, value in vars(metrics).items() if name.isupper()}
METRICS = {value: name for name, value in OURS.items() if isinstance(value, str)}
del METRICS[metrics.NAMESPACE]


@pytest.mark.parametrize("name", ALARMS)
def test_every_alarm_has_a_section_that_says_what_to_do(name: str) -> None:
    assert len(RUNBOOK[name.removesuffix("Alarm")].split()) > 10


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_of_our_own_looks_at_a_metric_that_the_code_sends(name: str) -> None:
    properties = ALARMS[name]["Properties"]
    if properties["Namespace"] != metrics.NAMESPACE:
        return
    assert properties["MetricName"] in METRICS
    assert properties["Dimensions"] == [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}]


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_counted_somewhere(metric: str) -> None:
    by_outcome = {metrics.WEBHOOKS_DELIVERED, metrics.WEBHOOKS_RETRIED, metrics.WEBHOOKS_FAILED}
    wanted = "webhook(" if metric in by_outcome else METRICS[metric]
    assert f"metrics.{wanted}" in CODE


def test_the_dashboard_shows_all_metrics_and_no_other() -> None:
    body = json.loads(RESOURCES["Overview"]["Properties"]["DashboardBody"]["Fn::Sub"])
    shown = {line[1] for each in body["widgets"] for line in each["properties"].get("metrics", ())}
    assert shown == set(METRICS)


def test_what_api_gateway_turned_away_is_counted_in_its_log() -> None:
    (made,) = RESOURCES["GatewayThrottled"]["Properties"]["MetricTransformations"]
    watched = RESOURCES["GatewayThrottledAlarm"]["Properties"]
    assert made["MetricNamespace"] == watched["Namespace"]
    assert made["MetricName"] == watched["MetricName"]
    assert RESOURCES["GatewayThrottledAlarm"]["Condition"] == "HasAccessLog"
