"""`make deploy` and `make bootstrap` with SAM's own command, on the emulator instead of AWS."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("deploying")]

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-sam/bin/python"
REGION = "us-east-1"


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
            "AWS_ENDPOINT_URL": aws,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
        }

    def call(
        self, script: str, *arguments: str, answer: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts; every question that comes is answered so, and with Enter."""
        typed, terminal = pty.openpty()
        try:
            os.write(typed, f"{answer}\n".encode() * 100)
            return subprocess.run(
                [PYTHON, self.project / "scripts" / script, *arguments],
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

    def deploy(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        """As `make deploy` does after `make build`."""
        built = "--sam=--template-file template.yaml"
        return self.call("deploy.py", "keystow", "python3.13", *arguments, built, answer=answer)


@pytest.fixture(scope="module")
def caller(project: Path, aws: str) -> Caller:
    return Caller(project, aws)


@pytest.fixture(scope="module")
def deployed(caller: Caller, aws: str) -> subprocess.CompletedProcess[str]:
    """The first deployment."""
    done = caller.deploy()
    if done.returncode == 0:
        _tell_where_the_emulator_is(aws)
    return done


def client(aws: str, service: str) -> Any:
    """A client of one of the emulator's services."""
    return boto3.Session("test", "test", region_name=REGION).client(service, endpoint_url=aws)


def _tell_where_the_emulator_is(aws: str) -> None:
    """On AWS a function finds its services by itself."""
    stack = client(aws, "cloudformation")
    function = stack.describe_stack_resource(
        StackName="keystow", LogicalResourceId="BootstrapKeysFunction"
    )["StackResourceDetail"]["PhysicalResourceId"]
    functions = client(aws, "lambda")
    known = functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    variables = {**known, "AWS_ENDPOINT_URL": aws}
    functions.update_function_configuration(
        FunctionName=function, Environment={"Variables": variables}
    )


def test_who_answers_everything_with_enter_gets_a_stack(
    deployed: subprocess.CompletedProcess[str], caller: Caller
) -> None:
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert "EnvironmentNames [dev,prod]" in deployed.stdout
    assert "CREATE_COMPLETE" in deployed.stdout
    kept = tomllib.loads((caller.project / "samconfig-keystow.toml").read_text())
    assert kept["default"]["deploy"]["parameters"]["region"] == REGION


@pytest.mark.usefixtures("deployed")
def test_the_first_keys_are_answered_once(caller: Caller) -> None:
    first = caller.call("bootstrap.py", "keystow")
    assert first.returncode == 0, first.stderr
    keys = json.loads(first.stdout)
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
    looked = caller.call("verify_aws.py", "keystow")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    lines = looked.stdout.splitlines()
    assert len(lines) >= 10
    assert [each for each in lines if "not shown here" not in each] == []
    assert "nothing was sent" in next(each for each in lines if each.startswith("API"))
    assert "it says:" in looked.stdout


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


@pytest.mark.usefixtures("deployed")
def test_a_stack_that_is_not_there_is_said_in_words(caller: Caller) -> None:
    missing = caller.call("bootstrap.py", "nowhere")
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr
    assert "nowhere" in missing.stderr
