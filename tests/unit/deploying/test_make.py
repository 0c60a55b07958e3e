"""What `make` hands on to the command."""

import os
import shlex
import subprocess

import pytest

from tests.unit.deploying.standing import ROOT, SAVED, given


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
