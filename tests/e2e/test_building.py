"""Plain `sam build`, with SAM's own command: bytecode for the runtime, or no build at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import artefact

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("building")]

ROOT = Path(__file__).resolve().parents[2]
SAM = ROOT / ".venv-sam/bin/sam"
VERSION = "{}.{}".format(*sys.version_info)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, but for the layer's packages, which come from the internet."""
    assert SAM.exists(), "make test-full makes .venv-sam"
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "template.yaml", folder)
    without = shutil.ignore_patterns("__pycache__")
    for name in ("functions", "scripts", "layers"):
        shutil.copytree(ROOT / name, folder / name, ignore=without)
    (folder / "layers/shared/requirements.txt").write_text("")
    return folder


def build(
    project: Path, resource: str, runtime: str, path: str
) -> subprocess.CompletedProcess[str]:
    """As somebody calls SAM without `make`."""
    variables = {
        "PATH": path,
        "HOME": str(project),
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        "RUNTIME": runtime,
    }
    return subprocess.run(
        [SAM, "build", resource],
        cwd=project,
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def here() -> str:
    """A PATH on which this test's own Python comes first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.mark.parametrize("resource", ["SharedLayer", "GetConnectionFunction"])
def test_plain_sam_build_makes_bytecode(project: Path, resource: str) -> None:
    done = build(project, resource, f"python{VERSION}", here())
    assert done.returncode == 0, done.stderr
    built = project / ".aws-sam/build" / resource
    artefact.check(built)
    wanted = "python/keystow/context.py" if resource == "SharedLayer" else "app.py"
    assert (built / wanted).exists()


def test_without_a_python_of_the_runtime_nothing_is_built(project: Path) -> None:
    done = build(project, "GetConnectionFunction", "python3.99", here())
    assert done.returncode != 0
    assert "No Python 3.99 that runs was found" in done.stdout + done.stderr
