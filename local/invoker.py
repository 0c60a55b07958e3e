"""Calls deployed functions through Lambda's Invoke API."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from local.emulator import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


# Each invocation at a time is a process: hundreds at once would spend this machine on starting
# them, until all run out of time. On AWS they run side by side, up to the account's limit.
AT_ONCE: Final = 50


@dataclass(frozen=True)
class Outcome:
    """What came of an invocation: a result, or the function's error."""

    result: Any
    failed: bool = False


class Invoker:
    """Invokes functions by their logical ids; what they log is appended to a file.

    Args:
        client: of Lambda.
        names: logical id → physical name.
        log: the file.
    """

    def __init__(self, client: Any, names: Mapping[str, str], log: Path) -> None:
        self._client = client
        self._names = names
        self._log = log
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(PARALLEL, "invoke")
        self._turns: dict[str, asyncio.Semaphore] = {}

    async def invoke(self, function: str, event: Mapping[str, Any]) -> Outcome:
        """Invoke a function without holding up the event loop; what is too much waits its turn."""
        loop = asyncio.get_running_loop()
        async with self._turns.setdefault(function, asyncio.Semaphore(AT_ONCE)):
            return await loop.run_in_executor(self._threads, self.call, function, event)

    def call(self, function: str, event: Mapping[str, Any]) -> Outcome:
        """Invoke a function and wait for its result."""
        answer = self._client.invoke(
            FunctionName=self._names[function],
            Payload=json.dumps(event).encode(),
            LogType="Tail",
        )
        self._keep(function, base64.b64decode(answer.get("LogResult") or ""))
        payload = answer["Payload"].read()
        result = json.loads(payload) if payload else None
        return Outcome(result, failed=bool(answer.get("FunctionError")))

    def _keep(self, function: str, log: bytes) -> None:
        if not log.strip():
            return
        with self._lock, self._log.open("ab") as file:
            file.write(f"--- {function}\n".encode() + log.rstrip() + b"\n")
