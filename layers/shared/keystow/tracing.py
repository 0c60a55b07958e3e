"""Traces that show the calls of AWS and of providers (AWS X-Ray, "segment documents").

Lambda records a segment for each invocation; what happens inside it is told here, one subsegment
for each call, by UDP to the daemon beside the function. AWS's SDK for this would double the time
that a small function takes to start, so the few fields that are needed are written here. Imported
only where ``Tracing`` is on. A subsegment holds service and operation, or host, method and status:
never a path, a query, a header or a body. Nothing here can make a call fail.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from contextlib import suppress
from typing import Any, Final, Literal

_HEADER: Final = b'{"format": "json", "version": 1}\n'
_THROTTLED: Final = 429
_REFUSED: Final = range(400, 500)
_FAULT: Final = 500
_NOT_IN_NAMES: Final = str.maketrans("", "", "\"'<>\\`{}[]|^~;,!?*()$")
_LONGEST_NAME: Final = 200

Namespace = Literal["aws", "remote"]


def tell_of_call(service: str, operation: str, began: float, status: int | None) -> None:
    """Send the subsegment of a call of AWS (:mod:`keystow.aws`), if this invocation is traced.

    Args:
        service: its title.
        operation: its name.
        began: epoch seconds.
        status: of the last answer; None when none came.
    """
    about = {"aws": {"operation": operation}, "http": {"response": {"status": status or 0}}}
    tell(service, "aws", began, status=status, about=about)


def tell(
    name: str,
    namespace: Namespace,
    began: float,
    *,
    status: int | None,
    about: dict[str, Any],
) -> None:
    """Send one subsegment, if this invocation is traced.

    Args:
        name: service or host.
        namespace: ``aws``, or ``remote`` for everybody else.
        began: epoch seconds.
        status: of the answer; None when none came.
        about: further fields of the document; nothing secret.
    """
    trace = _trace()
    if trace is None:
        return
    root, parent, daemon = trace
    document = {
        "type": "subsegment",
        "id": secrets.token_hex(8),
        "trace_id": root,
        "parent_id": parent,
        "name": name.translate(_NOT_IN_NAMES)[:_LONGEST_NAME] or "unknown",
        "namespace": namespace,
        "start_time": began,
        "end_time": time.time(),
        "fault": status is None or status >= _FAULT,
        "error": status is not None and status in _REFUSED,
        "throttle": status == _THROTTLED,
        **about,
    }
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.setblocking(False)
        way.sendto(_HEADER + json.dumps(document).encode(), daemon)


def _trace() -> tuple[str, str, tuple[str, int]] | None:
    """Return trace, segment and daemon of this invocation; None when it is not sampled."""
    parts = dict(
        part.strip().partition("=")[::2]
        for part in os.environ.get("_X_AMZN_TRACE_ID", "").split(";")
    )
    host, _, port = os.environ.get("AWS_XRAY_DAEMON_ADDRESS", "").rpartition(":")
    if parts.get("Sampled") != "1" or not host or not port.isdecimal():
        return None
    if "Root" not in parts or "Parent" not in parts:
        return None
    return parts["Root"], parts["Parent"], (host, int(port))
