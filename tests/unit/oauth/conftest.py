"""The scripted server of the egress tests, for requests that really travel."""

from __future__ import annotations

from tests.unit.egress.conftest import egress, serve

__all__ = ["egress", "serve"]
