"""Counts of an invocation, written as one line of CloudWatch's embedded metric format at its end.

A metric is paid for in each hour in which it is sent, so nothing is sent that did not happen; and
for each value of a dimension, so the stack is the only one: hosts, of which end users may name any
number, stand beside the numbers in the line and can be asked for in Logs Insights.

Powertools' metrics are loaded when there is something to write: a plain read pays nothing.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Final

NAMESPACE: Final = "Keystow"
HOSTS_SHOWN: Final = 20  # of one line, those with the most

# What alarms and the dashboard are made of; template.yaml names no other.
REFRESHED: Final = "Refreshed"
REFRESH_FAILED: Final = "RefreshFailed"
TOKENS_LOST: Final = "TokensLost"
SECRETS_UNOPENED: Final = "SecretsUnopened"
FAULTS: Final = "Faults"
PROVIDER_ERRORS: Final = "ProviderErrors"
KEY_UNUSABLE: Final = "KeyUnusable"
OLDEST_DUE: Final = "OldestDueSeconds"
OLDEST_WEBHOOK: Final = "OldestWebhookSeconds"
WEBHOOKS_DELIVERED: Final = "WebhooksDelivered"
WEBHOOKS_RETRIED: Final = "WebhooksRetried"
WEBHOOKS_FAILED: Final = "WebhooksFailed"

_lock = threading.Lock()
_counts: Counter[str] = Counter()
_hosts: Counter[str] = Counter()
_longest: dict[str, float] = {}


def count(name: str, host: str = "") -> None:
    """Count that something happened, and at which host; written by :func:`flush`."""
    with _lock:
        _counts[name] += 1
        if host:
            _hosts[f"{name} {host}"] += 1


def webhook(outcome: str) -> None:
    """Count what became of a delivery (``events.delivery.Outcome``), unless it was skipped."""
    names = {
        "delivered": WEBHOOKS_DELIVERED,
        "retrying": WEBHOOKS_RETRIED,
        "failed": WEBHOOKS_FAILED,
        "stopped": WEBHOOKS_FAILED,
    }
    if outcome in names:
        count(names[outcome])


def longest(name: str, seconds: float) -> None:
    """Note how long something has waited; the longest of an invocation is written."""
    with _lock:
        _longest[name] = max(seconds, _longest.get(name, 0.0))


def flush() -> None:
    """Write what was counted since the last time, if anything was."""
    if not (_counts or _longest):
        return
    with _lock:
        counts, waits, hosts = dict(_counts), dict(_longest), _hosts.most_common(HOSTS_SHOWN)
        _counts.clear()
        _longest.clear()
        _hosts.clear()
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    line = EphemeralMetrics(
        namespace=NAMESPACE, service=os.environ.get("KEYSTOW_STACK_NAME") or "keystow"
    )
    for name, number in counts.items():
        line.add_metric(name=name, unit=MetricUnit.Count, value=number)
    for name, seconds in waits.items():
        line.add_metric(name=name, unit=MetricUnit.Seconds, value=seconds)
    if hosts:
        line.add_metadata("hosts", dict(hosts))
    line.flush_metrics()
