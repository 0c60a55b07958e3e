"""What `make deploy` refuses before it changes a stack, and how it protects one."""

import sys
import types
from typing import ClassVar

import pytest
from botocore.exceptions import ClientError

from local import template as templates
from tests.unit.deploying.standing import ROOT, SAVED, Aws, given, options


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
