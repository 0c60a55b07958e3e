# ruff: noqa: INP001 - part of commands, not a package
"""Published versions of functions that are started beforehand (SnapStart, provisioned concurrency).

Both take a published version of a function, behind an alias. SAM publishes one with
AutoPublishAlias, points routes and their permissions to the alias, and takes all of it away again.
But a template cannot choose whether it stands there (aws/serverless-application-model#1154), and
SAM sees no parameter change: the alias would keep the function as it was before (#1640). So
`make deploy` puts it into the built template when the parameters say so, with a hash of all that
the functions are made of: a version is published when something changed, and only then.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import named_tables

# Whoever waits for these two is a person or a backend; the others start fast enough.
FUNCTIONS = ("GetConnectionFunction", "OauthCallbackFunction")
LAYER = "SharedLayer"
ALIAS = "live"
# The rule of the template that holds whoever deploys without this command.
RULE = "VersionsTakeMakeDeploy"
BUILT = Path(".aws-sam/build/template.yaml")
MADE = "template-with-versions.json"


def chosen(parameters: dict[str, str]) -> dict[str, Any]:
    """Return the properties that the parameters choose for the functions; nothing: none.

    Raises:
        SystemExit: a number is none. (What else does not fit, CloudFormation refuses.)
    """
    if parameters.get("SnapStart", "Disabled") == "Enabled":
        return {"SnapStart": {"ApplyOn": "PublishedVersions"}}
    ready = parameters.get("ProvisionedConcurrency", "0")
    if not ready.isdecimal():
        raise SystemExit(f"Nothing was deployed. ProvisionedConcurrency={ready}: not a number")
    if int(ready):
        return {"ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": int(ready)}}
    return {}


def with_versions(
    template: dict[str, Any], properties: dict[str, Any], release: str
) -> dict[str, Any]:
    """Return a template whose functions are called by an alias of their latest version.

    Args:
        template: as CloudFormation's JSON would say it; it is not changed.
        properties: what :func:`chosen` returned.
        release: names all that the functions are made of; another one publishes a version.
    """
    made = copy.deepcopy(template)
    for name in FUNCTIONS:
        made["Resources"][name]["Properties"].update(
            AutoPublishAlias=ALIAS,
            AutoPublishCodeSha256=release,
            # A version that is kept has a snapshot, which costs.
            VersionDeletionPolicy="Delete",
            **properties,
        )
    del made["Rules"][RULE]
    return made


def release_of(template: Path, parameters: dict[str, str]) -> str:
    """Return a hash of a built template, of the code that it names, and of the parameters."""
    whole = named_tables.load(template)
    every = {name: str(one.get("Default", "")) for name, one in whole["Parameters"].items()}
    found = hashlib.sha256(json.dumps([whole, {**every, **parameters}], sort_keys=True).encode())
    for name in (*FUNCTIONS, LAYER):
        properties = whole["Resources"][name]["Properties"]
        folder = template.parent / (properties.get("CodeUri") or properties["ContentUri"])
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{path.relative_to(folder)} {content}\n".encode())
    return found.hexdigest()


def template_for(template: Path, parameters: dict[str, str]) -> Path:
    """Return the template to deploy: the built one, or one beside it that publishes versions.

    Args:
        template: what was built.
        parameters: what the stack will have, as far as somebody chose it.

    Raises:
        SystemExit: a parameter is not what it has to be, or nothing was built.
    """
    properties = chosen(parameters)
    if not properties:
        return template
    if not template.exists():
        raise SystemExit(f"Nothing was deployed. There is no {template}: make build")
    release = release_of(template, parameters)
    made = with_versions(named_tables.load(template), properties, release)
    path = template.with_name(MADE)
    path.write_text(json.dumps(made, indent=1), encoding="utf-8")
    return path
