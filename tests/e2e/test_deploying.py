"""`make deploy` and `make bootstrap` with SAM's own command, on the emulator instead of AWS."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local import template as templates
from local.emulator import Emulator, complete_tables
from local.payload import Arrival, event
from local.routing import Router

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("deploying")]

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-sam/bin/python"
REGION = "us-east-1"
TEMPLATE = templates.load(ROOT / "template.yaml")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The emulator's address."""
    folder = tmp_path_factory.mktemp("aws")
    with (folder / "lock").open("wb") as lock, Emulator(folder, ROOT, lock.fileno()) as emulator:
        yield emulator.url


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as `make build` leaves it, but for this machine's processor: no packages."""
    assert PYTHON.exists(), "make test-full makes .venv-sam"
    folder = tmp_path_factory.mktemp("project")
    (folder / ".venv-sam").symlink_to(ROOT / ".venv-sam")
    shutil.copy(ROOT / "template.yaml", folder)
    without = shutil.ignore_patterns("__pycache__")
    for name in ("functions", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=without)
    package = folder / "layers/shared/python/keystow"
    shutil.copytree(ROOT / "layers/shared/keystow", package, ignore=without)
    (folder / "local").mkdir()
    for name in ("__init__.py", "template.py"):
        shutil.copy(ROOT / "local" / name, folder / "local")
    return folder


class Caller:
    """Somebody at a terminal, with credentials for the account."""

    def __init__(self, project: Path, aws: str) -> None:
        self.project = project
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(project),
            "PYTHONPATH": "scripts",  # as the Makefile has it for verify-aws
            "AWS_ENDPOINT_URL": aws,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
        }

    def call(
        self, script: str, *arguments: str, answer: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a script or a module; every question that comes is answered so, and with Enter."""
        called = [script] if script == "-m" else [str(self.project / "scripts" / script)]
        typed, terminal = pty.openpty()
        try:
            os.write(typed, f"{answer}\n".encode() * 100)
            return subprocess.run(
                [PYTHON, *called, *arguments],
                cwd=self.project,
                env=self._environment,
                stdin=terminal,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
        finally:
            os.close(typed)
            os.close(terminal)

    def deploy(
        self, *arguments: str, answer: str = "", stack: str = "keystow"
    ) -> subprocess.CompletedProcess[str]:
        """As `make deploy` does after `make build`."""
        built = "--sam=--template-file template.yaml"
        return self.call("deploy.py", stack, "python3.13", *arguments, built, answer=answer)


@pytest.fixture(scope="module")
def caller(project: Path, aws: str) -> Caller:
    return Caller(project, aws)


@pytest.fixture(scope="module")
def deployed(caller: Caller, aws: str) -> subprocess.CompletedProcess[str]:
    """The first deployment."""
    done = caller.deploy()
    if done.returncode == 0:
        made = client(aws, "cloudformation").describe_stack_resources(StackName="keystow")
        names = {
            each["LogicalResourceId"]: each["PhysicalResourceId"] for each in made["StackResources"]
        }
        complete_tables(client(aws, "dynamodb"), TEMPLATE, names)
    return done


@pytest.fixture(scope="module")
def first_keys(
    deployed: subprocess.CompletedProcess[str], caller: Caller, aws: str
) -> subprocess.CompletedProcess[str]:
    """What the first call of `make bootstrap` answers."""
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    _tell_where_the_emulator_is(aws, "BootstrapKeysFunction")
    return caller.call("bootstrap.py", "keystow")


def client(aws: str, service: str) -> Any:
    """A client of one of the emulator's services."""
    return boto3.Session("test", "test", region_name=REGION).client(service, endpoint_url=aws)


def physical(aws: str, logical: str, stack: str = "keystow") -> str:
    """The name of a resource of a stack."""
    detail = client(aws, "cloudformation").describe_stack_resource(
        StackName=stack, LogicalResourceId=logical
    )["StackResourceDetail"]
    return str(detail["PhysicalResourceId"])


def outputs(aws: str) -> dict[str, str]:
    """The stack's outputs."""
    stack = client(aws, "cloudformation").describe_stacks(StackName="keystow")["Stacks"][0]
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


def _tell_where_the_emulator_is(aws: str, logical: str, stack: str = "keystow") -> None:
    """On AWS a function finds its services by itself."""
    functions, name = client(aws, "lambda"), physical(aws, logical, stack)
    known = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    variables = {**known, "AWS_ENDPOINT_URL": aws}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


class Api:
    """The deployed functions, as API Gateway calls them (the emulator cannot import its routes)."""

    def __init__(self, aws: str, key: str, stack: str = "keystow") -> None:
        self._aws, self._key, self._stack = aws, key, stack
        self._router = Router(templates.routes(TEMPLATE))

    def __call__(self, method: str, path: str, query: str = "", body: Any = None) -> Any:
        """Return status and JSON of an answer."""
        headers = [("authorization", f"Bearer {self._key}"), ("content-type", "application/json")]
        content = b"" if body is None else json.dumps(body).encode()
        match = self._router.match(method, path)
        assert match is not None
        _tell_where_the_emulator_is(self._aws, match.function, self._stack)
        sent = event(
            Arrival(method, path, query, headers, content, "127.0.0.1"), match, "r", time.time()
        )
        answer = client(self._aws, "lambda").invoke(
            FunctionName=physical(self._aws, match.function, self._stack),
            Payload=json.dumps(sent).encode(),
        )
        result = json.load(answer["Payload"])
        return result["statusCode"], json.loads(result.get("body") or "null")


def test_who_answers_everything_with_enter_gets_a_stack(
    deployed: subprocess.CompletedProcess[str], caller: Caller
) -> None:
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert "EnvironmentNames [dev,prod]" in deployed.stdout
    assert "CREATE_COMPLETE" in deployed.stdout
    kept = tomllib.loads((caller.project / "samconfig-keystow.toml").read_text())
    assert kept["default"]["deploy"]["parameters"]["region"] == REGION


def test_the_first_keys_are_answered_once(
    first_keys: subprocess.CompletedProcess[str], caller: Caller
) -> None:
    assert first_keys.returncode == 0, first_keys.stderr
    keys = json.loads(first_keys.stdout)
    assert keys["api_url"].startswith("https://")
    assert {each["environment"] for each in keys["environments"]} == {"dev", "prod"}
    again = caller.call("bootstrap.py", "keystow")
    assert json.loads(again.stdout)["already_done"] is True
    assert keys["secret_key"] not in again.stdout


@pytest.mark.usefixtures("deployed")
def test_a_later_deployment_asks_nothing_and_keeps_what_it_was_given(caller: Caller) -> None:
    changed = caller.deploy("--parameters=LogLevel=WARN", "--tags=team=crm", answer="y")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert "Region [" not in changed.stdout
    unchanged = caller.deploy()
    assert unchanged.returncode == 0, unchanged.stdout + unchanged.stderr
    assert "up to date" in unchanged.stdout + unchanged.stderr
    kept = tomllib.loads((caller.project / "samconfig-keystow.toml").read_text())
    options = kept["default"]["deploy"]["parameters"]
    assert options["parameter_overrides"] == 'Runtime="python3.13" LogLevel="WARN"'
    assert options["tags"] == "team=crm"


@pytest.mark.usefixtures("deployed")
def test_a_change_that_nobody_approves_is_not_made(caller: Caller, aws: str) -> None:
    declined = caller.deploy("--parameters=LogRetentionDays=7", answer="n")
    assert "Deploy this changeset?" in declined.stdout + declined.stderr
    stack = client(aws, "cloudformation").describe_stacks(StackName="keystow")["Stacks"][0]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert parameters["LogRetentionDays"] == "30"


@pytest.mark.usefixtures("deployed")
def test_one_command_looks_at_a_stack_and_takes_no_emulators_word_for_awss(
    caller: Caller,
) -> None:
    looked = caller.call("-m", "verify_aws", "keystow")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    found = outcomes(looked.stdout)
    assert len(found) >= 27
    assert set(found.values()) == {"emulated", "not shown", "not used"}
    assert found["API"] == found["purposes"] == found["log line"] == "not shown"
    assert found["functions"] == found["tables"] == found["queues"] == "emulated"
    assert "nothing was sent" in looked.stdout


@pytest.mark.usefixtures("deployed")
def test_what_is_wrong_on_an_emulator_is_named_and_fails(caller: Caller, aws: str) -> None:
    functions = client(aws, "lambda")
    stack = client(aws, "cloudformation").describe_stack_resource(
        StackName="keystow", LogicalResourceId="ReadActivityFunction"
    )
    name = stack["StackResourceDetail"]["PhysicalResourceId"]
    functions.update_function_configuration(FunctionName=name, Runtime="python3.12")
    try:
        looked = caller.call("-m", "verify_aws", "keystow")
    finally:
        functions.update_function_configuration(FunctionName=name, Runtime="python3.13")
    assert looked.returncode == 1
    assert outcomes(looked.stdout)["functions"] == "failed"
    assert "ReadActivityFunction: runtime" in looked.stdout


def outcomes(table: str) -> dict[str, str]:
    """Check → outcome, of what `make verify-aws` prints."""
    lines = table.split("\n" + "-" * 80 + "\n")[1].splitlines()
    return {each[:16].strip(): each[16:27].strip() for each in lines if each[:16].strip()}


@pytest.mark.usefixtures("deployed")
def test_a_deployed_stack_is_protected_from_deletion(aws: str) -> None:
    formation = client(aws, "cloudformation")
    assert (
        "AWS::DynamoDB::Table" in formation.get_stack_policy(StackName="keystow")["StackPolicyBody"]
    )
    tables = [
        each["PhysicalResourceId"]
        for each in formation.describe_stack_resources(StackName="keystow")["StackResources"]
        if each["ResourceType"] == "AWS::DynamoDB::Table"
    ]
    assert tables
    for table in tables:
        found = client(aws, "dynamodb").describe_table(TableName=table)["Table"]
        assert found["DeletionProtectionEnabled"] is True


KEY = {"type": "API_KEY", "apiKey": "k-of-then"}


def store(api: Api, connection_id: str) -> None:
    """Store a connection to a provider that is asked nothing: no test calls anybody."""
    provider = {
        "display_name": "Own",
        "categories": ["other"],
        "docs": "https://example.com",
        "auth_mode": "API_KEY",
        "proxy": {"base_url": "https://example.com"},
    }
    assert api("PUT", "/providers/own", body=provider)[0] in {200, 201}
    if api("GET", "/integrations/base")[0] != 200:
        made, why = api("POST", "/integrations", body={"provider": "own", "unique_key": "base"})
        assert made == 200, why
    body = {"connection_id": connection_id, "provider_config_key": "base", "credentials": KEY}
    stored, why = api("POST", "/connections", body=body)
    assert stored == 201, why


def restored(
    caller: Caller, aws: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run `make restore`, and return the parameters that it says to deploy with."""
    for name, value in (
        ("AWS_ENDPOINT_URL", aws),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(caller.project / "scripts")
    for name in ("deploy", "deployed", "guard", "named_tables"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("restore", caller.project / "scripts/restore.py")
    assert spec is not None
    assert spec.loader is not None
    restore = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(restore)
    # The emulator can restore to this moment only; tests/unit/test_restoring.py has the check.
    monkeypatch.setattr(restore.Restore, "check", lambda _self: None)
    moment = datetime.now(UTC).isoformat()
    done = restore.main(["keystow", moment, "--yes"])
    told = capsys.readouterr()
    assert done == 0, told.err
    words = shlex.split(told.out.splitlines()[-1])
    assert words[:3] == ["make", "deploy", "STACK=keystow"]
    return words[3].removeprefix("PARAMETERS=")


def test_a_connection_that_was_lost_is_read_from_the_restored_tables(
    first_keys: subprocess.CompletedProcess[str],
    caller: Caller,
    aws: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api = Api(aws, json.loads(first_keys.stdout)["secret_key"])
    store(api, "c1")
    where = ("GET", "/connections/c1", "provider_config_key=base")
    before = api(*where)
    assert before[1]["credentials"] == KEY
    own = {name: table for name, table in outputs(aws).items() if name.endswith("TableName")}

    named = restored(caller, aws, monkeypatch, capsys)
    assert api("DELETE", "/connections/c1", "provider_config_key=base")[0] == 200
    assert api(*where)[0] == 404

    moved = caller.deploy(f"--parameters={named}", answer="y")
    assert moved.returncode == 0, moved.stdout + moved.stderr
    chosen = dict(each.split("=") for each in named.split())
    assert outputs(aws).items() >= {**own, **chosen}.items()
    assert len(chosen) == 3
    assert api(*where) == before

    # The stack's own tables are there as they were, and one deployment away.
    back = " ".join(f"{name}=" for name in chosen)
    returned = caller.deploy(f"--parameters={back}", answer="y")
    assert returned.returncode == 0, returned.stdout + returned.stderr
    assert outputs(aws).items() >= own.items()
    assert api(*where)[0] == 404


def test_a_new_stack_takes_over_the_tables_and_the_key_of_one_before_it(
    first_keys: subprocess.CompletedProcess[str], caller: Caller, aws: str
) -> None:
    secret_key = json.loads(first_keys.stdout)["secret_key"]
    store(Api(aws, secret_key), "c2")
    left = outputs(aws)
    tables = {name: table for name, table in left.items() if name.endswith("TableName")}
    assert len(tables) == 6
    named = [f"{name}={table}" for name, table in tables.items()]

    without = caller.deploy(f"--parameters={' '.join(named)}", stack="other")
    assert without.returncode == 1
    assert f"wrapped by {left['VaultKeyArn']}" in without.stderr

    key = f"KmsKeyArn={left['VaultKeyArn']}"
    made = caller.deploy(f"--parameters={' '.join([key, *named])}", stack="other")
    assert made.returncode == 0, made.stdout + made.stderr
    answer = Api(aws, secret_key, "other")("GET", "/connections/c2", "provider_config_key=base")
    assert answer[0] == 200, answer
    assert answer[1]["credentials"] == KEY
    _tell_where_the_emulator_is(aws, "BootstrapKeysFunction", "other")
    again = caller.call("bootstrap.py", "other")
    assert json.loads(again.stdout)["already_done"] is True


@pytest.mark.usefixtures("deployed")
def test_a_named_table_that_is_not_there_stops_a_deployment_before_anything_changes(
    caller: Caller, aws: str
) -> None:
    before = outputs(aws)
    refused = caller.deploy("--parameters=EventsTableName=keystow-events", answer="y")
    assert refused.returncode == 1
    assert "EventsTableName=keystow-events: there is no such table" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert outputs(aws) == before


@pytest.mark.usefixtures("deployed")
def test_a_stack_that_is_not_there_is_said_in_words(caller: Caller) -> None:
    missing = caller.call("bootstrap.py", "nowhere")
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr
    assert "nowhere" in missing.stderr
