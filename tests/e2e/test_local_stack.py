"""The local stack itself: it comes up, keeps what it was given, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from local.harness import RunningStack

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {
    "version",
    "environment",
    "api_url",
    "websocket_url",
    "connect_ui_url",
    "callback_url",
    "demo_url",
    "secret_key",
    "account_key",
    "public_key",
    "webhook_signing_key",
}


@pytest.fixture
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {stack.keys['secret_key']}"}
    with httpx.Client(
        base_url=stack.api_url, headers=headers, trust_env=False, timeout=60
    ) as client:
        yield client


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes whose scratch files lie in a stack's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"TMPDIR={folder}".encode() in environment:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def wait_until_nothing_runs(folder: Path) -> list[str]:
    deadline = time.monotonic() + 30
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        os.sched_yield()
    return left


def test_it_answers_health(api: httpx.Client) -> None:
    answer = api.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"result": "ok"})


def test_stack_json_says_where_everything_is_and_only_its_owner_can_read_it(
    stack: RunningStack,
) -> None:
    path = stack.folder / "stack.json"
    found = json.loads(path.read_text())
    assert set(found) == FIELDS
    assert all(not str(value).endswith("/") for value in found.values())
    for private in (path, stack.folder / "state", stack.folder / "state" / "kms.json"):
        if private.exists():
            assert stat.S_IMODE(private.stat().st_mode) & 0o077 == 0


def test_its_keys_open_the_api(api: httpx.Client) -> None:
    assert api.get("/integrations").status_code == 200


def test_what_it_prints_names_the_next_page_and_no_secret(stack: RunningStack) -> None:
    assert stack.info.demo_url in stack.output
    assert not [key for key in stack.keys.values() if key in stack.output]


def test_sixty_requests_at_once_are_all_answered(api: httpx.Client) -> None:
    with ThreadPoolExecutor(60) as pool:
        statuses = set(pool.map(lambda _: api.get("/health").status_code, range(60)))
    assert statuses == {200}


def test_its_tables_end_rows_and_can_be_restored_as_on_aws(stack: RunningStack) -> None:
    formation, dynamodb = stack.client("cloudformation"), stack.client("dynamodb")
    made = formation.describe_stack_resources(StackName="keystow")["StackResources"]
    tables = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for each in made
        if each["ResourceType"] == "AWS::DynamoDB::Table"
    }
    assert len(tables) == 6
    for logical, table in tables.items():
        ends = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        assert ends.get("AttributeName") == (None if logical == "KeysTable" else "ttl")
        backups = dynamodb.describe_continuous_backups(TableName=table)
        window = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        assert window["PointInTimeRecoveryStatus"] == "ENABLED"


def test_data_and_keys_survive_a_restart(stack: RunningStack) -> None:
    body = {"provider": "unauthenticated", "unique_key": "kept"}
    keys = stack.keys
    headers = {"authorization": f"Bearer {keys['secret_key']}"}
    made = httpx.post(f"{stack.api_url}/integrations", json=body, headers=headers, timeout=60)
    assert made.status_code == 200, made.text
    stack.restart()
    assert stack.keys == keys
    found = httpx.get(f"{stack.api_url}/integrations/kept", headers=headers, timeout=60)
    assert found.status_code == 200


def test_a_second_stack_on_the_same_port_is_told_so(stack: RunningStack, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local", "run", "--port", str(stack.port)]
    ended = subprocess.run(
        [*command, "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert f"Port {stack.port}" in ended.stderr
    assert "KEYSTOW_PORT" in ended.stderr


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.xdist_group("stack")
def test_after_sigkill_no_process_lingers_and_the_state_is_there(tmp_path: Path) -> None:
    running = RunningStack(tmp_path / "local")
    running.start()
    keys = running.keys
    running.kill()
    assert wait_until_nothing_runs(running.folder) == []
    running.start()
    assert running.keys == keys
    running.stop()
    assert wait_until_nothing_runs(running.folder) == []


@pytest.mark.full
@pytest.mark.xdist_group("stack")
def test_a_lost_state_brings_new_keys_and_lost_keys_are_explained(tmp_path: Path) -> None:
    running = RunningStack(tmp_path / "local")
    running.start()
    keys = running.keys
    running.stop()
    state = running.folder / "state"
    state.rename(tmp_path / "lost")
    running.start()
    assert running.keys["secret_key"] != keys["secret_key"]
    running.stop()
    (state / "keystow-keys.json").unlink()
    with pytest.raises(Exception, match="make clean"):
        running.start()
