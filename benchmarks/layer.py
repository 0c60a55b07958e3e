"""What the layer weighs unpacked, as it is built: its packages, the domain, and their bytecode.

The packages are installed once into ``.local/bench`` (that needs the package index, or pip's
cache) and again only when their pins change. They are those of Lambda's machine, for the Python
that runs here. boto3 and botocore come with the runtime.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import LAYER, ROOT
from benchmarks.report import Line
from scripts import artefact

BUDGET = 40_000_000  # Lambda takes 250 MB, function and layers together
MACHINE = "aarch64"
CACHE = ROOT / ".local" / "bench"


def packages() -> Path:
    """Return a folder with the layer's packages.

    Raises:
        ValueError: they could not be installed.
    """
    pins = LAYER / "requirements.txt"
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    folder = CACHE / f"layer-{version}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    if folder.exists():
        return folder
    print("  installing the layer's packages once (needs the package index) ...", flush=True)
    for old in CACHE.glob("layer-*"):
        shutil.rmtree(old)
    fresh = CACHE / "layer-unfinished"
    artefact.packages(pins, fresh, MACHINE)
    artefact.compiled(fresh, artefact.LAYER)
    fresh.rename(folder)
    return folder


def weigh(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run() -> list[Line]:
    """Measure."""
    with tempfile.TemporaryDirectory() as built:
        artefact.domain(LAYER / "keystow", Path(built))
        domain = weigh(Path(built))
    try:
        found = packages()
    except ValueError as error:
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
