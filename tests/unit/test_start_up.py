"""What a function loads before its first request: lists of modules, since times depend on machines.

``make bench`` measures the times; these tests say at once which import has crept in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from local.template import functions, load

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))

# Only a request that needs one of these loads it: to send something to a provider, for instance.
NEVER = {
    "anyio",
    "asyncio",
    "authlib",
    "boto3",
    "botocore.client",
    "botocore.session",
    "concurrent.futures.process",
    "http.client",
    "httpcore",
    "httpx",
    "jinja2",
    "joserfc",
    "jwt",
    "multiprocessing.context",
    "pytest",
    "requests",
    "s3transfer",
    "sqlite3",
    "unittest",
    "urllib3",
    "yaml",
}
# What reading a connection needs not even that for: bodies, catalogue checks, refreshing, events.
NEVER_WHEN_READING = NEVER | {
    "pydantic",
    "pydantic_core",
    "keystow.activity.log",
    "keystow.catalog",
    "keystow.catalog.model",
    "keystow.egress",
    "keystow.events.outbox",
    "keystow.http.validation",
    "keystow.modes",
    "keystow.oauth",
    "keystow.queues",
    "keystow.refresh.commit",
    "keystow.refresh.engine",
    "keystow.sessions.tokens",
    "keystow.sockets",
}
# Bodies are checked with pydantic; who takes no body does without.
TAKES_BODIES = {
    "confirm_connection",
    "create_session",
    "import_connection",
    "manage_environment",
    "manage_integrations",
    "manage_providers",
    "oauth_callback",
    "read_session",
    "start_oauth",
    "submit_credentials",
    "update_connection",
}

PROGRAM = """
import json, sys
import app
from keystow import context
ctx = context.current()
for part in sys.argv[1:]:
    getattr(ctx, part)
print(json.dumps(sorted(sys.modules)))
"""


@lru_cache
def loaded(folder: str, *parts: str) -> frozenset[str]:
    """The modules of a fresh interpreter that has imported a function."""
    paths = [str(ROOT / "layers" / "shared"), str(ROOT / "functions" / folder)]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *parts],
        env=variables,
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT / "functions" / folder,
    )
    assert done.returncode == 0, done.stderr
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


def test_every_function_of_the_template_is_looked_at() -> None:
    named = {
        Path(each["CodeUri"]).name for each in functions(load(ROOT / "template.yaml")).values()
    }
    assert named == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_function_starts_without_what_few_requests_need(folder: str) -> None:
    unwanted = NEVER if folder in TAKES_BODIES else NEVER | {"pydantic"}
    assert loaded(folder) & unwanted == set()


def test_reading_a_connection_starts_with_what_it_needs_and_no_more() -> None:
    assert loaded("get_connection", "store", "vault") & NEVER_WHEN_READING == set()


def test_reading_a_connection_makes_its_clients_of_aws() -> None:
    # Else the lists above would hold nothing against a start that loads something else instead.
    found = loaded("get_connection", "store", "vault")
    assert {"keystow.aws.client", "cryptography.hazmat.primitives.ciphers.aead"} <= found


def test_serving_the_connect_ui_needs_neither_tables_nor_keys() -> None:
    found = loaded("connect_ui")
    assert found & {"keystow.store.dynamodb", "keystow.aws.client", "pydantic"} == set()
