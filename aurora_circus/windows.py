"""Processes as Windows knows them; what each function promises is said in :mod:`~aurora_circus.unix`.

Part of ``processes``. A system is led by its *runner* (:mod:`~aurora_circus.runner`), which is what circus started,
and its group is the runner's job. SIGTERM and SIGKILL are what they do: the first asks through the runner's event, the
second ends the whole job at once. The journal and the API use the same two words everywhere.

Windows has no zombies, but who holds a handle of a process can ask how it ended, after its end as well.
"""

import sys

assert sys.platform == "win32"  # noqa: S101 - for the type checker: elsewhere there is nothing of this

import asyncio  # noqa: E402 - what follows is there on Windows only
import contextlib  # noqa: E402
import os  # noqa: E402
from collections.abc import Callable, Iterable, Iterator  # noqa: E402
from typing import Literal  # noqa: E402

import psutil  # noqa: E402

from aurora_circus import winapi  # noqa: E402
from aurora_circus.errors import MachineError  # noqa: E402
from aurora_circus.facts import Process  # noqa: E402
from aurora_circus.marks import Mark  # noqa: E402

_NAMED = {
    winapi.KILLED: "SIGKILL",
    0xC000_0005: "ACCESS_VIOLATION",
    0xC000_001D: "ILLEGAL_INSTRUCTION",
    0xC000_0094: "INTEGER_DIVIDE_BY_ZERO",
    0xC000_00FD: "STACK_OVERFLOW",
    0xC000_0135: "DLL_NOT_FOUND",
    0xC000_013A: "CONTROL_C_EXIT",
    0xC000_0142: "DLL_INIT_FAILED",
    0xC000_0374: "HEAP_CORRUPTION",
    0xC000_0409: "STACK_BUFFER_OVERRUN",
}
"""Exit codes that stand for a signal: ours, and what Windows gives for a fault (ntstatus.h, less STATUS_)."""
How = Literal["runs", "stopped", "ended"]
_LAUNCHERS = 2
"""How many launchers may stand between us and who started us."""


@contextlib.contextmanager
def _handle(pid: int, *, terminate: bool = False) -> Iterator[int | None]:
    """Hold a handle of ``pid``; None when there is no such process. ``PermissionError``: there is, and we may not."""
    handle = winapi.open_process(pid, terminate=terminate)
    try:
        yield handle
    finally:
        if handle is not None:
            winapi.close(handle)


def identify(pid: int) -> Process | None:
    """See ``unix``."""
    try:
        with _handle(pid) as handle:
            return None if handle is None else Process(pid, winapi.started(handle))
    except PermissionError:
        with contextlib.suppress(psutil.Error):
            return Process(pid, psutil.Process(pid).create_time())
    return None


def glance(pid: int) -> tuple[Process, How] | None:
    """See ``unix``."""
    found = identify(pid)
    return None if found is None else (found, "runs" if alive(found) else "ended")


def alive(process: Process) -> bool:
    """See ``unix``."""
    try:
        with _handle(process.pid) as handle:
            return handle is not None and winapi.started(handle) == process.started and not winapi.signalled(handle)
    except PermissionError:
        return identify(process.pid) == process


def stopped(process: Process) -> bool:
    """See ``unix``; here nothing can be stopped but thread by thread, which is seen by what it does no more."""
    del process
    return False


def lineage() -> list[Process]:
    """See ``unix``; the ``python.exe`` of a virtual environment, and ``py``, start another one and wait for it."""
    found: list[Process] = []
    pid = os.getpid()
    for _ in range(_LAUNCHERS + 1):
        process = identify(pid)
        if process is None or (found and process.started > found[-1].started):  # that pid is somebody else's by now
            break
        found.append(process)
        try:
            pid = psutil.Process(pid).ppid()
        except psutil.Error:
            break
    return found


def boot() -> str:
    """See ``unix``; here a start time belongs to one boot alone."""
    return ""


def age(process: Process, wall: float) -> float:
    """See ``unix``."""
    return max(0.0, wall - process.started)


def exit_status(process: Process) -> tuple[int | None, str | None] | None:
    """See ``unix``; it can be seen for as long as somebody, such as a :class:`Watch`, has a handle of it."""
    try:
        with _handle(process.pid) as handle:
            if handle is None or winapi.started(handle) != process.started or not winapi.signalled(handle):
                return None
            return from_exit_code(winapi.exit_code(handle))
    except PermissionError:
        return None


def from_exit_code(code: int) -> tuple[int | None, str | None]:
    """See ``unix``."""
    code &= 0xFFFF_FFFF  # circus and subprocess have seen it with a sign
    return (None, _NAMED[code]) if code in _NAMED else (code, None)


_dying: dict[Process, list[tuple[Process, int]]] = {}
"""Whom we have ended by force, with a handle each: their job is forgotten before the last of them is gone."""


def members(leader: Process) -> list[Process]:
    """See ``unix``; who is no runner, or has just begun to be one, is a group of one."""
    found = _in_job(leader)
    if leader not in found and alive(leader):
        found.append(leader)
    dying = _dying.pop(leader, [])
    for process, handle in dying:
        if winapi.signalled(handle):
            winapi.close(handle)
        else:
            _dying.setdefault(leader, []).append((process, handle))
            found += [process] if process not in found else []
    return sorted(found, key=lambda each: each.pid != leader.pid)


def _in_job(leader: Process) -> list[Process]:
    """Return who runs in the job that ``leader`` leads, as far as we may see it."""
    try:
        job = winapi.open_job(winapi.name_of("job", leader.pid, leader.started))
        if job is None:
            return []
        try:
            pids = winapi.members(job)
        finally:
            winapi.close(job)
    except OSError:  # another user's, or another's whom we may not look at: the leader is all that we know of it
        return []
    return [each for pid in pids if (each := identify(pid)) is not None and alive(each)]


def terminate(leader: Process) -> bool:
    """See ``unix``; who cannot be asked is ended by force."""
    if not members(leader):
        return False
    return ask_to_stop(leader) or kill(leader)


def ask_to_stop(leader: Process) -> bool:
    """Set the event on which a runner, or our plugin, waits; False when there is none.

    Raises:
        MachineError: we may not.
    """
    try:
        return winapi.set_event(winapi.name_of("stop", leader.pid, leader.started))
    except OSError as error:
        raise MachineError(f"asking process {leader.pid} to stop: {error.strerror}") from error


def freeze(leader: Process) -> bool:
    """See ``unix``."""
    return _each(leader, "suspend")


def thaw(leader: Process) -> bool:
    """See ``unix``."""
    return _each(leader, "resume")


def _each(leader: Process, what: Literal["suspend", "resume"]) -> bool:
    """Suspend or resume everybody in the job of ``leader``; who has ended meanwhile needs neither."""
    group = members(leader)
    for each in group:
        try:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(psutil.Process(each.pid), what)()
        except (psutil.Error, OSError) as error:
            raise MachineError(f"to {what} process {each.pid}: {error}") from error
    return bool(group)


def moment() -> int:
    """See ``families``; here the job knows everybody, and nobody leaves it."""
    return 0


def everybody(leader: Process, mark: Mark | None, after: int | None = None) -> list[Process]:
    """See ``families``."""
    del mark, after
    return members(leader)


left = everybody


def hold(leader: Process, mark: Mark) -> None:
    """See ``families``."""
    del leader, mark


def forget(leader: Process) -> None:
    """See ``families``."""
    del leader


def terminate_all(leader: Process, mark: Mark | None, after: int | None = None) -> bool:
    """See ``families``."""
    del mark, after
    return terminate(leader)


def terminate_others(leader: Process, mark: Mark | None, after: int | None = None) -> None:
    """See ``families``; here the runner tells all of them."""
    del leader, mark, after


def kill_all(leader: Process, mark: Mark | None, after: int | None = None) -> bool:
    """See ``families``."""
    del mark, after
    return kill(leader)


def left_of(run_dir: str, keys: Iterable[str] = (), after: int | None = None) -> dict[str, list[Process]]:
    """See ``families``; here nobody outlives its runner."""
    del run_dir, keys, after
    return {}


def zombies() -> list[int]:
    """See ``families``; Windows has none."""
    return []


def kill(leader: Process) -> bool:
    """See ``unix``."""
    group = members(leader)
    if not group:
        return False
    try:
        job = winapi.open_job(winapi.name_of("job", leader.pid, leader.started))
        if job is not None:
            try:
                _remember(leader, group)
                joined = leader.pid in winapi.members(job)
                winapi.terminate_job(job, winapi.KILLED)
            finally:
                winapi.close(job)
            if joined:
                return True  # … and a runner that was just about to join is ended as what it is
        with _handle(leader.pid, terminate=True) as handle:
            if handle is None or winapi.started(handle) != leader.started or winapi.signalled(handle):
                return False
            winapi.terminate(handle, winapi.KILLED)
            return True
    except OSError as error:
        raise MachineError(f"ending process {leader.pid} and its job: {error.strerror}") from error


def _remember(leader: Process, group: list[Process]) -> None:
    """Hold on to who is about to be ended, so that it is seen when they are gone."""
    known = {each for each, _ in _dying.get(leader, ())}
    for each in group:
        if each in known:
            continue
        with contextlib.suppress(OSError):  # who may not be looked at is ended all the same
            handle = winapi.open_process(each.pid)
            if handle is not None:
                _dying.setdefault(leader, []).append((each, handle))


class Watch:
    """See ``unix``; while it is open, :func:`exit_status` can say how the process ended."""

    def __init__(self, handle: int) -> None:
        """Own ``handle``."""
        self._handle = handle
        self._registration: winapi.Registration | None = None

    def notify(self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        """See ``unix``."""

        def ended() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(self._tell, call)

        self._registration = winapi.Registration(self._handle, ended)

    def _tell(self, call: Callable[[], object]) -> None:
        if self._registration is not None:
            call()

    def wait(self, timeout: float) -> None:
        """See ``unix``."""
        winapi.signalled(self._handle, timeout)

    def close(self) -> None:
        """See ``unix``."""
        registration, self._registration = self._registration, None
        if registration is not None:
            registration.cancel()
        winapi.close(self._handle)


def watch(process: Process) -> Watch | None:
    """See ``unix``."""
    try:
        handle = winapi.open_process(process.pid)
    except PermissionError:
        return None
    if handle is None:
        return None
    if winapi.started(handle) != process.started:
        winapi.close(handle)
        return None
    return Watch(handle)
