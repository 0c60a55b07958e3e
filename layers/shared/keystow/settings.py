"""The settings of a deployment, read once from environment variables.

Every variable is set by ``template.yaml`` (or by the local stack, for the last two) and explained
in ``docs/settings.md``; a test fails when one is not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "KEYSTOW_"
TRACED = "Active"  # of ``tracing``, and of the template's Tracing


class Settings(Value):
    """Names of resources and URLs; empty where a function was not given one it does not need."""

    connections_table: str = ""
    registry_table: str = ""
    keys_table: str = ""
    sessions_table: str = ""
    events_table: str = ""
    activity_table: str = ""
    kms_key_id: str = ""
    refresh_queue_url: str = ""
    webhook_queue_url: str = ""
    webhook_dead_letter_url: str = ""
    websocket_endpoint: str = ""
    websocket_url: str = ""
    public_url: str = ""
    environment_names: str = "dev,prod"
    log_level: str = "INFO"
    stack_name: str = "keystow"
    attempts_per_session: int = 30
    attempts_per_end_user: int = 60
    connections_per_session: int = 20
    connections_per_end_user: int = 50
    slow_verifications_per_session: int = 3
    slow_verifications_per_end_user: int = 6
    tracing: str = "Disabled"
    loopback_allowed: bool = False


def load(variables: Mapping[str, str] | None = None) -> Settings:
    """Return the settings found in environment variables named ``KEYSTOW_<FIELD>``.

    Raises:
        ValueError: a switch holds something other than 0, 1, true or false, or a number is none.
    """
    source = os.environ if variables is None else variables
    found: dict[str, str | int] = {}
    for name in Settings.names():
        value = source.get(PREFIX + name.upper())
        if value is None:
            continue
        if isinstance(getattr(Settings, name), bool):
            lowered = value.strip().lower()
            if lowered not in {"", "0", "1", "true", "false"}:
                raise ValueError(f"{PREFIX}{name.upper()} must be 0 or 1")
            found[name] = lowered in {"1", "true"}
        elif isinstance(getattr(Settings, name), int):
            if not (value.strip().isascii() and value.strip().isdecimal()):
                raise ValueError(f"{PREFIX}{name.upper()} must be a number, 0 or more")
            found[name] = int(value)
        else:
            found[name] = value.strip()
    return Settings(**found)  # type: ignore[arg-type]
