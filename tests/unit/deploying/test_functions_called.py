"""`make bootstrap` and `make rewrap`: functions of a deployed stack, called by its owner."""

import io
import json
import sys

import pytest

from tests.unit.deploying.standing import script

OUTPUTS = {
    "ApiUrl": "https://api.test",
    "BootstrapFunctionName": "bootstrap",
    "RewrapFunctionName": "rewrap",
}


class Account:
    """What the commands ask of AWS; `answers` are those of the functions, in order."""

    def __init__(self, *answers, outputs=OUTPUTS):
        self.answers = list(answers)
        self.outputs = outputs
        self.events = []

    def client(self, _service, **_options):
        return self

    def describe_stacks(self, StackName):  # noqa: N803 - boto3's name
        found = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        # AWS leaves the word out of a stack without any.
        return {"Stacks": [{"Outputs": found} if found else {}]}

    def invoke(self, FunctionName, Payload):  # noqa: N803 - boto3's names
        self.events.append((FunctionName, json.loads(Payload)))
        answer, failed = self.answers.pop(0), {}
        if "errorMessage" in answer:
            failed = {"FunctionError": "Unhandled"}
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), **failed}


@pytest.fixture
def run(deploy, monkeypatch):
    """Run a command against functions that answer so; its exit status and the account."""

    def with_answers(name, *answers, **stack):
        deployed, account = script("deployed"), Account(*answers, **stack)
        monkeypatch.setitem(sys.modules, "deployed", deployed)
        monkeypatch.setattr(deployed, "account_of", lambda _stack: account)
        return script(name).main("keystow"), account

    return with_answers


def test_the_first_keys_are_printed_with_the_address(run, capsys):
    status, account = run("bootstrap", {"secret_key": "k"})
    assert status == 0
    assert account.events == [("bootstrap", {})]
    assert json.loads(capsys.readouterr().out) == {"api_url": "https://api.test", "secret_key": "k"}


def test_a_function_that_fails_ends_the_command_with_its_words(run, capsys):
    status, _ = run("bootstrap", {"errorMessage": "name one to 19 environments"})
    assert status == 1
    assert "name one to 19 environments" in capsys.readouterr().err


def test_rewrapping_goes_on_until_nothing_is_left(run, capsys):
    place = {"since": 7, "environment": "e1", "after": "credential-202601"}
    part = {"rewrapped": 400, "refused": [], "next": place}
    status, account = run("rewrap", part, {"rewrapped": 5, "refused": [], "next": None})
    assert status == 0
    assert account.events == [("rewrap", {}), ("rewrap", place)]
    assert "405 data keys were wrapped anew" in capsys.readouterr().out


def test_rewrapping_names_what_kms_does_not_take_and_fails(run, capsys):
    place = {"since": 7, "environment": "e1", "after": "credential-202601"}
    first = {
        "rewrapped": 1,
        "refused": ["e1/credential-202601: DisabledException"],
        "next": place,
    }
    status, _ = run("rewrap", first, {"rewrapped": 0, "refused": [], "next": None})
    assert status == 1
    assert "e1/credential-202601: DisabledException" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["bootstrap", "rewrap"])
@pytest.mark.parametrize("outputs", [{}, {"ApiUrl": "https://other.test"}])
def test_a_stack_that_is_not_whole_or_another_is_said_in_words(run, capsys, command, outputs):
    status, account = run(command, outputs=outputs)
    assert (status, account.events) == (1, [])
    assert "the stack has no output" in capsys.readouterr().err


def test_no_key_is_made_that_could_not_be_shown(run, capsys):
    status, account = run("bootstrap", outputs={"BootstrapFunctionName": "bootstrap"})
    assert (status, account.events) == (1, [])
    assert "no output ApiUrl" in capsys.readouterr().err
