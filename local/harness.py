"""Starts and stops the local stack from a program (tests, benchmarks), as ``make run`` does it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from local.__main__ import READY_WORDS as READY
from local.emulator import free_port
from local.errors import LocalStackError
from local.stack import PROJECT, StackInfo

if TYPE_CHECKING:
    from pathlib import Path

_START_SECONDS = 120
_STOP_SECONDS = 60


class RunningStack:
    """A local stack in a process of its own.

    Args:
        folder: holds its state; a folder of its own keeps it apart from a user's ``make run``.
        port: its public port; a free one unless given, and the same again after a restart.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._info: StackInfo | None = None

    @property
    def info(self) -> StackInfo:
        """What ``stack.json`` says. Raises LocalStackError when it does not run."""
        if self._info is None:
            raise LocalStackError("The stack does not run")
        return self._info

    @property
    def api_url(self) -> str:
        """The address of the API, without trailing slash."""
        return self.info.api_url

    @property
    def keys(self) -> dict[str, str]:
        """The keys by their names in ``stack.json``."""
        names = ("secret_key", "account_key", "public_key", "webhook_signing_key")
        return {name: getattr(self.info, name) for name in names}

    @property
    def output(self) -> str:
        """What it has printed since it was started."""
        return (self.folder / "output.log").read_text(encoding="utf-8", errors="replace")

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulator, to look at tables, queues and logs."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.info.emulator_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the emulator takes anything
        )

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            LocalStackError: it did not come up; the text holds what it printed.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [sys.executable, "-u", "-m", "local", "run", "--folder", str(self.folder)]
        with (self.folder / "output.log").open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), "--with-parent"],
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while READY not in self.output:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LocalStackError(f"The local stack did not start:\n{self.output}")
            time.sleep(0.1)
        inside = {**self._read("inside.json"), "state_dir": self.folder}
        self._info = StackInfo(**self._read("stack.json"), **inside)

    def _read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return found

    def stop(self) -> None:
        """Stop it as SIGTERM does and wait until its state is written."""
        process, self._process = self._process, None
        self._info = None
        if process is None:
            return
        assert process.stdin is not None
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()

    def restart(self) -> None:
        """Stop and start it; data, keys and port stay."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
