# ruff: noqa: INP001, T201 - a command that prints, not a package
"""Runs `sam deploy` for a stack, and remembers what was chosen in samconfig-STACK.toml.

usage: python scripts/deploy.py STACK RUNTIME [--parameters "A=b C=d"] [--tags "a=b c=d"] [-- ...]

SAM takes parameter overrides as a whole: one given on its command line would drop those that are
saved. So they are joined here, and kept (tags too, which SAM would take off the stack when a later
deployment does not name them).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
SAM = PROJECT / ".venv-sam/bin/sam"
# Key="Value", with \" inside, as `sam deploy --guided` writes it; or Key=Value.
OVERRIDE = re.compile(r'(\w+)=("(?:\\.|[^"\\])*"|\S*)')


def config_of(stack: str) -> Path:
    """Return the file in which the answers for a stack are kept."""
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


def command(config: Path, stack: str, given: list[str], tags: list[str]) -> list[str]:
    """Return the call of SAM: it asks as long as nothing is saved."""
    known = saved(config)
    call = [str(SAM), "deploy", "--config-file", str(config), "--stack-name", stack]
    call += ["--resolve-s3", "--capabilities", "CAPABILITY_IAM"]
    call += ["--parameter-overrides", *overrides(known.get("parameter_overrides", ""), *given)]
    if tags:
        call += ["--tags", *tags]
    return call if known else [*call, "--guided"]


def remember(config: Path, given: list[str], tags: list[str]) -> None:
    """Keep what was given, if the answers are kept at all and the file is as SAM writes it."""
    known = saved(config)
    if not known:
        return
    wanted = {}
    if given:
        joined = overrides(known.get("parameter_overrides", ""), *given)
        wanted["parameter_overrides"] = " ".join(joined)
    if tags:
        wanted["tags"] = " ".join(tags)
    head = "[default.deploy.parameters]\n"
    text = config.read_text(encoding="utf-8")
    start = text.index(head) + len(head)
    body, rest = text[start:], ""
    if (next_table := body.find("\n[")) >= 0:
        body, rest = body[:next_table], body[next_table:]
    for name, value in wanted.items():
        body = re.sub(rf"^{name} *=.*\n?", "", body, flags=re.MULTILINE)
        body = f"{name} = {json.dumps(value)}\n{body}"  # JSON's strings are strings of TOML
    changed = text[:start] + body + rest
    try:
        kept = tomllib.loads(changed)["default"]["deploy"]["parameters"]
    except tomllib.TOMLDecodeError:
        kept = {}
    if kept != {**tomllib.loads(text)["default"]["deploy"]["parameters"], **wanted}:
        print(f"Not saved: write {wanted} into {config.name} yourself", file=sys.stderr)
        return
    config.write_text(changed, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Deploy; return SAM's exit status."""
    parser = argparse.ArgumentParser(description="Deploys a stack")
    parser.add_argument("stack")
    parser.add_argument("runtime")
    parser.add_argument("--parameters", default="")
    parser.add_argument("--tags", default="")
    parser.add_argument("rest", nargs="*")
    chosen = parser.parse_args(arguments)
    config = config_of(chosen.stack)
    config.touch()  # SAM refuses a name that is not there
    first = not saved(config)
    # The runtime is that of the build, always: the layer holds code compiled for it.
    given = [*chosen.parameters.split(), f"Runtime={chosen.runtime}"]
    tags = chosen.tags.split()
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
    if "AWS_REGION" in environment:  # which boto3 does not read
        environment.setdefault("AWS_DEFAULT_REGION", environment["AWS_REGION"])
    call = [*command(config, chosen.stack, given, tags), *chosen.rest]
    status = subprocess.run(call, env=environment, check=False).returncode  # noqa: S603
    if status == 0:
        remember(config, [] if first else given, tags)  # the first time, the answers count
    if not config.read_bytes():
        config.unlink()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
