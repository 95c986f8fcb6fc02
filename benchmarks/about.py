"""What the figures were measured on, and of what versions."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.peer import PYTHON, ROOT, Peer
from benchmarks.rows import MACHINE, Row
from benchmarks.session import Rows


def processor(cpuinfo: str) -> str:
    """Return the processor's name in the text of ``/proc/cpuinfo``."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown"


def commit() -> str:
    """Return which commit of ours is measured, and whether anything differs from it; nothing outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def machine() -> dict[str, str]:
    """Return what this machine is, as far as figures depend on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    loads = " ".join(f"{each:.2f}" for each in os.getloadavg())
    return {
        "processor": processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        "processors": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python of the services": f"{platform.python_implementation()} {platform.python_version()}",
        "load before": loads,
        "interpreter": PYTHON,
    }


def rows(kinds: Iterable[type[Peer]]) -> Rows:
    """Yield what this machine is, and what each peer is."""
    yield Row(measure="about", peer=MACHINE, value=None, more=machine())
    ours = commit()
    for kind in kinds:
        versions = kind.versions() | ({"commit": ours} if ours and kind.name.startswith("aurora") else {})
        more = {"versions": versions, "notes": kind.notes, "probes": kind.probes}
        yield Row(measure="about", peer=kind.name, value=None, more=more)
