"""No level of logging shows what other packages send and receive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As Lambda's runtime prepares a function: a handler on the root logger, at the function's level.
LAMBDA = """
import logging, os, sys
logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))
logging.getLogger().setLevel(os.environ["AWS_LAMBDA_LOG_LEVEL"])
"""
# A data key made and opened by KMS, an item written and read, a request to a provider.
WORK = """
import base64, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from keystow.aws.clients import client
from keystow.clock import SystemClock
from keystow.egress import Egress
from keystow.ids import SystemRandomness
from keystow.log import logger
from keystow.store.dynamodb import DynamoStore
from keystow.vault import Purpose, Vault
from keystow.vault.kms import KmsKeyWrapper
from tests.aws_server import serving
from tests.moto_tables import create_tables
from tests.support import TABLE_NAMES

class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("set-cookie", "planted-answer")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
with serving() as aws:
    os.environ["AWS_ENDPOINT_URL"] = aws.url
    create_tables(aws.botocore("dynamodb"))
    arn = aws.botocore("kms").create_key()["KeyMetadata"]["Arn"]
    store = DynamoStore(client("dynamodb"), TABLE_NAMES)
    wrapper = KmsKeyWrapper(client("kms"), arn)
    for vault in (Vault(store, wrapper, SystemClock(), SystemRandomness()) for _ in range(2)):
        vault.seal(Purpose.CREDENTIAL, "e1", ("c1",), b"planted-credential")
        ((plain, _),) = vault._cache.values()
url = f"http://127.0.0.1:{server.server_port}/?key=planted-query"
headers = {"authorization": "Bearer planted-header"}
Egress(allow_loopback=True).send(
    "POST", url, headers=headers, body=b"planted-body", deadline=5
)
server.shutdown()
logger.info("done")
found = sys.stderr.write(base64.b64encode(plain).decode())
"""


def logged(level: str) -> tuple[str, str]:
    """Run it all in a process of its own; what it logged, and the data key."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "layers/shared"), str(ROOT)]),
        "AWS_LAMBDA_LOG_LEVEL": level,
        "KEYSTOW_LOG_LEVEL": level,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "planted-id",
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
        "AWS_SESSION_TOKEN": "planted-token",
    }
    done = subprocess.run(
        [sys.executable, "-c", LAMBDA + WORK],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_only_our_own_lines_are_logged(level: str) -> None:
    lines, data_key = logged(level)

    assert [line for line in lines.splitlines() if '"message":"done"' not in line] == []
    assert '"message":"done"' in lines
    assert data_key not in lines
    assert "planted" not in lines
