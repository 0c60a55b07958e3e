"""A share of a processor, as Lambda gives it by memory: CFS bandwidth of a control group.

Control groups of version 2 (``cpu.max``) and version 1 (``cpu.cfs_quota_us``); both need rights
that a container seldom has.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL_CORE_MB: Final = 1769  # Lambda developer guide, "Configure Lambda function memory"
PERIOD_US: Final = 20_000
# What a process may use it gets before all other work on the machine.
_MOST_WEIGHT: Final = 10_000
_MOST_SHARES: Final = 262_144
ROOT: Final = Path("/sys/fs/cgroup")


class Quota(Protocol):
    """Holds processes to a share of a processor."""

    def hold(self, pid: int, memory: int) -> None:
        """From now on give a process, with its threads, what so many MB buy."""
        ...


class _Group:
    """One control group; ``version`` is 1 or 2."""

    def __init__(self, folder: Path, version: int) -> None:
        self._folder = folder
        self._version = version

    def limit(self, memory: int) -> None:
        quota = PERIOD_US * memory // FULL_CORE_MB
        if self._version == 2:  # noqa: PLR2004 - the version
            (self._folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (self._folder / "cpu.weight").write_text(str(_MOST_WEIGHT))
        else:
            (self._folder / "cpu.shares").write_text(str(_MOST_SHARES))
            (self._folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self._folder / "cpu.cfs_quota_us").write_text(str(quota))

    def hold(self, pid: int, memory: int) -> None:
        self.limit(memory)
        (self._folder / "cgroup.procs").write_text(str(pid))


@contextmanager
def quota(root: Path = ROOT) -> Iterator[Quota | None]:
    """Make a control group, and remove it in the end; None where that is not allowed.

    Args:
        root: where control groups are mounted.
    """
    for parent, version in _parents(root):
        folder = parent / f"keystow-bench-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            group = _Group(folder, version)
            group.limit(FULL_CORE_MB)
        except OSError:
            _remove(folder)
            continue
        try:
            yield group
        finally:
            _remove(folder)
        return
    yield None


def _parents(root: Path) -> Iterator[tuple[Path, int]]:
    """Yield where a group may stand: of version 1, then of version 2, nearest to us first."""
    for name in ("cpu", "cpu,cpuacct"):
        if (root / name / "cpu.cfs_quota_us").exists() or (root / name / "cgroup.procs").exists():
            yield root / name, 1
    if not (root / "cgroup.controllers").exists():
        return
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    place = root / own.strip("/")
    while True:
        if place.is_dir():
            with suppress(OSError):  # it may be on already; if not, the group has no cpu.max
                (place / "cgroup.subtree_control").write_text("+cpu")
            yield place, 2
        if place == root:
            return
        place = place.parent


def _remove(folder: Path) -> None:
    for _attempt in range(20):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.05)  # the last process in it has not quite ended
        else:
            return
