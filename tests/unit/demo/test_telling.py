"""What ``make run`` tells its user."""

from __future__ import annotations

from pathlib import Path

from local.__main__ import READY, READY_WORDS
from local.stack import StackInfo

INFO = StackInfo(
    version=1,
    environment="dev",
    api_url="http://127.0.0.1:4500",
    websocket_url="ws://127.0.0.1:4500",
    connect_ui_url="http://127.0.0.1:4500/ui/connect",
    callback_url="http://127.0.0.1:4500/oauth/callback",
    demo_url="http://127.0.0.1:4500/demo",
    secret_key="s",
    account_key="a",
    public_key="p",
    webhook_signing_key="w",
    demo_provider_url="http://127.0.0.1:4501",
    emulator_url="http://127.0.0.1:4502",
    state_dir=Path(".local"),
)


def test_make_run_prints_the_callback_url_to_register():
    told = READY.format(words=READY_WORDS, seconds=1.0, info=INFO, keys="k", folder="f")
    assert "http://127.0.0.1:4500/oauth/callback\n" in told


def test_stack_json_tells_the_callback_url():
    assert INFO.as_json()["callback_url"] == "http://127.0.0.1:4500/oauth/callback"
