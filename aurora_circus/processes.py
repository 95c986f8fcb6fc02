"""Processes as the operating system knows them: who lives, how one ended, and signals to whole groups. An adapter.

Each system is the leader of a process group of its own (circus starts it in a session of its own, so the group's
number is the leader's pid). A process is known by pid and start time, never by its pid alone. Nothing here waits.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from aurora_circus.errors import MachineError
from aurora_circus.facts import Process

_LINUX = sys.platform.startswith("linux")
_ENDED = frozenset("ZXx")
"""States of /proc/PID/stat in which a process runs no more: zombie and dead (proc_pid_stat(5))."""


def identify(pid: int) -> Process | None:
    """Return who ``pid`` is now, zombies included; None when there is no such process."""
    if _LINUX:
        fields = _stat(pid)
        return None if fields is None else Process(pid, float(fields[19]))
    try:
        return Process(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def alive(process: Process) -> bool:
    """Say whether ``process`` itself still runs; a zombie does not."""
    if _LINUX:
        fields = _stat(process.pid)
        return fields is not None and float(fields[19]) == process.started and fields[0] not in _ENDED
    try:
        found = psutil.Process(process.pid)
        return found.create_time() == process.started and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def boot() -> str:
    """Return what tells this start of the machine from any other."""
    if _LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return str(round(psutil.boot_time()))


def age(process: Process, wall: float) -> float:
    """Return for how many seconds ``process`` has run; ``wall`` is the time of day now, in seconds since the epoch."""
    if _LINUX:
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return max(0.0, up - process.started / os.sysconf("SC_CLK_TCK"))
    return max(0.0, wall - process.started)


def exit_status(process: Process) -> tuple[int | None, str | None] | None:
    """Return (code, signal name) of a dead process that nobody has waited for yet; None where that cannot be seen.

    Linux keeps a zombie's wait status as field 52 of /proc/PID/stat (proc_pid_stat(5)); it may be read with the same
    rights that ptrace asks for.
    """
    fields = _stat(process.pid) if _LINUX else None
    if fields is None or float(fields[19]) != process.started or fields[0] not in _ENDED:
        return None
    return from_wait_status(int(fields[49]))


def from_wait_status(status: int) -> tuple[int | None, str | None]:
    """Split a wait status into an exit code or the name of a signal."""
    code = os.waitstatus_to_exitcode(status)
    return (code, None) if code >= 0 else (None, signal_name(-code))


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9; the number in words where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def watch(process: Process) -> int | None:
    """Return a descriptor that becomes readable when ``process`` ends; None where the system has no such thing.

    The caller closes it. Linux 5.3 and later: pidfd_open(2), also for processes that are not our children.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return None
    if identify(process.pid) != process:
        os.close(descriptor)
        return None
    return descriptor


def members(leader: Process) -> list[Process]:
    """Return who runs in the group that ``leader`` leads, without zombies, the leader first where it lives."""
    current = identify(leader.pid)
    if current is not None and current != leader:
        return []  # the pid, and so the group, is somebody else's by now
    found = [each for pid in _group(leader.pid) if (each := identify(pid)) is not None and alive(each)]
    return sorted(found, key=lambda each: each.pid != leader.pid)


def signal_group(leader: Process, number: int) -> bool:
    """Send a signal to everybody in the group of ``leader``; False when nobody is left.

    Raises:
        MachineError: the signal was refused.
    """
    if not members(leader):
        return False
    try:
        os.killpg(leader.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        message = f"{signal_name(number)} to process group {leader.pid}: {error.strerror}"
        raise MachineError(message) from error
    return True


def _group(number: int) -> Iterator[int]:
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == number:
                yield pid


def _stat(pid: int) -> list[str] | None:
    """Return /proc/PID/stat from field 3 on (index 0 is the state); None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(b")") + 2 :].decode("ascii").split()
