"""The guarded way out where ``Tracing`` is on: each exchange shows in the trace, by its host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keystow import tracing
from keystow.egress.client import Egress

if TYPE_CHECKING:
    from keystow.egress.client import Answer


class TracedEgress(Egress):
    """The guarded way out, which tells of each exchange."""

    def send(self, method: str, url: str, **options: Any) -> Answer:
        """As :meth:`Egress.send`."""
        began = time.time()
        status: int | None = None
        try:
            answer = super().send(method, url, **options)
            status = answer.status
            return answer
        finally:
            told: dict[str, Any] = {"request": {"method": method.upper()}}
            if status is not None:
                told["response"] = {"status": status}
            tracing.tell(_host(url), "remote", began, status=status, about={"http": told})


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "unknown"
    except ValueError:
        return "unknown"
