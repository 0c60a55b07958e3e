"""The only door to the outside: every outgoing request is checked here, then sent."""

from __future__ import annotations

from keystow.egress.client import Answer, Egress
from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.egress.guard import check_destination

__all__ = ["Answer", "Egress", "EgressFailed", "EgressRefused", "check_destination"]
