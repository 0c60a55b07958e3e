"""The function of integrations, as its clients call it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.integration.integrations.calls import call, forget_catalogue, use_catalogue
from tests.support import make_context, seed_environment


@pytest.fixture
def api(monkeypatch, tmp_path):
    use_catalogue(monkeypatch, tmp_path)
    ctx = make_context()
    seeded = seed_environment(ctx)

    def send(method: str, path: str, body: Any = None, key: str = seeded.secret_key) -> Any:
        route = "/integrations"
        if path.partition("?")[0].startswith("/integrations/"):
            route = path if path == "/integrations/quickstart" else "/integrations/{uniqueKey}"
        return call(ctx, "manage_integrations", f"{method} {route}", path, key=key, body=body)

    yield SimpleNamespace(ctx=ctx, seeded=seeded, send=send, environment=seeded.environment.id)
    forget_catalogue()
