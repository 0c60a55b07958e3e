"""What the layer weighs unpacked: its packages for this machine, and the domain.

The packages are installed once into ``.local/bench`` (that needs the package index, or pip's
cache) and again only when their pins change. Counted are the bytes of files, without bytecode,
which neither pip's wheels nor the deployed layer hold. boto3 and botocore come with the runtime.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import LAYER, ROOT
from benchmarks.report import Line

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = 36_000_000
CACHE = ROOT / ".local" / "bench"


def packages() -> Path:
    """Return a folder with the layer's packages.

    Raises:
        OSError: they could not be installed.
    """
    pins = LAYER / "requirements.txt"
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    folder = CACHE / f"layer-{version}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    if folder.exists():
        return folder
    print("  installing the layer's packages once (needs the package index) ...", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob("layer-*"):
        shutil.rmtree(old)
    fresh = CACHE / "layer-unfinished"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command = [sys.executable, "-m", "pip", "install", *options, "--no-compile"]
    done = subprocess.run(
        [*command, "--target", str(fresh), "-r", str(pins)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise OSError(done.stderr.strip()[-500:])
    fresh.rename(folder)
    return folder


def weigh(folder: Path) -> int:
    """Return the bytes of a folder's files, without bytecode."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def run() -> list[Line]:
    """Measure."""
    domain = weigh(LAYER / "keystow")
    try:
        found = packages()
    except OSError as error:
        print(f"  {error}")
        why = "the packages could not be installed (is there a network?)"
        return [Line("layer unpacked", "not measured", why, passed=False)]
    heaviest = sorted(
        ((weigh(each), each.name) for each in found.iterdir() if each.is_dir()), reverse=True
    )[:4]
    whole = domain + weigh(found)
    return [
        Line(
            "layer unpacked",
            f"{whole / 1e6:.1f} MB",
            f"<= {BUDGET / 1e6:.0f} MB",
            whole <= BUDGET,
        ),
        Line("of it keystow", f"{domain / 1e6:.1f} MB"),
        *(Line(f"of it {name}", f"{weight / 1e6:.1f} MB") for weight, name in heaviest),
    ]
