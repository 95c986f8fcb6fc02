r"""The few calls of Windows that neither Python nor psutil has: jobs, named events, waits. A leaf, for Windows alone.

A *job* is to Windows what a process group is to Unix, and better: whoever is in it stays in it, and so do all whom it
starts. Names are in the ``Global\`` namespace: a service and a person who has logged in are in different sessions.
Every function raises ``OSError`` with what Windows said. The runner imports this: nothing here may be heavy.

Source: Microsoft's reference of processthreadsapi.h, synchapi.h, jobapi2.h, winnt.h, wincon.h and iphlpapi.h.
"""

import sys

assert sys.platform == "win32"  # noqa: S101 - for the type checker: elsewhere there is nothing of this

import ctypes  # noqa: E402 - what follows is there on Windows only
import msvcrt  # noqa: E402
import os  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from ctypes import wintypes  # noqa: E402

KILLED = 0xE0A0_0009
"""The exit code of who is ended by force: 9 for SIGKILL, among the codes that Windows leaves to others (bit 29)."""
_EPOCH = 116_444_736_000_000_000
"""1970 in a FILETIME's 100 ns since 1601."""
_FILE_NOT_FOUND, _INVALID_PARAMETER, _ALREADY_EXISTS, _MORE_DATA = 2, 87, 183, 234
_SYNCHRONIZE = 0x0010_0000
_PROCESS_TERMINATE = 0x0001
_PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
_JOB_QUERY, _JOB_TERMINATE = 0x0004, 0x0008
_EVENT_MODIFY_STATE = 0x0002
_FILE_APPEND_DATA, _FILE_READ_ATTRIBUTES = 0x0004, 0x0080
_GENERIC_READ, _GENERIC_WRITE = 0x8000_0000, 0x4000_0000
_SHARE_ALL = 0x0007
_CREATE_NEW, _CREATE_ALWAYS, _OPEN_EXISTING, _OPEN_ALWAYS, _TRUNCATE_EXISTING = range(1, 6)
_FILE_ATTRIBUTE_NORMAL = 0x80
_INVALID_HANDLE = ctypes.c_void_p(-1).value
_JOB_BASIC_PROCESS_ID_LIST, _JOB_EXTENDED_LIMIT_INFORMATION = 3, 9
_KILL_ON_JOB_CLOSE = 0x2000
_WAIT_TIMEOUT, _WAIT_FAILED = 0x102, 0xFFFF_FFFF
_ONLY_ONCE = 0x0000_0008
_CTRL_BREAK = 1
_FOREVER = 0xFFFF_FFFF
_MOST_IN_A_JOB = 1 << 16
_AF_INET, _AF_INET6, _TCP_TABLE_OWNER_PID_LISTENER = 2, 23, 3
_INSUFFICIENT_BUFFER, _TRIES = 122, 10


class _Limits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("per_process_time", ctypes.c_int64),
        ("per_job_time", ctypes.c_int64),
        ("flags", wintypes.DWORD),
        ("least_working_set", ctypes.c_size_t),
        ("most_working_set", ctypes.c_size_t),
        ("most_processes", wintypes.DWORD),
        ("affinity", ctypes.c_size_t),
        ("priority", wintypes.DWORD),
        ("scheduling", wintypes.DWORD),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


_kernel = ctypes.WinDLL("kernel32", use_last_error=True)
_HANDLE, _DWORD, _BOOL, _TEXT = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR
_WAITED = ctypes.WINFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ubyte)


def _declare(name: str, result: object, *arguments: object) -> None:
    function = getattr(_kernel, name)
    function.restype, function.argtypes = result, arguments


_declare("OpenProcess", _HANDLE, _DWORD, _BOOL, _DWORD)
_declare("CloseHandle", _BOOL, _HANDLE)
_declare("GetProcessTimes", _BOOL, _HANDLE, *(ctypes.POINTER(wintypes.FILETIME),) * 4)
_declare("GetExitCodeProcess", _BOOL, _HANDLE, ctypes.POINTER(_DWORD))
_declare("TerminateProcess", _BOOL, _HANDLE, wintypes.UINT)
_declare("WaitForSingleObject", _DWORD, _HANDLE, _DWORD)
_declare("WaitForMultipleObjects", _DWORD, _DWORD, ctypes.POINTER(_HANDLE), _BOOL, _DWORD)
_declare("CreateJobObjectW", _HANDLE, ctypes.c_void_p, _TEXT)
_declare("OpenJobObjectW", _HANDLE, _DWORD, _BOOL, _TEXT)
_declare("SetInformationJobObject", _BOOL, _HANDLE, ctypes.c_int, ctypes.c_void_p, _DWORD)
_declare("QueryInformationJobObject", _BOOL, _HANDLE, ctypes.c_int, ctypes.c_void_p, _DWORD, ctypes.c_void_p)
_declare("AssignProcessToJobObject", _BOOL, _HANDLE, _HANDLE)
_declare("TerminateJobObject", _BOOL, _HANDLE, wintypes.UINT)
_declare("CreateEventW", _HANDLE, ctypes.c_void_p, _BOOL, _BOOL, _TEXT)
_declare("OpenEventW", _HANDLE, _DWORD, _BOOL, _TEXT)
_declare("SetEvent", _BOOL, _HANDLE)
_declare("CreateFileW", _HANDLE, _TEXT, _DWORD, _DWORD, ctypes.c_void_p, _DWORD, _DWORD, _HANDLE)
_declare("GetCurrentProcess", _HANDLE)
_declare("GenerateConsoleCtrlEvent", _BOOL, _DWORD, _DWORD)
_declare(
    "RegisterWaitForSingleObject",
    _BOOL,
    ctypes.POINTER(_HANDLE),
    _HANDLE,
    _WAITED,
    ctypes.c_void_p,
    *(wintypes.ULONG,) * 2,
)
_declare("UnregisterWaitEx", _BOOL, _HANDLE, _HANDLE)


def _fault(what: str) -> OSError:
    code = ctypes.get_last_error()
    return OSError(None, f"{what}: {ctypes.FormatError(code).strip()}", None, code)


def name_of(what: str, pid: int, started: float) -> str:
    """Return the name of the job or event that belongs to a process; no two processes ever have the same."""
    return f"Global\\aurora-circus-{what}-{pid}-{started:.6f}"


def close(handle: int) -> None:
    """Let go of a handle."""
    if not _kernel.CloseHandle(handle):
        raise _fault("CloseHandle")


# --- processes -----------------------------------------------------------------------------------------------------


def current_process() -> int:
    """Return a handle of this process, which needs no closing."""
    return int(_kernel.GetCurrentProcess())


def open_process(pid: int, *, terminate: bool = False) -> int | None:
    """Return a handle of a process, also of a dead one that somebody still holds; None when there is none.

    ``PermissionError``: there is one, and we may not.
    """
    wanted = _PROCESS_QUERY_LIMITED_INFORMATION | _SYNCHRONIZE | (_PROCESS_TERMINATE if terminate else 0)
    handle = _kernel.OpenProcess(wanted, False, pid)  # noqa: FBT003 - bInheritHandle
    if handle:
        return int(handle)
    if ctypes.get_last_error() == _INVALID_PARAMETER:
        return None
    raise _fault(f"OpenProcess {pid}")


def started(process: int) -> float:
    """Return when a process started, in seconds since 1970; of the same process it is always the same float."""
    created, *others = (wintypes.FILETIME() for _ in range(4))
    if not _kernel.GetProcessTimes(process, *map(ctypes.byref, (created, *others))):
        raise _fault("GetProcessTimes")
    return ((created.dwHighDateTime << 32 | created.dwLowDateTime) - _EPOCH) / 1e7


def signalled(handle: int, timeout: float = 0.0) -> bool:
    """Say whether a process has ended, or an event is set, within ``timeout`` seconds."""
    result = _kernel.WaitForSingleObject(handle, _milliseconds(timeout))
    if result == _WAIT_FAILED:
        raise _fault("WaitForSingleObject")
    return bool(result != _WAIT_TIMEOUT)


def wait_any(handles: Sequence[int], timeout: float | None = None) -> int | None:
    """Wait until one of up to 64 handles is signalled and return its place; None after ``timeout`` seconds."""
    limit = _FOREVER if timeout is None else _milliseconds(timeout)
    result = _kernel.WaitForMultipleObjects(len(handles), (_HANDLE * len(handles))(*handles), False, limit)  # noqa: FBT003 - bWaitAll
    if result == _WAIT_FAILED:
        raise _fault("WaitForMultipleObjects")
    return None if result == _WAIT_TIMEOUT else int(result)


def exit_code(process: int) -> int:
    """Return the exit code of a process that has ended, from 0 to 2³² - 1."""
    code = _DWORD()
    if not _kernel.GetExitCodeProcess(process, ctypes.byref(code)):
        raise _fault("GetExitCodeProcess")
    return code.value


def terminate(process: int, code: int) -> None:
    """End a process at once; it is told nothing."""
    if not _kernel.TerminateProcess(process, code) and not signalled(process):
        raise _fault("TerminateProcess")


# --- jobs ----------------------------------------------------------------------------------------------------------


def create_job(name: str) -> int:
    """Make a job that ends all who are in it as soon as its last handle is closed, by whatever closes it."""
    ctypes.set_last_error(0)
    job = _kernel.CreateJobObjectW(None, name)
    if not job or ctypes.get_last_error() == _ALREADY_EXISTS:  # somebody else's: what joins it is theirs to end
        raise _fault(f"CreateJobObject {name}")
    limits = _Limits(flags=_KILL_ON_JOB_CLOSE)
    if not _kernel.SetInformationJobObject(
        job, _JOB_EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
    ):
        raise _fault(f"SetInformationJobObject {name}")
    return int(job)


def open_job(name: str) -> int | None:
    """Return a handle of a job; None when there is no such job. Hold it for a moment only: it keeps the job open."""
    job = _kernel.OpenJobObjectW(_JOB_QUERY | _JOB_TERMINATE, False, name)  # noqa: FBT003 - bInheritHandle
    if job:
        return int(job)
    if ctypes.get_last_error() == _FILE_NOT_FOUND:
        return None
    raise _fault(f"OpenJobObject {name}")


def join(job: int) -> None:
    """Put this process, and all that it starts from now on, into a job."""
    if not _kernel.AssignProcessToJobObject(job, current_process()):
        raise _fault("AssignProcessToJobObject")


def members(job: int) -> list[int]:
    """Return the pids of who runs in a job."""
    room = 64
    while room <= _MOST_IN_A_JOB:

        class List(ctypes.Structure):  # JOBOBJECT_BASIC_PROCESS_ID_LIST
            _fields_ = (("assigned", _DWORD), ("count", _DWORD), ("pids", ctypes.c_size_t * room))

        found = List()
        if _kernel.QueryInformationJobObject(
            job, _JOB_BASIC_PROCESS_ID_LIST, ctypes.byref(found), ctypes.sizeof(found), None
        ):
            return list(found.pids[: found.count])
        if ctypes.get_last_error() != _MORE_DATA:
            break
        room *= 4
    raise _fault("QueryInformationJobObject")


def terminate_job(job: int, code: int) -> None:
    """End all who are in a job at once, ourselves too where we are."""
    if not _kernel.TerminateJobObject(job, code):
        raise _fault("TerminateJobObject")


# --- events --------------------------------------------------------------------------------------------------------


def create_event(name: str | None) -> int:
    """Make an event that stays set once it is, for everybody or, without a name, for ourselves."""
    ctypes.set_last_error(0)
    event = _kernel.CreateEventW(None, True, False, name)  # noqa: FBT003 - bManualReset, bInitialState
    if not event or ctypes.get_last_error() == _ALREADY_EXISTS:
        raise _fault(f"CreateEvent {name}")
    return int(event)


def set_handle(event: int) -> None:
    """Set an event that we have a handle of."""
    if not _kernel.SetEvent(event):
        raise _fault("SetEvent")


def set_event(name: str) -> bool:
    """Set a named event; False when nobody has made it."""
    event = _kernel.OpenEventW(_EVENT_MODIFY_STATE, False, name)  # noqa: FBT003 - bInheritHandle
    if not event:
        if ctypes.get_last_error() == _FILE_NOT_FOUND:
            return False
        raise _fault(f"OpenEvent {name}")
    try:
        set_handle(event)
    finally:
        close(event)
    return True


class Registration:
    """Has a function called, once and in a thread of Windows' own, when a handle is signalled."""

    def __init__(self, handle: int, call: Callable[[], object]) -> None:
        """``call`` must be short, and must raise nothing."""
        self._function = _WAITED(lambda _context, _timed_out: call())
        self._wait = _HANDLE()
        if not _kernel.RegisterWaitForSingleObject(
            ctypes.byref(self._wait), handle, self._function, None, _FOREVER, _ONLY_ONCE
        ):
            raise _fault("RegisterWaitForSingleObject")

    def cancel(self) -> None:
        """See to it that nothing is called any more; a call that is under way is waited for."""
        if self._wait.value is not None:
            _kernel.UnregisterWaitEx(self._wait, _INVALID_HANDLE)
            self._wait = _HANDLE()


# --- listeners -----------------------------------------------------------------------------------------------------


class _Row4(ctypes.Structure):
    """MIB_TCPROW_OWNER_PID."""

    _fields_ = (
        ("state", _DWORD),
        ("address", ctypes.c_ubyte * 4),
        ("port", _DWORD),
        ("remote", _DWORD * 2),
        ("pid", _DWORD),
    )


class _Row6(ctypes.Structure):
    """MIB_TCP6ROW_OWNER_PID."""

    _fields_ = (
        ("address", ctypes.c_ubyte * 16),
        ("scope", _DWORD),
        ("port", _DWORD),
        ("remote", _DWORD * 6),
        ("state", _DWORD),
        ("pid", _DWORD),
    )


def listeners() -> list[tuple[bytes, int, int]]:
    """Return who listens by TCP: (address of 4 or 16 bytes, port, pid); a pid of 0 is one that is not told.

    Listeners alone: psutil reads all connections, of which a busy machine has thousands.
    """
    table_of = ctypes.WinDLL("iphlpapi").GetExtendedTcpTable
    found = []
    for family, row in ((_AF_INET, _Row4), (_AF_INET6, _Row6)):
        size = _DWORD(0)
        buffer = ctypes.create_string_buffer(0)
        for _ in range(_TRIES):  # it may grow between two calls
            code = table_of(buffer, ctypes.byref(size), False, family, _TCP_TABLE_OWNER_PID_LISTENER, 0)  # noqa: FBT003 - bOrder
            if code != _INSUFFICIENT_BUFFER:
                break
            buffer = ctypes.create_string_buffer(size.value)
        if code:
            raise OSError(None, f"GetExtendedTcpTable: {ctypes.FormatError(code).strip()}", None, code)
        count = _DWORD.from_buffer(buffer).value
        rows = (row * count).from_buffer(buffer, ctypes.sizeof(_DWORD))
        found += [
            (bytes(each.address), int.from_bytes(each.port.to_bytes(4, "little")[:2], "big"), each.pid) for each in rows
        ]
    return found


# --- files and consoles ----------------------------------------------------------------------------------------------


def open_shared(path: str, flags: int) -> int:
    """Open a file with the ``flags`` of ``os.open``, so that others may rename, replace or remove it meanwhile."""
    access = {os.O_RDONLY: _GENERIC_READ, os.O_WRONLY: _GENERIC_WRITE}.get(
        flags & (os.O_WRONLY | os.O_RDWR), _GENERIC_READ | _GENERIC_WRITE
    )
    if flags & os.O_CREAT:
        how = _CREATE_NEW if flags & os.O_EXCL else _CREATE_ALWAYS if flags & os.O_TRUNC else _OPEN_ALWAYS
    else:
        how = _TRUNCATE_EXISTING if flags & os.O_TRUNC else _OPEN_EXISTING
    return _open(path, access, how, flags)


def open_log(path: str) -> int:
    """Return a descriptor that appends, whatever else is done to the file meanwhile: it may be emptied or renamed."""
    access = _FILE_APPEND_DATA | _FILE_READ_ATTRIBUTES | _SYNCHRONIZE
    return _open(path, access, _OPEN_ALWAYS, os.O_APPEND | os.O_WRONLY)


def _open(path: str, access: int, how: int, flags: int) -> int:
    handle = _kernel.CreateFileW(path, access, _SHARE_ALL, None, how, _FILE_ATTRIBUTE_NORMAL, None)
    if handle == _INVALID_HANDLE:
        code = ctypes.get_last_error()
        raise OSError(None, ctypes.FormatError(code).strip(), path, code)
    return msvcrt.open_osfhandle(handle, flags & (os.O_APPEND | os.O_RDONLY | os.O_WRONLY | os.O_RDWR))


def send_break(group: int) -> None:
    """Send CTRL_BREAK to the process group ``group`` of our console."""
    if not _kernel.GenerateConsoleCtrlEvent(_CTRL_BREAK, group):
        raise _fault("GenerateConsoleCtrlEvent")


def _milliseconds(seconds: float) -> int:
    return min(max(0, -int(-seconds * 1000 // 1)), _FOREVER - 1)
