"""The examples of the documentation run as they stand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e import driving

if TYPE_CHECKING:
    import httpx

    from local.harness import RunningStack

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
MODULES = ROOT / "tests" / "clients" / "node_modules"


def run(stack: RunningStack, command: list[str], folder: Path) -> str:
    """Run an example from a folder of its own and return what it printed."""
    bin_folder = Path(sys.executable).parent
    environment = {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "KEYSTOW_STACK": str(stack.folder / "stack.json"),
    }
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_curl_example_stores_and_reads_a_credential(
    stack: RunningStack, tmp_path: Path
) -> None:
    printed = run(stack, ["bash", str(EXAMPLES / "quickstart.sh")], tmp_path)
    stored, found = (json.loads(line) for line in printed.splitlines() if line)
    assert stored["id"] == found["id"]
    assert found["credentials"]["type"] == "API_KEY"


def test_the_node_example_makes_a_link_and_reads_what_is_connected(
    stack: RunningStack, api: httpx.Client, tmp_path: Path
) -> None:
    body = {
        "provider_config_key": "demo-api-key",
        "connection_id": "of-the-example",
        "end_user": {"id": "user-1"},
        "credentials": {"type": "API_KEY", "apiKey": "demo-key-ada-0001"},
    }
    driving.done(api.post("/connections", json=body))
    shutil.copy(EXAMPLES / "quickstart.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(MODULES)
    printed = run(stack, [str(Path(sys.executable).with_name("node")), "quickstart.mjs"], tmp_path)
    assert f"{stack.info.connect_ui_url}/?session_token=nango_connect_session_" in printed
    assert "demo-api-key of-the-example API_KEY" in printed
