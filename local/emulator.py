"""Starts and stops ministack, the AWS emulator, and deploys the stack into it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from local.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from local.package import Archive

HOST = "127.0.0.1"
REGION = "us-east-1"
BUCKET = "keystow-local"
STACK = "keystow"
PARALLEL = 128
_PORT_IN_NAMES = "4566"  # nobody connects to it; see local/child.py
_START_SECONDS = 30
_STOP_SECONDS = 30
_DEPLOY_SECONDS = 120
# A user's cloud credentials, proxies and configuration stay out of the emulator and the functions.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
# Records of past runs that nothing reads back; they would grow for ever.
_FORGOTTEN = ("cloudwatch_logs.json", "cloudwatch.json", "cloudtrail.json")


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def child_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a child process: little of the user's, scratch files of its own."""
    found = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**found, "TMPDIR": str(folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}


class Emulator:
    """One running ministack.

    Args:
        folder: the local stack's folder; state, scratch files and the log lie in it.
        project: the project's own folder.
        hold: a file descriptor that the child keeps open (the lock of the folder), so that the
            folder counts as taken until the last state is written.
    """

    def __init__(self, folder: Path, project: Path, hold: int) -> None:
        self._folder = folder
        self._project = project
        self._hold = hold
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens, on loopback only."""
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """What it and the functions that no request started have printed."""
        return self._folder / "emulator.log"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            LocalStackError: it ended or did not answer in time.
        """
        state = self._folder / "state"
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)
        for folder in (state, self._folder / "tmp"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        for name in _FORGOTTEN:
            (state / name).unlink(missing_ok=True)
        environment = {
            **child_environment(self._folder),
            "GATEWAY_PORT": _PORT_IN_NAMES,
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            "MINISTACK_REGION": REGION,
            "MINISTACK_WORKER_THREADS": str(PARALLEL),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state),
            "S3_DATA_DIR": str(self._folder / "tmp" / "s3"),
            # What it would open or look for besides: an MQTT and an SFTP port, a Docker engine.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": "unix:///nonexistent",
            "LOG_LEVEL": "INFO",
        }
        with self.log.open("wb") as log:
            self.log.chmod(0o600)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.child", "emulator", str(self.port)],
                cwd=self._project,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(self._hold,),
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LocalStackError(f"The AWS emulator did not start; see {self.log}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/_ministack/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Ask it to end, wait until its state is written, remove its scratch files."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()  # the child's sign to end
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            print("The AWS emulator did not stop in time: this run's changes may be lost.")
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)

    def client(self, service: str) -> Any:
        """Return a boto3 client of one of its services."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the emulator takes anything
            config=Config(
                max_pool_connections=PARALLEL,
                read_timeout=70,
                retries={"total_max_attempts": 1},
                proxies={},
            ),
        )

    def deploy(self, template: Mapping[str, Any], archives: Iterable[Archive]) -> bool:
        """Create the stack, or bring the one that is there up to date.

        Returns:
            whether it was created, so that there are no keys yet.

        Raises:
            LocalStackError: CloudFormation refused, with its reasons.
        """
        storage = self.client("s3")
        with contextlib.suppress(storage.exceptions.BucketAlreadyOwnedByYou):
            storage.create_bucket(Bucket=BUCKET)
        for archive in archives:
            storage.put_object(Bucket=BUCKET, Key=archive.key, Body=archive.content)
        # Over the 51,200 bytes that a template may have in the request itself.
        body = json.dumps(template).encode()
        storage.put_object(Bucket=BUCKET, Key="template.json", Body=body)
        request = {
            "StackName": STACK,
            "TemplateURL": f"{self.url}/{BUCKET}/template.json",
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
        formation = self.client("cloudformation")
        status = _status(formation)
        if status in {"ROLLBACK_COMPLETE", "CREATE_FAILED", "DELETE_FAILED"}:
            formation.delete_stack(StackName=STACK)
            _wait(formation)
            status = None
        if status is None:
            formation.create_stack(**request)
            _expect(formation, "CREATE_COMPLETE")
        else:
            try:
                formation.update_stack(**request)
            except formation.exceptions.ClientError as error:
                if "No updates" not in str(error):
                    raise
            _expect(formation, "UPDATE_COMPLETE", "CREATE_COMPLETE")
        complete_tables(self.client("dynamodb"), template, self.physical_names())
        return status is None

    def physical_names(self) -> dict[str, str]:
        """Return logical id → physical id of every resource of the stack."""
        resources = self.client("cloudformation").describe_stack_resources(StackName=STACK)
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in resources["StackResources"]
        }


def complete_tables(dynamodb: Any, template: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Give tables what the emulator's CloudFormation leaves out: time to live, and recovery.

    Args:
        dynamodb: a client of the emulator's DynamoDB.
        template: the deployed template.
        names: logical id → physical id.
    """
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::DynamoDB::Table":
            continue
        properties = resource["Properties"]
        if "TimeToLiveSpecification" in properties:
            dynamodb.update_time_to_live(
                TableName=names[name],
                TimeToLiveSpecification=properties["TimeToLiveSpecification"],
            )
        dynamodb.update_continuous_backups(
            TableName=names[name],
            PointInTimeRecoverySpecification=properties["PointInTimeRecoverySpecification"],
        )


def _status(formation: Any) -> str | None:
    try:
        stacks = formation.describe_stacks(StackName=STACK)["Stacks"]
    except formation.exceptions.ClientError:
        return None
    status = str(stacks[0]["StackStatus"])
    return None if status == "DELETE_COMPLETE" else status


def _wait(formation: Any) -> str | None:
    deadline = time.monotonic() + _DEPLOY_SECONDS
    while (status := _status(formation)) is not None and status.endswith("_IN_PROGRESS"):
        if time.monotonic() > deadline:
            raise LocalStackError("The deployment into the AWS emulator does not end")
        time.sleep(0.1)
    return status


def _expect(formation: Any, *wanted: str) -> None:
    status = _wait(formation)
    if status in wanted:
        return
    events = formation.describe_stack_events(StackName=STACK)["StackEvents"]
    reasons = [
        f"  {event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in events
        if event["ResourceStatus"].endswith("FAILED") and event.get("ResourceStatusReason")
    ]
    raise LocalStackError("\n".join([f"The deployment ended as {status}", *reasons[:5]]))
