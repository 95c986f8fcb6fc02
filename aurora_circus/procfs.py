"""Looks at all processes of the machine at once. An adapter: it reads, and changes nothing.

Linux by /proc, which takes about 10 µs for each process; macOS and the BSDs by psutil, which takes longer. Whoever
needs a look that is not older than the question shares it with all who asked meanwhile.
"""

import sys

assert sys.platform != "win32"  # noqa: S101 - for the type checker: there is nothing of this there

import contextlib  # noqa: E402 - what follows is not there on Windows
import os  # noqa: E402
import threading  # noqa: E402
from collections.abc import Iterator, Mapping  # noqa: E402

import psutil  # noqa: E402

from aurora_circus import marks  # noqa: E402
from aurora_circus.facts import Process  # noqa: E402
from aurora_circus.marks import Marks  # noqa: E402
from aurora_circus.strays import Bearing, Census, Row  # noqa: E402

_LINUX = sys.platform.startswith("linux")
_ENDED = frozenset("ZXx")
_MOST_BYTES = 8 << 20
"""Of an environment; the kernel takes 6 MB at most (execve(2))."""
_BLOCK = 16384
_LIMIT = b"Max file locks"


class Censuses:
    """Looks that are shared: a hundred systems that are ended at once need no hundred looks at the machine."""

    def __init__(self) -> None:
        """Have looked at nothing yet."""
        self._lock = threading.Lock()
        self._begun = 0
        self._last: Census | None = None
        self._last_number = 0
        self._proven: Mapping[Process, Bearing] = {}
        """What leaders bear, whom earlier looks have found: to read that took three times as long as all the rest."""

    def now(self) -> int:
        """Return what stands for this moment."""
        return self._begun

    def after(self, moment: int) -> Census:
        """Return a look that began after ``moment``, by us or by somebody else; ours takes some milliseconds."""
        with self._lock:
            if self._last is None or self._last_number <= moment:
                self._begun += 1
                number = self._begun
                self._last = take(self._proven)
                self._last_number = number
                self._proven = self._last.proven
            return self._last

    def fresh(self) -> Census:
        """Return a look that begins now."""
        return self.after(self.now())


def take(known: Mapping[Process, Bearing] | None = None) -> Census:
    """Look at everybody; ``known`` is what some are known to bear."""
    return Census(_rows() if _LINUX else _rows_elsewhere(), _marks, _seal, _unborn, me=os.getpid(), known=known)


def _rows() -> Iterator[Row]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - called often: no object for each
        if not name[0].isdecimal():
            continue
        found = _read(f"/proc/{name}/stat", _BLOCK)
        if found:
            fields = found[found.rindex(b")") + 2 :].split(None, 20)  # proc_pid_stat(5), from the third field on
            numbers = (int(name), int(fields[1]), int(fields[2]), int(fields[3]), float(fields[19]))
            yield Row(*numbers, ended=fields[0].decode() in _ENDED)


def _marks(pid: int) -> Marks | None:
    if _LINUX:
        return marks.read(_read(f"/proc/{pid}/environ", _MOST_BYTES))
    try:
        environ = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return None
    return marks.read("\0".join(f"{name}={value}" for name, value in environ.items()).encode())


def _seal(pid: int) -> int | None:
    """Return the limit that a seal is, where it is one at all."""
    _, _, rest = _read(f"/proc/{pid}/limits", _BLOCK).partition(_LIMIT) if _LINUX else (b"", b"", b"")
    value = rest.split(None, 1)[0] if rest.strip() else b""
    return int(value) if value.isdigit() else None


def _unborn(pid: int, parent: int) -> bool:
    """Say whether a process is what its parent is, as before execve(2), or nothing, as in the midst of that."""
    called = _read(f"/proc/{pid}/cmdline", _BLOCK)
    return not called or called == _read(f"/proc/{parent}/cmdline", _BLOCK)


def _read(path: str, most: int) -> bytes:
    """Return what a file of /proc says, which is whole when less came than was asked for; nothing where it says none.

    Raises:
        OSError: there was no descriptor for it, say; to say nothing of a process then would be a lie.
    """
    data = b""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = _BLOCK
            while len(data) < most:
                piece = os.read(descriptor, size)
                data += piece
                if len(piece) < size:
                    break
                size = 1 << 20
        finally:
            os.close(descriptor)
    return data


def _rows_elsewhere() -> Iterator[Row]:
    for each in psutil.process_iter(["pid", "ppid", "create_time", "status"]):
        info = each.info
        with contextlib.suppress(OSError, TypeError):
            group, session = os.getpgid(info["pid"]), os.getsid(info["pid"])
            ended = info["status"] == psutil.STATUS_ZOMBIE
            yield Row(info["pid"], info["ppid"], group, session, info["create_time"], ended)
