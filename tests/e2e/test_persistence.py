"""What was connected is still there, and still refreshes, after the stack was stopped."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e import driving

if TYPE_CHECKING:
    from local.harness import RunningStack


@pytest.mark.parametrize(
    "ending", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)]
)
def test_a_connection_survives_the_end_of_the_stack(
    stack: RunningStack, ending: signal.Signals
) -> None:
    with driving.client(stack) as api:
        made = driving.connect(stack, api, "demo")["connection_id"]
        before = driving.done(driving.read(api, "demo", made, refresh_token="true"))["credentials"]
    process = stack._process
    assert process is not None
    os.kill(process.pid, ending)
    process.wait(60)
    stack.restart()
    with driving.client(stack) as api, driving.browser() as web:
        found = driving.done(driving.read(api, "demo", made))["credentials"]
        forced = driving.done(driving.read(api, "demo", made, force_refresh="true"))["credentials"]
        given = {"authorization": f"Bearer {forced['access_token']}"}
        seen = web.get(f"{stack.info.demo_provider_url}/api/me", headers=given)
    assert process.returncode == 0
    assert before["refresh_token"]
    assert found["access_token"] == before["access_token"]
    assert forced["access_token"] != before["access_token"]
    assert seen.status_code == 200
