"""Processes as ``/proc`` shows them: who is there, what they cost, and how one of them ends.

Nobody is ended here but by a pid that carries this run's own mark. Linux only; what is read is told apart from what it
means, so that the latter is tested anywhere.
"""

import contextlib
import os
import select
import time
from collections.abc import Iterable

DEAD = frozenset({"", "Z", "X"})
KILL = 9
"""SIGKILL, by its number: Windows has no name for it, and what is pure here is tested there too."""
CPU_CLOCK_OF_PROCESS = 2
"""What Linux's clock ids end with that count the CPU time of a whole process, threads that have ended included."""


# --- what the texts mean ---------------------------------------------------------------------------------------------


def state_in(stat: bytes) -> str:
    """Return the state in a line of ``/proc/PID/stat``; a process may have any name, brackets and blanks too."""
    return stat.rpartition(b")")[2].strip()[:1].decode()


def pss_in(smaps: str) -> int:
    """Return the proportional share in ``/proc/PID/smaps_rollup``, in bytes."""
    for line in smaps.splitlines():
        name, _, rest = line.partition(":")
        if name == "Pss":
            return int(rest.split()[0]) * 1024
    return 0


def listening_in(table: str, port: int) -> set[str]:
    """Return the inodes of the sockets that listen on ``port``, of a table such as ``/proc/net/tcp``."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


def cpu_clock(pid: int) -> int:
    """Return the number of the clock that counts a process's CPU time (clock_getcpuclockid(3))."""
    return (~pid << 3) | CPU_CLOCK_OF_PROCESS


# --- reading and ending ----------------------------------------------------------------------------------------------


def read(pid: int, name: str) -> bytes:
    """Return one of the files of a process; nothing when it is gone."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123 - hundreds of times a second
            return file.read()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    return state_in(read(pid, "stat")) not in DEAD


def with_mark(mark: str) -> set[int]:
    """Return the processes that were started with this text among their arguments or in their environment."""
    wanted = mark.encode()
    found = set()
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are enough
        if name.isdigit() and int(name) != os.getpid():
            pid = int(name)
            if (wanted in read(pid, "environ") or wanted in read(pid, "cmdline")) and alive(pid):
                found.add(pid)
    return found


def words(pid: int, most: int = 60) -> str:
    """Return how a process was started, no longer than one may want to read."""
    return read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()[:most]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has had, to the nanosecond; 0 when it is gone."""
    try:
        return time.clock_gettime(cpu_clock(pid))
    except OSError:
        return 0.0


def pss(pid: int) -> int:
    """Return the memory of a process in bytes, what it shares divided among its sharers."""
    return pss_in(read(pid, "smaps_rollup").decode())


def send(pid: int, number: int = KILL) -> None:
    """Send a signal; who is gone has no need of it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Death:
    """Tells of the end of one process as the kernel does, without a look in between."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    def wait(self, seconds: float) -> bool:
        """Wait for it; say whether it has come."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return bool(poller.poll(max(0.0, seconds) * 1000))

    def close(self) -> None:
        """Look no longer."""
        os.close(self._descriptor)


def all_gone(pids: Iterable[int], seconds: float) -> set[int]:
    """Wait until none of these runs, and return those that do when the time is over."""
    deadline = time.monotonic() + seconds
    left = {pid for pid in pids if alive(pid)}
    while left and time.monotonic() < deadline:
        time.sleep(0.003)
        left = {pid for pid in left if alive(pid)}
    return left
