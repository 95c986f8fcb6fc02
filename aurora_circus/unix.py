"""Processes as Unix knows them: Linux by /proc and pidfd, macOS and the BSDs by psutil and kqueue.

Part of ``processes``. circus starts each system in a session of its own, so its group's number is the leader's pid.
"""

import sys

assert sys.platform != "win32"  # noqa: S101 - for the type checker: there is nothing of this there

import asyncio  # noqa: E402 - what follows is not there on Windows
import contextlib  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import selectors  # noqa: E402
import signal  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Literal  # noqa: E402

import psutil  # noqa: E402

from aurora_circus.errors import MachineError  # noqa: E402
from aurora_circus.facts import Process  # noqa: E402

How = Literal["runs", "stopped", "ended"]
_LINUX = sys.platform.startswith("linux")
_ENDED = frozenset("ZXx")
"""States of /proc/PID/stat in which a process runs no more: zombie and dead (proc_pid_stat(5))."""


_STAT = 4096
"""Bytes of /proc/PID/stat, which is one line of at most 52 numbers and a name of 64 bytes."""


def identify(pid: int) -> Process | None:
    """Return who ``pid`` is now, zombies included; None when there is no such process.

    Raises:
        MachineError: that cannot be seen, for want of a descriptor, say.
    """
    if _LINUX:
        fields = _stat(pid)
        return None if fields is None else Process(pid, float(fields[19]))
    try:
        return Process(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def glance(pid: int) -> tuple[Process, How] | None:
    """Return who ``pid`` is now and how it is, by one look; None when there is no such process.

    Raises:
        MachineError: as for :func:`identify`.
    """
    if _LINUX:
        fields = _stat(pid)
        if fields is None:
            return None
        how: How = "ended" if fields[0] in _ENDED else "stopped" if fields[0] == "T" else "runs"
        return Process(pid, float(fields[19])), how
    found = identify(pid)
    return None if found is None else (found, "ended" if not alive(found) else "stopped" if stopped(found) else "runs")


def alive(process: Process) -> bool:
    """Say whether ``process`` itself still runs; a zombie does not, where it can be told from who does."""
    if _LINUX:
        try:
            fields = _stat(process.pid)
        except MachineError:
            return _is_there(os.kill, process.pid)
        return fields is not None and float(fields[19]) == process.started and fields[0] not in _ENDED
    try:
        found = psutil.Process(process.pid)
        return found.create_time() == process.started and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def stopped(process: Process) -> bool:
    """Say whether ``process`` was stopped (SIGSTOP, Ctrl-Z) and not continued; one under a debugger is not."""
    if _LINUX:
        try:
            fields = _stat(process.pid)
        except MachineError:
            return False
        return fields is not None and float(fields[19]) == process.started and fields[0] == "T"
    try:
        found = psutil.Process(process.pid)
        return found.create_time() == process.started and found.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def lineage() -> list[Process]:
    """Return as whom this process may be known to who started it: itself."""
    me = identify(os.getpid())
    return [] if me is None else [me]


def boot() -> str:
    """Return what tells this start of the machine from any other; a start time counts from it on Linux alone."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() if _LINUX else ""


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
    try:
        fields = _stat(process.pid) if _LINUX else None
    except MachineError:
        return None
    if fields is None or float(fields[19]) != process.started or fields[0] not in _ENDED:
        return None
    return from_exit_code(os.waitstatus_to_exitcode(int(fields[49])))


def from_exit_code(code: int) -> tuple[int | None, str | None]:
    """Return (code, signal name) for a code as ``subprocess`` and circus have it: a signal is a negative one."""
    return (code, None) if code >= 0 else (None, _signal_name(-code))


def _signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9; the number in words where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def members(leader: Process) -> list[Process]:
    """Return who runs in the group that ``leader`` leads, without zombies, the leader first where it lives.

    Where that cannot be seen, for want of a descriptor, say, the leader stands for all of them while there are any.
    """
    try:
        current = identify(leader.pid)
        if current is not None and current != leader:
            return []  # the pid, and so the group, is somebody else's by now
        found = [each for pid in _group(leader.pid) if (each := identify(pid)) is not None and alive(each)]
    except (MachineError, OSError):
        return [leader] if _is_there(os.killpg, leader.pid) else []
    return sorted(found, key=lambda each: each.pid != leader.pid)


def terminate(leader: Process) -> bool:
    """Send SIGTERM to everybody in the group of ``leader``; False when nobody is left.

    SIGCONT follows, as systemd sends it (systemd.kill(5)): who is stopped could not end, and may do so in good order.

    Raises:
        MachineError: the signal was refused.
    """
    some = _signal_group(leader, signal.SIGTERM)
    if some:
        _signal_group(leader, signal.SIGCONT)
    return some


def kill(leader: Process) -> bool:
    """Send SIGKILL to everybody in the group of ``leader``; False when nobody is left.

    Raises:
        MachineError: the signal was refused.
    """
    return _signal_group(leader, signal.SIGKILL)


def freeze(leader: Process) -> bool:
    """Send SIGSTOP to everybody in the group of ``leader``; False when nobody is left.

    Raises:
        MachineError: the signal was refused.
    """
    return _signal_group(leader, signal.SIGSTOP)


def thaw(leader: Process) -> bool:
    """Let everybody in the group of ``leader`` go on; False when nobody is left.

    Raises:
        MachineError: the signal was refused.
    """
    return _signal_group(leader, signal.SIGCONT)


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to ``process`` itself, and to nobody who has its pid by now; False when it is gone.

    Raises:
        MachineError: the signal was refused.
    """
    try:
        descriptor = _descriptor(process.pid)
        try:
            if not alive(process):
                return False
            if descriptor is not None and sys.platform == "linux":
                signal.pidfd_send_signal(descriptor, number)
            else:
                os.kill(process.pid, number)
        finally:
            if descriptor is not None:
                os.close(descriptor)
    except ProcessLookupError:
        return False
    except OSError as error:
        raise MachineError(f"{number.name} to process {process.pid}: {error.strerror}") from error
    return True


def _descriptor(pid: int) -> int | None:
    """Return what stands for the process that has this pid now; None where the system has no such thing.

    Raises:
        ProcessLookupError: there is no such process.
    """
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        raise
    except OSError:  # a kernel before 5.3, or out of descriptors
        return None


def _signal_group(leader: Process, number: signal.Signals) -> bool:
    if not members(leader):
        return False
    try:
        os.killpg(leader.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise MachineError(f"{number.name} to process group {leader.pid}: {error.strerror}") from error
    return True


class Watch:
    """Tells the end of one process: to an event loop, or to who waits for it. Whoever has it closes it."""

    def __init__(self, descriptor: int, release: Callable[[], None]) -> None:
        """``descriptor`` becomes readable when the process ends; ``release`` closes it."""
        self._descriptor = descriptor
        self._release = release
        self._loop: asyncio.AbstractEventLoop | None = None

    def notify(self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        """Have ``call`` called once on ``loop`` when the process has ended; not after :meth:`close`."""

        def ended() -> None:
            self._forget()
            call()

        self._loop = loop
        loop.add_reader(self._descriptor, ended)

    def wait(self, timeout: float) -> None:
        """Wait until the process has ended, ``timeout`` seconds at most."""
        with selectors.DefaultSelector() as selector:  # what the event loop takes, too: a kqueue is not for poll(2)
            selector.register(self._descriptor, selectors.EVENT_READ)
            selector.select(timeout)

    def close(self) -> None:
        """Tell nobody any more."""
        self._forget()
        self._release()

    def _forget(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop = None


def watch(process: Process) -> Watch | None:
    """Return what tells the end of ``process``, also of one that is not our child; None where nothing does.

    Linux 5.3 and later: pidfd_open(2). macOS and the BSDs: a kqueue of its own, with EVFILT_PROC (kqueue(2)), which is
    a descriptor like any other. None also for a process that has ended, or that is not the one meant.
    """
    try:
        if hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(process.pid)
            found = Watch(descriptor, lambda: os.close(descriptor))
        elif hasattr(select, "kqueue"):
            bsd: Any = select  # whose types are there for the systems that have it
            queue = bsd.kqueue()
            found = Watch(queue.fileno(), queue.close)
            try:
                flags = bsd.KQ_EV_ADD | bsd.KQ_EV_ONESHOT
                queue.control([bsd.kevent(process.pid, bsd.KQ_FILTER_PROC, flags, bsd.KQ_NOTE_EXIT)], 0)
            except OSError:
                queue.close()
                return None
        else:
            return None
    except OSError:
        return None
    try:
        meant = identify(process.pid) == process
    except MachineError:
        meant = False
    if not meant:
        found.close()
        return None
    return found


def _group(number: int) -> Iterator[int]:
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == number:
                yield pid


def _is_there(signal_to: Callable[[int, int], object], number: int) -> bool:
    """Say whether there is such a process, or such a group, dead or alive: the one thing that takes no descriptor."""
    try:
        signal_to(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _stat(pid: int) -> list[str] | None:
    """Return /proc/PID/stat from field 3 on (index 0 is the state); None when there is no such process.

    Raises:
        MachineError: it cannot be read, for want of a descriptor, say.
    """
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        try:
            text = os.read(file, _STAT)
        finally:
            os.close(file)
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as error:
        raise MachineError(f"looking at process {pid}: {error.strerror}") from error
    return text[text.rindex(b")") + 2 :].decode("ascii").split()
