"""What `make` hands on to the command."""

import os
import re
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


def called(*words):
    return subprocess.run(
        ["make", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AWS_CONFIG_FILE": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("runtime", ["", "3.12", "python3.9", "python3.1"])
def test_a_runtime_that_the_template_does_not_take_is_not_built_for(runtime):
    done = called("build", f"RUNTIME={runtime}", "-o", ".venv-sam/.ok")
    assert done.returncode != 0
    assert "python3.11 python3.12 python3.13 python3.14" in done.stderr


@pytest.mark.parametrize("verb", ["bootstrap", "deploy", "restore", "rewrap", "verify-aws"])
def test_an_empty_name_of_a_stack_is_handed_on_as_such(verb):
    """Else a script with an unset variable would speak to the usual stack."""
    done = called("-n", verb, "STACK=", "-o", ".venv-sam/.ok", "-o", "build")
    assert done.returncode == 0, done.stderr
    assert re.search(r"(\.py|verify_aws) ''", done.stdout)
