# ruff: noqa: INP001, T201 - a command that prints, not a package
"""Runs `sam deploy` for a stack, and remembers what was chosen in samconfig-STACK.toml.

usage: python scripts/deploy.py STACK RUNTIME [--parameters="A=b C=d"] [--tags="a=b c=d"]
       [--sam="more arguments of sam deploy"]

The first time it asks for region and parameters, when somebody is there to answer, else it takes
the defaults. (`sam deploy --guided` would ask once for each of fifty routes whether it may be
without an authorizer of API Gateway, and give up at the first Enter.)

Changes of a stack that stands are shown before they are made, when somebody is there to look
(DEPLOY=--no-confirm-changeset does without). scripts/guard.py says what is refused.

SAM takes parameter overrides as a whole: one given on its command line would drop those that are
saved. So they are joined here, and kept (tags too, which SAM would take off the stack when a later
deployment does not name them).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import boto3
import guard
import named_tables
import versions
from botocore.exceptions import ProfileNotFound

PROJECT = Path(__file__).resolve().parent.parent
SAM = PROJECT / ".venv-sam/bin/sam"
# CloudFormation takes 128; API Gateway does, too, and the WebSocket API has "-browser" behind it.
STACK = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,119}")
# Groups of parameters that nobody needs for a first deployment.
NOT_ASKED = {
    "Starting beforehand",
    "Network and roles",
    "Changes of what cannot be undone",
    "Existing tables",
}
# Key="Value", or Key=Value, as somebody may have written it by hand.
OVERRIDE = re.compile(r'(\w+)=("(?:\\.|[^"\\])*"|\S*)')


def config_of(stack: str) -> Path:
    """Return the file in which the answers for a stack are kept.

    Raises:
        SystemExit: no stack can have this name.
    """
    if not STACK.fullmatch(stack):
        raise SystemExit(
            f"STACK={stack}: a stack's name has letters, digits and hyphens, 120 at most, and\n"
            "begins with a letter"
        )
    return PROJECT / f"samconfig-{stack}.toml"


def saved(config: Path) -> dict[str, Any]:
    """Return what was chosen for a stack: SAM's options by name; empty before the first time."""
    if not config.exists():
        return {}
    default = tomllib.loads(config.read_text(encoding="utf-8")).get("default", {})
    chosen = default.get("deploy", {}).get("parameters", {})
    # SAM keeps the region beside the verbs.
    return {**default.get("global", {}).get("parameters", {}), **chosen} if chosen else {}


def overrides(before: str | list[str], *given: str) -> list[str]:
    """Join saved parameter overrides with those given now, which win; as `Key="Value"`."""
    text = before if isinstance(before, str) else " ".join(before)
    found = dict(OVERRIDE.findall(text))
    for each in given:
        key, sign, value = each.partition("=")
        if not sign:
            raise SystemExit(f"{each}: not NAME=value")
        found[key] = value
    return [f'{key}="{value.strip(chr(34))}"' for key, value in found.items()]


def command(config: Path, stack: str, region: str, given: list[str], tags: list[str]) -> list[str]:
    """Return the call of SAM."""
    known = saved(config)
    call = [str(SAM), "deploy", "--config-file", str(config), "--stack-name", stack]
    call += ["--region", region] if region else []
    call += ["--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset"]
    call += ["--parameter-overrides", *overrides(known.get("parameter_overrides", ""), *given)]
    return [*call, "--tags", *tags] if tags else call


def template_of(more: list[str]) -> Path:
    """Return the template that SAM takes with these arguments more."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-t", "--template", "--template-file", dest="path", default=versions.BUILT)
    return Path(parser.parse_known_args(more)[0].path)


def begin(config: Path, stack: str, given: list[str]) -> None:
    """Ask for what a stack needs that nothing is known of, and keep the answers.

    Raises:
        SystemExit: no region, and nobody to ask; or the file holds something else.
    """
    if config.exists() and config.read_bytes().strip():
        raise SystemExit(
            f"{config.name} has no [default.deploy.parameters]: add it, or move the file"
        )
    chosen = dict(each.partition("=")[::2] for each in given)
    profile = os.environ.get("AWS_PROFILE")
    asking = sys.stdin.isatty()
    try:
        region = os.environ.get("AWS_REGION") or boto3.Session().region_name or ""
    except ProfileNotFound as error:
        raise SystemExit(str(error)) from None
    if asking:
        print(f"The stack {stack} is new. Enter takes what stands in brackets.\n")
        region = ask("Region", "", {"Default": region, "AllowedPattern": "^[a-z0-9-]+$"})
        for name, parameter in parameters().items():
            if name in chosen:
                continue
            answer = ask(name, parameter.get("Description", ""), parameter)
            if answer != str(parameter["Default"]):  # a default that changes later shall count
                chosen[name] = answer
    if not region:
        raise SystemExit("Name a region: AWS_REGION=us-east-1 make deploy")
    lines = {"stack_name": stack, "region": region}
    if profile:
        lines["profile"] = profile
    if chosen:
        lines["parameter_overrides"] = " ".join(
            overrides("", *(f"{name}={value}" for name, value in chosen.items()))
        )
    # JSON's strings are strings of TOML. SAM's other commands find stack and region here, too.
    text = "version = 0.1\n\n[default.deploy.parameters]\n"
    text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    shared = {name: lines[name] for name in ("stack_name", "region", "profile") if name in lines}
    text += "\n[default.global.parameters]\n"
    text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in shared.items())
    config.write_text(text, encoding="utf-8")
    print(f"Kept in {config.name}.")


def parameters() -> dict[str, dict[str, Any]]:
    """Return the template's parameters that are asked for the first time."""
    template = named_tables.template()
    found: dict[str, dict[str, Any]] = template["Parameters"]
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    seldom = {
        name
        for group in groups
        if group["Label"]["default"] in NOT_ASKED
        for name in group["Parameters"]
    }
    return {name: found[name] for name in found if name not in {"Runtime", *seldom}}


def ask(name: str, description: str, rules: dict[str, Any]) -> str:
    """Return what somebody answers, once it is what the template takes."""
    default = str(rules.get("Default", ""))
    if description:
        print(description)
    while True:
        answer = input(f"  {name} [{default}]: ").strip() or default
        wrong = mistake(answer, rules)
        if not wrong:
            return answer
        print(f"  {wrong}")


def mistake(value: str, rules: dict[str, Any]) -> str:
    """Return what is wrong with a parameter's value, or nothing."""
    if "AllowedValues" in rules and value not in map(str, rules["AllowedValues"]):
        return f"One of {', '.join(map(str, rules['AllowedValues']))}"
    if not re.search(rules.get("AllowedPattern", ""), value):
        return f"Not of the form {rules['AllowedPattern']}"
    if rules.get("Type") == "Number":
        least, most = rules.get("MinValue", 0), rules.get("MaxValue", float("inf"))
        if not (value.isdecimal() and least <= int(value) <= most):
            return f"A number from {least}" + (f" to {most}" if "MaxValue" in rules else "")
    return ""


def remember(config: Path, given: list[str], tags: list[str]) -> None:
    """Keep what was given, if the file is as it is written here."""
    wanted = {}
    if given:
        joined = overrides(saved(config).get("parameter_overrides", ""), *given)
        wanted["parameter_overrides"] = " ".join(joined)
    if tags:
        wanted["tags"] = " ".join(tags)
    head = "[default.deploy.parameters]\n"
    text = config.read_text(encoding="utf-8")
    before, found, body = text.partition(head)
    start, rest = len(before) + len(found), ""
    if (next_table := body.find("\n[")) >= 0:
        body, rest = body[:next_table], body[next_table:]
    for name, value in wanted.items():
        body = re.sub(rf"^{name} *=.*\n?", "", body, flags=re.MULTILINE)
        body = f"{name} = {json.dumps(value)}\n{body}"
    changed = text[:start] + body + rest if found else ""
    try:
        kept = tomllib.loads(changed)["default"]["deploy"]["parameters"]
    except (tomllib.TOMLDecodeError, KeyError):
        kept = {}
    if kept != {**tomllib.loads(text)["default"]["deploy"]["parameters"], **wanted}:
        print(f"Not saved: write {wanted} into {config.name} yourself", file=sys.stderr)
        return
    config.write_text(changed, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Deploy, and protect what was deployed; return SAM's exit status."""
    parser = argparse.ArgumentParser(description="Deploys a stack")
    parser.add_argument("stack")
    parser.add_argument("runtime")
    parser.add_argument("--parameters", default="")
    parser.add_argument("--tags", default="")
    parser.add_argument("--sam", default="")
    chosen = parser.parse_args(arguments)
    config = config_of(chosen.stack)
    # The runtime is that of the build, always: the layer holds code compiled for it.
    given = [*chosen.parameters.split(), f"Runtime={chosen.runtime}"]
    overrides("", *given)  # refuses what is no parameter, before anything is asked
    if not saved(config):
        begin(config, chosen.stack, given)
    try:
        account = account_of(chosen.stack)
    except ProfileNotFound as error:
        raise SystemExit(str(error)) from None
    before = guard.standing(account, chosen.stack)
    if before is not None:
        given = check(chosen.stack, before, config, given)
    standing = before or {}
    after = {**standing, **values(config, given)}
    guard.refuse_half_a_network(after)
    named_tables.refuse(account, chosen.stack, standing, after)
    tags = chosen.tags.split()
    more_of_sam = shlex.split(chosen.sam)
    built = PROJECT / template_of(more_of_sam)
    template = versions.template_for(built, after)
    region = "" if saved(config).get("region") else os.environ.get("AWS_REGION", "")

    def sam(*more: str) -> int:
        call = command(config, chosen.stack, region, [*given, *more], tags)
        if before is not None and sys.stdin.isatty():
            call.append("--confirm-changeset")
        call += more_of_sam
        call += [] if template == built else ["--template-file", str(template)]
        environment = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
        return subprocess.run(call, env=environment, check=False).returncode  # noqa: S603

    wanted = values(config, given)
    protects = wanted.get("DeletionProtection", "Enabled") == "Enabled"
    if before is None and protects:
        # A creation that fails must be able to take its tables away again. Nobody is paged
        # meanwhile: an alarm on what has not run yet is right to go off, and wrong to wake people.
        # (All is said each time: what is not given stays with SAM as it was.)
        topic = wanted.get("AlarmTopicArn", "")
        quiet, loud = (["AlarmTopicArn="], [f"AlarmTopicArn={topic}"]) if topic else ([], [])
        status = sam("DeletionProtection=Disabled", *quiet) or sam(
            "DeletionProtection=Enabled", *loud
        )
    elif before is not None and protects and before.get("DeletionProtection") == "Disabled":
        # The first deployment was cut off between its two steps.
        status = sam("DeletionProtection=Enabled")
    else:
        status = sam()
    if status == 0:
        remember(config, given, tags)
        guard.protect(account, chosen.stack)
    return status


def account_of(stack: str) -> Any:
    """Return a boto3 session for the account and region of a stack.

    Raises:
        BotoCoreError: there is no such profile.
        SystemExit: no stack can have this name, or nobody knows its region.
    """
    config = config_of(stack)
    known = saved(config)
    # boto3 itself reads AWS_DEFAULT_REGION only.
    region = known.get("region") or os.environ.get("AWS_REGION")
    account = boto3.Session(profile_name=known.get("profile"), region_name=region)
    if not account.region_name:
        raise SystemExit(
            f"Where is the stack {stack}? {config.name}, which `make deploy` writes, names no\n"
            "region. Name the region (AWS_REGION=us-east-1), or the stack that you mean\n"
            "(STACK=name)."
        )
    return account


def values(config: Path, given: list[str]) -> dict[str, str]:
    """Return what the parameters will be, as far as somebody chose them."""
    joined = overrides(saved(config).get("parameter_overrides", ""), *given)
    return {name: text.strip('"') for name, _, text in (each.partition("=") for each in joined)}


def check(stack: str, before: dict[str, str], config: Path, given: list[str]) -> list[str]:
    """Return what is given, completed; before a KMS key is left, nothing may need it any more.

    Raises:
        SystemExit: data keys would not open afterwards.
    """
    after = {**before, **values(config, given)}
    if former := guard.leaves_a_key(before, after):
        guard.refuse_a_direct_change(stack, before, former)
        import rewrap

        # Said to be done already; what it finds tells whether it was.
        print(f"Nothing may need {former} any more: all data keys are wrapped anew.")
        if rewrap.main(stack):
            raise SystemExit(f"Nothing was deployed: some data keys still need {former}")
    named = after.get("KmsKeyArn", "") not in {"", before.get("KmsKeyArn", "")}
    if named and not any(each.startswith("WrapWith=") for each in given):
        return [*given, "WrapWith=KmsKeyArn"]  # else a key would be named and not used
    return given


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
