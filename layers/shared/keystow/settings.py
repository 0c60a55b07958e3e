"""The settings of a deployment, read once from environment variables.

Every variable is set by ``template.yaml`` (or by the local stack, for the last two) and explained
in ``docs/settings.md``; a test fails when one is not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "KEYSTOW_"


@dataclass(frozen=True)
class Settings:
    """Names of resources and URLs; empty where a function was not given one it does not need."""

    connections_table: str = ""
    registry_table: str = ""
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
    loopback_allowed: bool = False


def load(variables: Mapping[str, str] | None = None) -> Settings:
    """Return the settings found in environment variables named ``KEYSTOW_<FIELD>``.

    Raises:
        ValueError: a switch holds something other than 0, 1, true or false.
    """
    source = os.environ if variables is None else variables
    found: dict[str, str | bool] = {}
    for field in fields(Settings):
        value = source.get(PREFIX + field.name.upper())
        if value is None:
            continue
        if isinstance(field.default, bool):
            lowered = value.strip().lower()
            if lowered not in {"", "0", "1", "true", "false"}:
                raise ValueError(f"{PREFIX}{field.name.upper()} must be 0 or 1")
            found[field.name] = lowered in {"1", "true"}
        else:
            found[field.name] = value.strip()
    return Settings(**found)  # type: ignore[arg-type]
