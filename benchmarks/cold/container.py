"""One container of Lambda: the real runtime client, an init, and a first event.

This process is the runtime API (Lambda developer guide, "Using the Lambda runtime API for custom
runtimes"). Init ends when the runtime client asks for its first event; from then on the quota
holds.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.quiet import Quiet, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.cold.quota import Quota

LONGEST_SECONDS: Final = 60
DEADLINE_MS: Final = 50_000
ARN: Final = "arn:aws:lambda:eu-central-1:000000000000:function:bench"


@dataclass(frozen=True)
class Start:
    """What a container took, in seconds, and what it answered.

    ``init`` is without the time in which other work on this machine had the processor;
    ``init_cpu`` and ``first_cpu`` are processor time of all its threads; ``printed`` is its log.
    """

    init: float
    first: float
    init_cpu: float
    first_cpu: float
    answer: Any
    printed: str


class _Runtime:
    """The runtime API for one container."""

    def __init__(self, event: Any, memory: int, quota: Quota | None) -> None:
        self.done = threading.Event()
        self.over = threading.Event()
        self.pid = 0
        self.started = 0.0
        self.init = self.first = self.init_cpu = self.first_cpu = 0.0
        self.answer: Any = None
        self.error = ""
        runtime = self

        class Handler(Quiet):
            def do_GET(self) -> None:  # noqa: N802 - the base class's name
                if runtime.init:
                    runtime.over.wait(LONGEST_SECONDS)  # as Lambda does then
                    return
                runtime.init = time.perf_counter() - runtime.started - _waited(runtime.pid)
                runtime.init_cpu = _cpu(runtime.pid)
                if quota is not None:
                    quota.hold(runtime.pid, memory)
                runtime.first = time.perf_counter()
                self.answer(
                    json.dumps(event).encode(),
                    Lambda_Runtime_Aws_Request_Id=str(uuid.uuid4()),
                    Lambda_Runtime_Deadline_Ms=str(int(time.time() * 1000) + DEADLINE_MS),
                    Lambda_Runtime_Invoked_Function_Arn=ARN,
                )

            def do_POST(self) -> None:  # noqa: N802 - the base class's name
                took = time.perf_counter() - runtime.first
                sent = self.body()
                if self.path.endswith("/response"):
                    runtime.first_cpu = _cpu(runtime.pid) - runtime.init_cpu
                    runtime.first, runtime.answer = took, json.loads(sent)
                else:
                    runtime.error = sent.decode()
                self.answer(b"", status=202)
                runtime.done.set()

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def start(
    python: Path,
    folder: Path,
    variables: Mapping[str, str],
    event: Any,
    memory: int,
    quota: Quota | None = None,
) -> Start:
    """Start a container, let it answer one event, and end it.

    Args:
        python: an interpreter that has the runtime client.
        folder: of the function.
        variables: its environment, without what the runtime client needs.
        event: the first event.
        memory: MB of the function.
        quota: what holds it to its share of a processor after init; None: it has all of it.

    Raises:
        RuntimeError: it failed, or did not answer in time.
    """
    runtime = _Runtime(event, memory, quota)
    whole = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime.server.server_port}",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python",
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
        "LAMBDA_TASK_ROOT": str(folder),
        **variables,
    }
    runtime.started = time.perf_counter()
    process = subprocess.Popen(
        [str(python), "-m", "awslambdaric", "app.handler"],
        cwd=folder,
        env=whole,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    runtime.pid = process.pid
    try:
        answered = runtime.done.wait(LONGEST_SECONDS)
    finally:
        process.kill()
        printed = process.communicate()[0].decode(errors="replace")
        runtime.over.set()
        runtime.server.shutdown()
        runtime.server.server_close()
    if not answered or runtime.error:
        raise RuntimeError(f"{folder.name}: {runtime.error or 'no answer'}\n{printed[-2000:]}")
    return Start(
        runtime.init, runtime.first, runtime.init_cpu, runtime.first_cpu, runtime.answer, printed
    )


def _waited(pid: int) -> float:
    """Return how long a process was ready and did not run, in seconds; 0 where nobody counts."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _cpu(pid: int) -> float:
    """Return the processor time of a process and its threads, in seconds.

    The scheduler's own count (``/proc/PID/task/*/schedstat``) is in nanoseconds; where the kernel
    keeps none, ticks of 10 ms have to do.
    """
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
