"""A small disk for a test: a tmpfs in a mount namespace of its own, which the machine's other processes do not see.

A process that only waits holds the namespace. Everybody reaches the disk through that process's root, so a fleet need
not be started in any special way, and the mount is gone when the process is. It takes root; without it a test is
skipped.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_BLOCK = 1 << 12
_MOUNT = 'mount -t tmpfs -o "size=$1,mode=0755" none "$0" && echo ready && exec cat'


def take_away(folder: Path) -> None:
    """Remove a directory that others write in: gone in one step, so that nobody puts a file in while it is emptied."""
    gone = folder.with_name(f"{folder.name}.gone")
    folder.rename(gone)
    shutil.rmtree(gone)


class SmallDisk:
    """``path`` is where it can be reached by all, as long as the test lasts."""

    def __init__(self, place: Path, holder: "subprocess.Popen[bytes]") -> None:
        """``place`` is where it is mounted, for the holder of its namespace alone."""
        self._place, self._holder = place, holder
        self.path = Path(f"/proc/{holder.pid}/root{place}")

    def fill(self) -> None:
        """Leave not one byte of room."""
        with contextlib.suppress(OSError), (self.path / "ballast").open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * _BLOCK)

    def make_room(self) -> None:
        """Take away what fills it."""
        (self.path / "ballast").unlink()

    def protect(self, folder: Path) -> None:
        """Make a folder of it read-only, for who opens something there from now on."""
        inside = str(self._place / folder.relative_to(self.path))
        self._run("mount", "--bind", inside, inside)
        self._run("mount", "-o", "remount,bind,ro", inside)

    def unprotect(self, folder: Path) -> None:
        """Make it writable again."""
        self._run("umount", "-l", str(self._place / folder.relative_to(self.path)))

    def _run(self, *words: str) -> None:
        enter = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]
        done = subprocess.run([*enter, *words], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stderr}"


@contextlib.contextmanager
def small_disk(place: Path, size: str = "2m") -> Iterator[SmallDisk]:
    """Mount a disk of that ``size`` at ``place``; skips the test where that cannot be had."""
    if sys.platform != "linux":
        pytest.skip("mount namespaces are Linux's")
    if os.geteuid() != 0:
        pytest.skip("a mount namespace takes root")
    for program in ("unshare", "nsenter", "mount"):
        if shutil.which(program) is None:
            pytest.skip(f"a mount namespace takes {program}")
    place.mkdir()
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, str(place), size],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"ready\n":
            assert holder.stderr is not None
            pytest.skip(f"no tmpfs can be mounted: {holder.stderr.read().decode(errors='replace').strip()}")
        yield SmallDisk(place, holder)
    finally:
        holder.kill()
        holder.communicate()
