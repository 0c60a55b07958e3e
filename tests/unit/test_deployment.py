"""What `make deploy` and `make bootstrap` know of a stack: no choice is lost by a later call."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As `sam deploy --guided` leaves it.
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
    return module


@pytest.fixture
def sam(deploy, monkeypatch):
    """Records SAM's calls; `sam.answers` is what a guided call saves."""

    class Sam:
        answers = SAVED
        status = 0

        def __init__(self):
            self.calls = []

        def run(self, call, **kwargs):
            config = Path(call[call.index("--config-file") + 1])
            assert config.exists(), "SAM refuses a file that is not there"
            self.calls.append(call)
            if "--guided" in call:
                config.write_text(self.answers)
            return subprocess.CompletedProcess(call, self.status)

    found = Sam()
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


def test_it_asks_the_first_time_only(deploy, sam):
    assert deploy.main(["keystow", "python3.13"]) == 0
    assert deploy.main(["keystow", "python3.13"]) == 0
    assert ["--guided" in call for call in sam.calls] == [True, False]


def test_each_stack_is_asked_for_itself(deploy, sam):
    deploy.main(["keystow", "python3.13"])
    deploy.main(["staging", "python3.13"])
    assert ["--guided" in call for call in sam.calls] == [True, True]
    assert given(sam.calls[1], "--stack-name") == ["staging"]


def test_who_keeps_no_answers_is_asked_again(deploy, sam):
    sam.answers = ""
    deploy.main(["keystow", "python3.13", "--tags", "team=crm"])
    assert not deploy.config_of("keystow").exists()


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
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts/bootstrap.py")
    bootstrap = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bootstrap)
    assert bootstrap.session("keystow").region_name == region


@pytest.mark.parametrize(("stack", "runtime"), [("keystow", "python3.12"), ("other", "python3.13")])
def test_make_builds_for_the_runtime_that_the_stack_has(tmp_path, stack, runtime):
    (tmp_path / "samconfig-keystow.toml").write_text(SAVED)
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    done = subprocess.run(
        ["make", "-nf", ROOT / "Makefile", "deploy", f"STACK={stack}", "TAGS=team=crm cost=42"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},  # a make around this one would hand down its variables
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"scripts/deploy.py {stack} {runtime} " in done.stdout
    assert "--tags 'team=crm cost=42'" in done.stdout


def test_the_saved_answers_are_never_committed():
    assert "samconfig*.toml" in (ROOT / ".gitignore").read_text().splitlines()
