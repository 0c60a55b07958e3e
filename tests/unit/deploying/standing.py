"""Stacks as AWS and SAM's file tell of them, and what tests ask of a call of SAM."""

import importlib.util
import json
import tomllib
from pathlib import Path
from typing import ClassVar

from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[3]
# As somebody may have it from `sam deploy --guided`.
SAVED = """version = 0.1
[default.deploy.parameters]
stack_name = "keystow"
resolve_s3 = true
capabilities = "CAPABILITY_IAM"
parameter_overrides = "EnvironmentNames=\\"dev,prod\\" DomainName=\\"\\" Runtime=\\"python3.12\\""
image_repositories = []

[default.global.parameters]
region = "eu-central-1"
"""


class Aws:
    """CloudFormation, as far as `make deploy` speaks to it itself."""

    standing: ClassVar = {"keystow": {}, "other": {}, "staging": {}}
    asked: ClassVar = []

    def __init__(self, _stack):
        pass

    def client(self, _service):
        return self

    def describe_stacks(self, StackName):  # noqa: N803 - boto3's name
        if StackName not in self.standing:
            message = f"Stack with id {StackName} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "x")
        known = self.standing[StackName].items()
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in known]
        return {"Stacks": [{"StackStatus": "UPDATE_COMPLETE", "Parameters": parameters}]}

    class exceptions:  # noqa: N801 - boto3's name
        ResourceNotFoundException = LookupError

    def describe_table(self, TableName):  # noqa: N803 - boto3's name
        raise self.exceptions.ResourceNotFoundException(TableName)

    def set_stack_policy(self, StackName, StackPolicyBody):  # noqa: N803 - boto3's names
        self.asked.append(("policy", StackName, json.loads(StackPolicyBody)))

    def update_termination_protection(self, StackName, EnableTerminationProtection):  # noqa: N803
        self.asked.append(("termination", StackName, EnableTerminationProtection))


def script(name):
    """Load one of the commands that the others do not import."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def given(call, option):
    """The words after an option."""
    words = call[call.index(option) + 1 :]
    ends = [place for place, word in enumerate(words) if word.startswith("--")]
    return words[: ends[0]] if ends else words


def options(deploy):
    text = deploy.config_of("keystow").read_text()
    return tomllib.loads(text)["default"]["deploy"]["parameters"]
