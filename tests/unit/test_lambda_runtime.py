"""AWS's own runtime client runs a function here, and Lambda's rule judges what it prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("awslambdaric", reason="make test installs it from requirements/dev.txt")

ROOT = Path(__file__).resolve().parents[2]
# Lambda developer guide, "Log-level filtering": these names and no other.
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def event(path: str) -> dict[str, Any]:
    """A request as API Gateway hands it to a function."""
    http = {"method": "GET", "path": path, "sourceIp": "127.0.0.1"}
    where = {"http": http, "domainName": "api.test", "requestId": "r1"}
    return {"routeKey": f"GET {path}", "rawPath": path, "requestContext": where}


class RuntimeApi:
    """The loopback end of Lambda's runtime API: hands out events, takes answers, then waits."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.answers: list[Any] = []
        self.done, self.over = threading.Event(), threading.Event()
        waiting, api = list(events), self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not waiting:
                    api.done.set()
                    api.over.wait(60)  # as Lambda does when nothing is to be done
                    return
                body = json.dumps(waiting.pop(0)).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", f"id-{len(waiting)}")
                self.send_header("Lambda-Runtime-Deadline-Ms", "9999999999999")
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:::f")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["content-length"]))
                api.answers.append(json.loads(sent))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def printed(level: str, *paths: str) -> list[str]:
    """What a function prints for Lambda when it answers these paths; no table can be reached."""
    api = RuntimeApi([event(path) for path in paths])
    folder = ROOT / "functions/answer_default"
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "layers/shared"), str(folder), *sys.path]),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server.server_port}",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "DEBUG" if level == "DEBUG" else "INFO",  # as in the template
        "KEYSTOW_LOG_LEVEL": level,
        "KEYSTOW_REGISTRY_TABLE": "registry",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    running = subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", "app.handler"],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        finished = api.done.wait(60)
    finally:
        running.kill()
        lines, errors = running.communicate()
        api.over.set()
        api.server.shutdown()
        api.server.server_close()
    assert finished, errors
    assert len(api.answers) == len(paths)
    return [line for line in lines.splitlines() if line.strip()]


def level_as_lambda_sees_it(line: str) -> str:
    """The level that Lambda gives a printed line before it filters."""
    try:
        found = json.loads(line)
    except ValueError:
        return "INFO"
    if not RFC_3339.fullmatch(str(found.get("timestamp"))):
        return "INFO"
    level = str(found.get("level")).upper()
    return level if level in LEVELS else "INFO"


@pytest.fixture(scope="module")
def warnings() -> list[str]:
    return printed("WARN", "/health", "/ready")


def test_lambda_sees_the_level_of_our_lines(warnings: list[str]) -> None:
    # /health is one line of INFO, which the level leaves out; /ready tells why it is not.
    assert [level_as_lambda_sees_it(line) for line in warnings] == ["WARN"]


def test_ready_logs_why_it_is_not(warnings: list[str]) -> None:
    line = json.loads(warnings[0])
    assert line["message"] == "not ready"
    assert line["cause"] == "StoreUnavailable"
    assert line["detail"] == "ConnectFailed"


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_each_request_leaves_a_line_at_the_usual_level(level: str) -> None:
    lines = printed(level, "/health")
    assert [(json.loads(line)["message"], level_as_lambda_sees_it(line)) for line in lines] == [
        ("request", "INFO")
    ]


def test_only_errors_are_printed_when_only_errors_are_asked_for() -> None:
    assert printed("ERROR", "/health", "/ready") == []
