"""Holds Keystow against its budgets; ``make bench`` runs all of it (docs/benchmarks.md)."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYER = ROOT / "layers" / "shared"

for _folder in (str(ROOT), str(LAYER)):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)
