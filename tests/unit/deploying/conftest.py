"""`make deploy` with a terminal, a SAM and an AWS of the tests."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.deploying.standing import ROOT, Aws


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
