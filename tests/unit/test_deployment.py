"""What `make deploy` and `make bootstrap` know of a stack: no choice is lost by a later call."""

import importlib.util
import io
import json
import os
import shlex
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import ClassVar

import pytest
from botocore.exceptions import ClientError

from local import template as templates

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture
def deploy(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    spec = importlib.util.spec_from_file_location("deploy", ROOT / "scripts/deploy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "deploy", module)
    monkeypatch.setattr(module, "PROJECT", tmp_path)
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    # A stack that stands; tests of the first deployment and of the guard say what else.
    module.really_account_of = module.account_of
    monkeypatch.setattr(module, "account_of", Aws)
    return module


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


@pytest.fixture
def stands(deploy, monkeypatch):
    """Say with which parameters the stack stands; None: there is none yet."""

    def with_parameters(parameters):
        known = {} if parameters is None else {"keystow": parameters}
        monkeypatch.setattr(Aws, "standing", known)
        monkeypatch.setattr(Aws, "asked", [])

    with_parameters({})
    return with_parameters


@pytest.fixture
def typed(deploy, monkeypatch):
    """Somebody at a terminal: what they type, and the questions that they saw."""

    class Terminal:
        def __init__(self):
            self.answers, self.questions = {}, []

        def input(self, question):
            self.questions.append(question.strip())
            answers = self.answers.get(question.split()[0], [])
            return answers.pop(0) if answers else ""

    found = Terminal()
    monkeypatch.setattr(deploy.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", found.input)
    return found


def script(name):
    """Load one of the commands that the others do not import."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sam(deploy, monkeypatch):
    """Records SAM's calls."""

    class Sam:
        status = 0

        def __init__(self):
            self.calls = []

        def run(self, call, **kwargs):
            if call[0] == "make":
                return real(call, **kwargs)
            config = Path(call[call.index("--config-file") + 1])
            assert config.exists(), "SAM refuses a file that is not there"
            self.calls.append(call)
            return subprocess.CompletedProcess(call, self.status)

    found, real = Sam(), subprocess.run
    monkeypatch.setattr(deploy.subprocess, "run", found.run)
    return found


def given(call, option):
    """The words after an option."""
    words = call[call.index(option) + 1 :]
    ends = [place for place, word in enumerate(words) if word.startswith("--")]
    return words[: ends[0]] if ends else words


def options(deploy):
    text = deploy.config_of("keystow").read_text()
    return tomllib.loads(text)["default"]["deploy"]["parameters"]


def test_it_asks_the_first_time_only(deploy, sam, typed):
    assert deploy.main(["keystow", "python3.13"]) == 0
    asked = len(typed.questions)
    assert deploy.main(["keystow", "python3.13"]) == 0
    assert asked > 10
    assert len(typed.questions) == asked


def test_enter_takes_every_default_and_sam_is_asked_nothing_more(deploy, sam, typed):
    deploy.main(["keystow", "python3.13"])
    assert options(deploy)["region"] == "eu-west-3"
    assert given(sam.calls[0], "--parameter-overrides") == ['Runtime="python3.13"']
    assert "--guided" not in sam.calls[0]


def test_answers_are_kept_before_anything_can_fail(deploy, sam, typed):
    typed.answers = {"Region": ["us-west-2"], "LogLevel": ["DEBUG"], "DomainName": ["k.example"]}
    sam.status = 1
    assert deploy.main(["keystow", "python3.13"]) == 1
    kept = options(deploy)
    assert kept["region"] == "us-west-2"
    assert 'LogLevel="DEBUG"' in kept["parameter_overrides"]
    assert 'DomainName="k.example"' in kept["parameter_overrides"]
    assert "MemorySize" not in kept["parameter_overrides"]


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("LogLevel", "LOUD", "WARN"),
        ("MemorySize", "64", "512"),
        ("MemorySize", "much", "512"),
        ("CertificateArn", "certificate", "arn:aws:acm:us-east-1:1:certificate/x"),
        ("EnvironmentNames", "Dev", "dev"),
    ],
)
def test_an_answer_that_the_template_does_not_take_is_asked_again(
    deploy, sam, typed, name, wrong, right
):
    typed.answers = {name: [wrong, right]}
    deploy.main(["keystow", "python3.13"])
    assert len([question for question in typed.questions if question.startswith(name)]) == 2
    assert f'{name}="{right}"' in given(sam.calls[0], "--parameter-overrides")


def test_what_was_given_is_not_asked(deploy, sam, typed):
    deploy.main(["keystow", "python3.13", "--parameters", "LogLevel=DEBUG"])
    asked = {question.split()[0] for question in typed.questions}
    assert not asked & {"LogLevel", "Runtime"}
    assert 'LogLevel="DEBUG"' in given(sam.calls[0], "--parameter-overrides")


def test_without_a_terminal_the_defaults_count(deploy, sam, monkeypatch):
    monkeypatch.setattr(deploy.sys.stdin, "isatty", lambda: False, raising=False)
    assert deploy.main(["keystow", "python3.13"]) == 0
    assert options(deploy)["region"] == "eu-west-3"


def test_without_a_terminal_a_region_is_needed(deploy, sam, monkeypatch, tmp_path):
    monkeypatch.setattr(deploy.sys.stdin, "isatty", lambda: False, raising=False)
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="AWS_REGION"):
        deploy.main(["keystow", "python3.13"])
    assert sam.calls == []
    assert not deploy.config_of("keystow").exists()


def test_an_unknown_profile_is_said_in_words(deploy, sam, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SystemExit, match="nobody"):
        deploy.main(["keystow", "python3.13"])


def test_the_first_deployment_protects_tables_only_once_all_is_created(deploy, sam, stands):
    stands(None)
    assert deploy.main(["keystow", "python3.13"]) == 0
    created, protected = sam.calls
    assert 'DeletionProtection="Disabled"' in given(created, "--parameter-overrides")
    assert 'DeletionProtection="Enabled"' in given(protected, "--parameter-overrides")
    assert "DeletionProtection" not in str(options(deploy))


def test_a_creation_that_fails_leaves_nothing_protected(deploy, sam, stands):
    stands(None)
    sam.status = 1
    assert deploy.main(["keystow", "python3.13"]) == 1
    assert len(sam.calls) == 1
    assert Aws.asked == []


def test_a_first_deployment_that_was_cut_off_is_protected_by_the_next(deploy, sam, stands):
    stands({"DeletionProtection": "Disabled"})
    assert deploy.main(["keystow", "python3.13"]) == 0
    assert 'DeletionProtection="Enabled"' in given(sam.calls[-1], "--parameter-overrides")


def test_who_wants_no_protected_tables_keeps_none_at_the_next_deployment(deploy, sam, stands):
    stands(None)
    deploy.main(["keystow", "python3.13", "--parameters", "DeletionProtection=Disabled"])
    stands({"DeletionProtection": "Disabled"})
    deploy.main(["keystow", "python3.13"])
    assert 'DeletionProtection="Disabled"' in given(sam.calls[-1], "--parameter-overrides")


def test_who_wants_no_protected_tables_gets_none(deploy, sam, stands):
    stands(None)
    deploy.main(["keystow", "python3.13", "--parameters", "DeletionProtection=Disabled"])
    assert len(sam.calls) == 1
    assert 'DeletionProtection="Disabled"' in given(sam.calls[0], "--parameter-overrides")


def test_each_deployment_protects_the_stack_its_tables_and_its_key(deploy, sam, stands):
    deploy.main(["keystow", "python3.13"])
    (_, _, policy), (_, _, terminates) = Aws.asked
    assert terminates is True
    (denied,) = [each for each in policy["Statement"] if each["Effect"] == "Deny"]
    assert set(denied["Action"]) == {"Update:Replace", "Update:Delete"}
    template = templates.load(ROOT / "template.yaml")["Resources"].values()
    kept = {
        each["Type"] for each in template if each.get("DeletionPolicy", "").startswith("Retain")
    }
    assert set(denied["Condition"]["StringEquals"]["ResourceType"]) == kept


def test_changes_are_shown_before_they_are_made_to_who_can_look(deploy, sam, typed, stands):
    deploy.main(["keystow", "python3.13"])
    assert "--confirm-changeset" in sam.calls[0]


def test_without_a_terminal_nobody_is_waited_for(deploy, sam, monkeypatch):
    monkeypatch.setattr(deploy.sys.stdin, "isatty", lambda: False, raising=False)
    deploy.main(["keystow", "python3.13"])
    assert "--confirm-changeset" not in sam.calls[0]


def test_a_stack_that_cannot_be_looked_at_is_not_changed(deploy, sam, monkeypatch):
    def refused(_self, StackName):  # noqa: N803 - boto3's name
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "x")

    monkeypatch.setattr(Aws, "describe_stacks", refused)
    with pytest.raises(SystemExit, match="not you"):
        deploy.main(["keystow", "python3.13"])
    assert sam.calls == []


KEYS = [f"arn:aws:kms:us-east-1:111122223333:key/{name}" for name in "ab"]


@pytest.fixture
def rewrapped(monkeypatch):
    """What `make rewrap` answers when the tool calls it."""

    class Rewrap(types.ModuleType):
        status = 0
        calls: ClassVar = []

        def main(self, stack):
            self.calls.append(stack)
            return self.status

    found = Rewrap("rewrap")
    found.calls.clear()
    monkeypatch.setitem(sys.modules, "rewrap", found)
    return found


@pytest.mark.parametrize("after", [KEYS[1], ""])
def test_no_kms_key_is_left_while_it_wraps_data_keys(deploy, sam, stands, rewrapped, after):
    stands({"KmsKeyArn": KEYS[0], "WrapWith": "KmsKeyArn"})
    with pytest.raises(SystemExit, match=r"make deploy STACK=keystow PARAMETERS='WrapWith=Vault"):
        deploy.main(["keystow", "python3.13", "--parameters", f"KmsKeyArn={after}"])
    assert sam.calls == []


def test_a_key_and_the_way_back_in_one_step_would_leave_it_too(deploy, sam, stands, rewrapped):
    stands({"KmsKeyArn": KEYS[0]})
    change = f"KmsKeyArn={KEYS[1]} WrapWith=VaultKey"
    with pytest.raises(SystemExit, match="Nothing was deployed"):
        deploy.main(["keystow", "python3.13", "--parameters", change])
    assert sam.calls == []


@pytest.mark.parametrize("after", [KEYS[1], ""])
def test_a_kms_key_is_left_once_all_data_keys_were_wrapped_anew(
    deploy, sam, stands, rewrapped, after
):
    stands({"KmsKeyArn": KEYS[0], "WrapWith": "VaultKey"})
    assert deploy.main(["keystow", "python3.13", "--parameters", f"KmsKeyArn={after}"]) == 0
    assert rewrapped.calls == ["keystow"]
    wanted = given(sam.calls[0], "--parameter-overrides")
    assert f'KmsKeyArn="{after}"' in wanted
    assert ('WrapWith="KmsKeyArn"' in wanted) == bool(after)


def test_a_kms_key_is_not_left_while_some_data_key_needs_it(deploy, sam, stands, rewrapped):
    stands({"KmsKeyArn": KEYS[0], "WrapWith": "VaultKey"})
    rewrapped.status = 1
    with pytest.raises(SystemExit, match="still need"):
        deploy.main(["keystow", "python3.13", "--parameters", f"KmsKeyArn={KEYS[1]}"])
    assert sam.calls == []


@pytest.mark.parametrize("change", [f"KmsKeyArn={KEYS[0]}", "WrapWith=VaultKey", "LogLevel=WARN"])
def test_what_leaves_no_key_needs_no_rewrapping(deploy, sam, stands, rewrapped, change):
    stands({"KmsKeyArn": KEYS[0], "WrapWith": "KmsKeyArn"})
    assert deploy.main(["keystow", "python3.13", "--parameters", change]) == 0
    assert rewrapped.calls == []


def test_a_first_key_of_ones_own_is_named_freely(deploy, sam, stands, rewrapped):
    stands({"KmsKeyArn": ""})
    deploy.main(["keystow", "python3.13", "--parameters", f"KmsKeyArn={KEYS[0]}"])
    assert f'KmsKeyArn="{KEYS[0]}"' in given(sam.calls[0], "--parameter-overrides")
    assert rewrapped.calls == []


@pytest.mark.parametrize("parameters", [None, {}], ids=["new", "standing"])
def test_a_table_that_is_not_there_is_refused_before_anything_changes(
    deploy, sam, stands, parameters
):
    stands(parameters)
    with pytest.raises(SystemExit, match="EventsTableName=gone: there is no such table"):
        deploy.main(["keystow", "python3.13", "--parameters", "EventsTableName=gone"])
    assert sam.calls == []
    assert Aws.asked == []


@pytest.mark.usefixtures("stands")
def test_a_named_table_is_looked_at_before_each_deployment(deploy, sam):
    """A new version may need what it lacks."""
    deploy.config_of("keystow").write_text(SAVED.replace("DomainName=", "EventsTableName=gone A="))
    with pytest.raises(SystemExit, match="EventsTableName=gone"):
        deploy.main(["keystow", "python3.13"])
    assert sam.calls == []


def test_nobody_is_asked_for_existing_tables(deploy, sam, typed):
    deploy.main(["keystow", "python3.13"])
    assert not any("TableName" in question for question in typed.questions)


@pytest.mark.parametrize("name", ["two words", "../elsewhere", "1st", "", "x" * 121])
def test_a_name_that_no_stack_can_have_is_refused_before_anything_is_kept(deploy, sam, name):
    with pytest.raises(SystemExit, match="begins with a letter"):
        deploy.main([name, "python3.13"])
    assert sam.calls == []
    assert list(deploy.PROJECT.iterdir()) == []


NETWORK = {"SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"}


@pytest.mark.parametrize("parameters", [None, {}], ids=["new", "standing"])
@pytest.mark.parametrize(
    ("given", "missing"),
    [("SubnetIds", "needs SecurityGroupIds"), ("SecurityGroupIds", "needs SubnetIds")],
)
def test_half_a_network_is_refused_before_anything_changes(
    deploy, sam, stands, parameters, given, missing
):
    stands(parameters)
    with pytest.raises(SystemExit, match=missing):
        deploy.main(["keystow", "python3.13", "--parameters", f"{given}={NETWORK[given]}"])
    assert sam.calls == []


@pytest.mark.parametrize("emptied", NETWORK)
def test_half_of_a_network_cannot_be_taken_away(deploy, sam, stands, emptied):
    stands(NETWORK)
    with pytest.raises(SystemExit, match=f"needs {emptied}"):
        deploy.main(["keystow", "python3.13", "--parameters", f"{emptied}="])
    assert sam.calls == []


def test_a_network_is_given_and_taken_away_as_a_whole(deploy, sam, stands):
    both = " ".join(f"{name}={value}" for name, value in NETWORK.items())
    assert deploy.main(["keystow", "python3.13", "--parameters", both]) == 0
    stands(NETWORK)
    neither = " ".join(f"{name}=" for name in NETWORK)
    assert deploy.main(["keystow", "python3.13", "--parameters", neither]) == 0


TOPIC = "arn:aws:sns:us-east-1:111122223333:alarms"


def test_a_first_deployment_pages_nobody_until_it_is_over(deploy, sam, stands):
    """Alarms on schedules go off until these have run for the first time."""
    stands(None)
    deploy.main(["keystow", "python3.13", "--parameters", f"AlarmTopicArn={TOPIC}"])
    first, second = (given(call, "--parameter-overrides") for call in sam.calls)
    assert 'AlarmTopicArn=""' in first
    assert f'AlarmTopicArn="{TOPIC}"' in second
    assert f'AlarmTopicArn="{TOPIC}"' in options(deploy)["parameter_overrides"]


def test_a_later_deployment_leaves_the_alarms_their_topic(deploy, sam, stands):
    stands({"AlarmTopicArn": TOPIC})
    deploy.main(["keystow", "python3.13"])
    assert "AlarmTopicArn" not in str(sam.calls)


def test_the_profile_is_kept(deploy, sam, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    deploy.main(["keystow", "python3.13"])
    assert options(deploy)["profile"] == "work"


def test_each_stack_is_asked_for_itself(deploy, sam, typed):
    deploy.main(["keystow", "python3.13"])
    asked = len(typed.questions)
    deploy.main(["staging", "python3.13"])
    assert len(typed.questions) == 2 * asked
    assert given(sam.calls[1], "--stack-name") == ["staging"]


def test_a_deployment_that_changes_nothing_is_a_success(deploy, sam):
    deploy.main(["keystow", "python3.13"])
    assert "--no-fail-on-empty-changeset" in sam.calls[0]


def test_another_runtime_keeps_the_other_parameters(deploy, sam):
    deploy.config_of("keystow").write_text(SAVED)
    deploy.main(["keystow", "python3.11", "--parameters", "LogLevel=DEBUG"])
    assert given(sam.calls[0], "--parameter-overrides") == [
        'EnvironmentNames="dev,prod"',
        'DomainName=""',
        'Runtime="python3.11"',
        'LogLevel="DEBUG"',
    ]


def test_what_is_given_once_is_given_again_and_the_rest_of_the_file_stays(deploy, sam):
    deploy.config_of("keystow").write_text(SAVED)
    before = options(deploy)
    deploy.main(["keystow", "python3.12", "--parameters", "LogLevel=DEBUG", "--tags", "a=b c=42"])
    assert options(deploy) == {
        **before,
        "parameter_overrides": before["parameter_overrides"] + ' LogLevel="DEBUG"',
        "tags": "a=b c=42",
    }
    assert deploy.saved(deploy.config_of("keystow"))["region"] == "eu-central-1"
    deploy.main(["keystow", "python3.12"])
    assert 'LogLevel="DEBUG"' in given(sam.calls[1], "--parameter-overrides")


def test_tags_of_the_first_deployment_are_kept(deploy, sam):
    deploy.main(["keystow", "python3.13", "--tags", "team=crm"])
    assert given(sam.calls[0], "--tags") == ["team=crm"]
    assert options(deploy)["tags"] == "team=crm"


def test_a_deployment_that_fails_changes_no_saved_answer(deploy, sam):
    deploy.config_of("keystow").write_text(SAVED)
    sam.status = 1
    assert deploy.main(["keystow", "python3.11", "--tags", "a=b"]) == 1
    assert deploy.config_of("keystow").read_text() == SAVED


def test_a_file_that_holds_something_else_is_left_alone(deploy, sam):
    text = '[staging.deploy.parameters]\nstack_name = "x"\n'
    deploy.config_of("keystow").write_text(text)
    with pytest.raises(SystemExit, match=r"samconfig-keystow\.toml"):
        deploy.main(["keystow", "python3.13"])
    assert deploy.config_of("keystow").read_text() == text
    assert sam.calls == []


def test_a_remark_behind_the_tables_name_is_no_harm(deploy, sam, capsys):
    text = '[default.deploy.parameters] # ours\nparameter_overrides = "LogLevel=INFO"\n'
    deploy.config_of("keystow").write_text(text)
    assert deploy.main(["keystow", "python3.12"]) == 0
    assert deploy.config_of("keystow").read_text() == text
    assert "Not saved" in capsys.readouterr().err


def test_a_file_written_by_hand_is_not_broken(deploy, sam, capsys):
    text = '[default.deploy.parameters]\nparameter_overrides = [\n  "LogLevel=INFO",\n]\n'
    deploy.config_of("keystow").write_text(text)
    deploy.main(["keystow", "python3.12"])
    assert given(sam.calls[0], "--parameter-overrides") == [
        'LogLevel="INFO"',
        'Runtime="python3.12"',
    ]
    assert deploy.config_of("keystow").read_text() == text
    assert "Not saved" in capsys.readouterr().err


def test_a_parameter_without_a_value_is_refused(deploy, sam):
    with pytest.raises(SystemExit, match="LogLevel"):
        deploy.main(["keystow", "python3.13", "--parameters", "LogLevel"])
    assert sam.calls == []


@pytest.mark.parametrize(
    ("config", "environment", "region"),
    [
        (SAVED, {}, "eu-central-1"),
        (SAVED, {"AWS_REGION": "us-east-2"}, "eu-central-1"),
        (None, {"AWS_REGION": "us-east-2"}, "us-east-2"),
        (None, {"AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
    ],
)
def test_the_first_keys_are_asked_for_where_the_stack_is(
    deploy, monkeypatch, config, environment, region
):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if config:
        deploy.config_of("keystow").write_text(config)
    assert deploy.really_account_of("keystow").region_name == region


class Account:
    """What the commands ask of AWS; `answers` are those of the functions, in order."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.events = []

    def client(self, _service, **_options):
        return self

    def describe_stacks(self, StackName):  # noqa: N803 - boto3's name
        outputs = {"ApiUrl": "https://api.test", "RewrapFunctionName": "rewrap"}
        outputs["BootstrapFunctionName"] = "bootstrap"
        found = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
        return {"Stacks": [{"Outputs": found}]}

    def invoke(self, FunctionName, Payload):  # noqa: N803 - boto3's names
        self.events.append((FunctionName, json.loads(Payload)))
        answer, failed = self.answers.pop(0), {}
        if "errorMessage" in answer:
            failed = {"FunctionError": "Unhandled"}
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), **failed}


@pytest.fixture
def run(deploy, monkeypatch):
    """Run a command against functions that answer so; its exit status and the account."""

    def with_answers(name, *answers):
        deployed, account = script("deployed"), Account(*answers)
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


def recipe(folder, *variables):
    """The words with which `make deploy` calls the script."""
    done = subprocess.run(
        ["make", "-nf", ROOT / "Makefile", "deploy", *variables],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},  # a make around this one would hand down its variables
        capture_output=True,
        text=True,
        check=True,
    )
    line = done.stdout[done.stdout.index("scripts/deploy.py") :].replace("\\\n", "")
    return shlex.split(line)[1:]


@pytest.mark.parametrize(("stack", "runtime"), [("keystow", "python3.12"), ("other", "python3.13")])
def test_make_builds_for_the_runtime_that_the_stack_has(tmp_path, stack, runtime):
    (tmp_path / "samconfig-keystow.toml").write_text(SAVED)
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    assert recipe(tmp_path, f"STACK={stack}")[:2] == [stack, runtime]


def test_what_make_is_given_reaches_sam(deploy, sam, tmp_path):
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    deploy.main(recipe(tmp_path))
    deploy.main(
        recipe(
            tmp_path,
            "PARAMETERS=LogLevel=DEBUG Tracing=Active",
            "TAGS=team=crm cost=42",
            "DEPLOY=--debug --role-arn arn:aws:iam::1:role/x",
        )
    )
    plain, full = sam.calls
    assert "--tags" not in plain
    assert given(full, "--parameter-overrides")[-2:] == ['LogLevel="DEBUG"', 'Tracing="Active"']
    assert given(full, "--tags") == ["team=crm", "cost=42"]
    assert full[-3:] == ["--debug", "--role-arn", "arn:aws:iam::1:role/x"]


def test_the_saved_answers_are_never_committed():
    assert "samconfig*.toml" in (ROOT / ".gitignore").read_text().splitlines()
