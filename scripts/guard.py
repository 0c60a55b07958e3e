# ruff: noqa: INP001, T201 - part of commands, not a package
"""What `make deploy` refuses before it changes a stack, and how it protects one afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# Nobody replaces or removes a table or the key by an update, whatever the template says.
POLICY = Path(__file__).with_name("stack-policy.json")


def standing(account: Any, stack: str) -> dict[str, str] | None:
    """Return the parameters that a stack was deployed with last; None: there is no such stack.

    Raises:
        SystemExit: AWS does not answer, or does not let us look.
    """
    try:
        found = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise SystemExit(f"Nothing was deployed: {error}") from None
    except BotoCoreError as error:
        raise SystemExit(f"Nothing was deployed: {error}") from None
    if found["StackStatus"] in {"REVIEW_IN_PROGRESS", "DELETE_COMPLETE"}:
        return None  # a first change set that was not executed
    return {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", ())}


def refuse_half_a_network(after: dict[str, str]) -> None:
    """Stop a deployment that Lambda would refuse half-way, with some functions changed already.

    Raises:
        SystemExit: there are subnets and no security groups, or the other way round.
    """
    subnets, groups = after.get("SubnetIds", ""), after.get("SecurityGroupIds", "")
    if bool(subnets) == bool(groups):
        return
    there, missing = ("SubnetIds", "SecurityGroupIds")[:: 1 if subnets else -1]
    raise SystemExit(
        f"Nothing was deployed. {there} needs {missing}, or neither is given: functions are in a\n"
        "network by both."
    )


def leaves_a_key(before: dict[str, str], after: dict[str, str]) -> str:
    """Return the KMS key of the owner's own that no function could use any more; or nothing."""
    former = before.get("KmsKeyArn", "")
    return former if former and after.get("KmsKeyArn", "") != former else ""


def refuse_a_direct_change(stack: str, before: dict[str, str], former: str) -> None:
    """Stop a deployment after which data keys would not open.

    Raises:
        SystemExit: new data keys are still wrapped by the former key.
    """
    if before.get("WrapWith", "KmsKeyArn") == "VaultKey":
        return
    raise SystemExit(
        f"Nothing was deployed. Data keys of {stack} are wrapped by {former},\n"
        "which its functions could no longer use: the roles may use VaultKey and one key more.\n"
        "Let VaultKey wrap them first, then do this again:\n\n"
        f"  make deploy STACK={stack} PARAMETERS='WrapWith=VaultKey'\n"
        f"  make rewrap STACK={stack}\n"
    )


def protect(account: Any, stack: str) -> None:
    """Let nobody delete the stack, nor replace or remove what cannot be made again.

    Raises:
        SystemExit: AWS refused.
    """
    formation = account.client("cloudformation")
    try:
        formation.set_stack_policy(StackName=stack, StackPolicyBody=POLICY.read_text("utf-8"))
        formation.update_termination_protection(StackName=stack, EnableTerminationProtection=True)
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"{stack} is not protected from deletion: {error}") from None
    print(f"{stack} is protected: from deletion, and its tables and its key from replacement.")
