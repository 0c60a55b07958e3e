"""What a function loads when it starts and in its first request, as lists of modules.

``make bench`` measures the times; these tests say at once what has crept in. Each function runs its
usual first event, in a fresh interpreter, against rows in memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import pytest
import versions

from benchmarks import child
from benchmarks.cold import firsts, measuring, places
from keystow import needs
from keystow.aws import clients
from keystow.aws.errors import AwsUnanswered
from keystow.needs import EGRESS, INVOKER, PARTS
from local.template import functions, load

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))

# Nothing that starts loads one of these: they serve tests, tools and other ways of doing the same.
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
# What reading a connection needs in no usual request: bodies, catalogue checks, refreshing, events.
NEVER_WHEN_READING = NEVER | {
    "pydantic",
    "pydantic_core",
    "keystow.activity.log",
    "keystow.catalog",
    "keystow.catalog.model",
    "keystow.egress",
    "keystow.events.outbox",
    "keystow.http.validation",
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
    "list_providers",  # a browser's session shows which
    "manage_environment",
    "manage_incidents",
    "manage_integrations",
    "manage_providers",
    "oauth_callback",
    "read_session",
    "start_oauth",
    "submit_credentials",
    "update_connection",
}
# Python's own, of some milliseconds at most; nobody can say beforehand which a text needs.
MAY_COME_LATE = {"unicodedata", "encodings.utf_16_be", "encodings.utf_16_le", "zlib"}

PROGRAM = """
import json, sys
import app
from keystow import context

class Lambda:
    invoked_function_arn = "arn:aws:lambda:eu-central-1:000000000000:function:one"
    def get_remaining_time_in_millis(self):
        return 50_000

started = sorted(sys.modules)
answer = app.handler(json.load(sys.stdin), Lambda())
print(json.dumps({
    "needs": app.NEEDS,
    "started": started,
    "late": sorted(set(sys.modules) - set(started)),
    "parts": sorted(vars(context.current())),
    "answer": answer,
}))
"""


# Containers that are restored from one snapshot have whatever was drawn before it.
DRAWING = """
import os, random, sys

before, system = random.getstate(), os.urandom
drawn = []

def urandom(size):
    drawn.append(size)
    return system(size)

os.urandom = random._urandom = urandom
import app
assert random.getstate() == before, "of Python's own generator"
print(app.NEEDS and len(drawn))
os.urandom(1)
random.SystemRandom().random()
print(len(drawn))
"""


@dataclass(frozen=True)
class Ran:
    """A container after its first request: what was declared, and what was loaded when."""

    needs: tuple[str, ...]
    started: frozenset[str]
    late: frozenset[str]
    parts: frozenset[str]
    asked: int  # requests to AWS


def asked(aws: str) -> int:
    """How many requests the stub of AWS has answered."""
    with urllib.request.urlopen(aws, timeout=5) as answer:
        return sum(json.load(answer).values())


@dataclass(frozen=True, eq=False)
class World:
    """Where AWS and a provider are, and each function's first event."""

    events: dict[str, firsts.First]
    aws: str
    trust: Path

    def run(self, folder: str, program: str, more: dict[str, str], given: str = "") -> list[str]:
        """Run a program beside a function, in a fresh interpreter; return what it prints."""
        layer, function = ROOT / "layers" / "shared", ROOT / "functions" / folder
        variables = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("AWS_", "KEYSTOW_"))
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={
                **variables,
                **measuring.variables_of(self.aws),
                **more,
                "PYTHONPATH": os.pathsep.join(map(str, (function, self.trust, layer))),
            },
            input=given,
            check=False,
            capture_output=True,
            text=True,
            cwd=function,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    @cache  # noqa: B019 - there is one world, and it lives as long as the tests do
    def ran(self, folder: str, *, opens: bool = True) -> Ran:
        """Run a function's first event; ``opens``: as in Lambda, where needs are opened first."""
        measuring.begin_anew(self.aws)
        in_lambda = {"AWS_LAMBDA_FUNCTION_NAME": "one"} if opens else {}
        event = json.dumps(self.events[folder].event)
        before = asked(self.aws)
        found: dict[str, Any] = json.loads(self.run(folder, PROGRAM, in_lambda, event)[-1])
        assert self.events[folder].fits(found["answer"]), found["answer"]
        return Ran(
            tuple(found["needs"]),
            *(frozenset(found[name]) for name in ("started", "late", "parts")),
            asked(self.aws) - before,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("world")
    certificate, key = places.trusted(home, Path(certifi.__file__).parent)
    given = {"certificate": str(certificate), "key": str(key)}
    with child.serving("benchmarks.cold.provider_stub", given) as provider:
        made, events, _refused = firsts.made(f"https://127.0.0.1:{provider}")
        with child.serving("benchmarks.aws_stub", made.as_stub()) as aws:
            yield World(events, f"http://127.0.0.1:{aws}", home / "trust")


def test_every_function_of_the_template_is_looked_at() -> None:
    named = {
        Path(each["CodeUri"]).name for each in functions(load(ROOT / "template.yaml")).values()
    }
    assert named == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_first_request_finds_all_that_it_needs_loaded(folder: str, world: World) -> None:
    ran = world.ran(folder)
    assert ran.late - MAY_COME_LATE == set()
    lazily = world.ran(folder, opens=False)
    assert lazily.parts - ran.parts == set()


@pytest.mark.parametrize(("folder", "most"), [("oauth_callback", 13), ("submit_credentials", 14)])
def test_an_authorization_asks_aws_no_more_often_than_it_must(
    folder: str, most: int, world: World
) -> None:
    """Most of them one after another, each 4 ms or more: the person is waiting."""
    assert 0 < world.ran(folder).asked <= most


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_function_opens_nothing_that_its_usual_first_request_does_not_use(
    folder: str, world: World
) -> None:
    ran = world.ran(folder, opens=False)
    assert len(set(ran.needs)) == len(ran.needs)
    for need in ran.needs:
        if need in PARTS - {INVOKER}:
            assert need in ran.parts, need
        elif need not in PARTS:
            assert need in ran.late, f"{need} is loaded anyway, or not at all"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_function_starts_without_what_no_usual_request_needs(folder: str, world: World) -> None:
    ran = world.ran(folder)
    unwanted = NEVER if folder in TAKES_BODIES else NEVER | {"pydantic"}
    if EGRESS in ran.needs:
        # httpcore takes anyio where that is installed: beside the tests, not in the layer.
        unwanted = unwanted - {"anyio", "httpcore"}
    assert ran.started & unwanted == set()


def test_reading_a_connection_starts_with_what_it_needs_and_no_more(world: World) -> None:
    ran = world.ran("get_connection")
    assert ran.started & NEVER_WHEN_READING == set()
    # Else the lists above would hold nothing against a start that loads something else instead.
    assert {"keystow.aws.client", "cryptography.hazmat.primitives.ciphers.aead"} <= ran.started
    assert {"store", "vault"} <= ran.parts


@pytest.mark.parametrize("folder", ["answer_default", "connect_ui"])
def test_what_reads_no_table_opens_neither_tables_nor_keys(folder: str, world: World) -> None:
    found = world.ran(folder).started
    assert found & {"keystow.store.dynamodb", "keystow.aws.client", "pydantic", "httpcore"} == set()


@pytest.mark.parametrize("name", versions.FUNCTIONS)
def test_what_starts_from_a_snapshot_draws_no_random_number_before_it(
    name: str, world: World
) -> None:
    folder = Path(functions(load(ROOT / "template.yaml"))[name]["CodeUri"]).name
    beforehand = {
        "AWS_LAMBDA_FUNCTION_NAME": "one",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
    }
    at_init, afterwards = world.run(folder, DRAWING, beforehand)
    assert int(at_init) == 0
    assert int(afterwards) == 2  # else nothing above would have been noticed


@pytest.mark.parametrize(("kind", "connects"), [("on-demand", True), ("snap-start", False)])
def test_connections_are_opened_at_init_when_the_first_request_follows_at_once(
    kind: str, connects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    class Client:
        def __init__(self, name: str) -> None:
            self.name = name

        def open(self) -> None:
            opened.append(self.name)
            raise AwsUnanswered("connect")  # the first request tells, if it lasts

    made = {("dynamodb", ""): Client("dynamodb"), ("kms", ""): Client("kms")}
    monkeypatch.setattr(clients, "_clients", made)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "one")
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    needs.open_now("keystow.needs")
    assert opened == (["dynamodb", "kms"] if connects else [])


def test_outside_of_lambda_nothing_is_opened(world: World) -> None:
    ran = world.ran("send_webhook", opens=False)
    assert {"keystow.store.dynamodb", "httpcore"} & ran.started == set()
