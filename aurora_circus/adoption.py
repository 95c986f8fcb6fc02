"""Makes circusd the parent of whoever of a system loses its own, and has each system bear its marks. Inside circusd.

An orphan of a system is a child of circusd's from then on, as far down as it may be (PR_SET_CHILD_SUBREAPER, Linux):
circusd waits for it with its own, and whose it is can be told. Nothing here ends anybody.
"""

import contextlib
import ctypes
import os
import subprocess
import sys
from functools import cache
from itertools import count
from typing import Any

from circus import logger

from aurora_circus import marks, processes
from aurora_circus.clock import Clock, pause
from aurora_circus.facts import Process
from aurora_circus.marks import Mark

_LINUX = sys.platform.startswith("linux")
_PR_SET_CHILD_SUBREAPER = 36
_RLIMIT_LOCKS = 10
"""Of <asm-generic/resource.h>; Python has no name for it."""
_HEIR_PATIENCE = 1.0
"""Seconds for one to lose its parent; it takes less than one thousandth of that."""
_SHELL_PATIENCE = 5.0
"""Seconds for a shell to set a limit; it takes two thousandths of that. Beyond them no system is started yet."""
_spawns = count(1)


@cache
def adopt() -> tuple[Process, ...]:
    """Have all orphans become our children from now on; return us, and who gets them when we are gone."""
    me = processes.identify(os.getpid())
    if me is None or not _LINUX:
        return () if me is None else (me,)
    heir = _heir()
    with contextlib.suppress(OSError, AttributeError):  # no libc of that kind: marks alone have to tell
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return (me,) if heir is None else (me, heir)


def bear(watcher: Any, mark: Mark, *, sealed: bool = True) -> None:  # noqa: ANN401 - circus has no types
    """Have the next process of a watcher bear the marks of ``mark``, over whatever its environment says of that.

    ``sealed``: so does whoever comes of it, for good. The plugin is not: it may start the next circusd.
    """
    inherited = {name: value for name, value in (watcher.env or {}).items() if name not in marks.ALL}
    watcher.env = {**inherited, **marks.environment(mark, adopt())}
    if sealed and _can_seal():
        watcher.env[marks.SEAL] = str(marks.seal(mark, next(_spawns)))


if sys.platform == "win32":

    def _heir() -> Process | None:
        return None

    def _can_seal() -> bool:
        return False

    def wait_for_orphans(own: set[int]) -> None:
        """See below; here nobody is adopted."""
        del own

else:
    import resource

    def wait_for_orphans(own: set[int]) -> None:
        """Wait for the children that have ended and are none of circus's ``own``, which never comes to that itself."""
        for pid in processes.zombies():
            if pid not in own:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def _heir() -> Process | None:
        """Return whose children ours become when we are gone, from one of them that has lost its parent.

        No system call tells: a process may ask whether it is a subreaper itself, and of no other.
        """
        reading, writing = os.pipe()
        try:
            child = os.fork()
            if child == 0:
                _lose_parent(writing)
            os.waitpid(child, 0)
            os.close(writing)
            writing = -1
            told = os.read(reading, 20)
        except OSError:
            return None
        finally:
            os.close(reading)
            if writing >= 0:
                os.close(writing)
        return processes.identify(int(told)) if told else None

    def _lose_parent(writing: int) -> None:
        """Run one whose parent ends at once, and have it say who its parent is then."""
        try:
            before = os.getpid()
            if os.fork() == 0:
                clock = Clock()
                until = clock.monotonic() + _HEIR_PATIENCE
                while os.getppid() == before and clock.monotonic() < until:
                    pause(0.0002)
                os.write(writing, str(os.getppid()).encode())
        finally:
            os._exit(0)

    @cache
    def _can_seal() -> bool:
        """Say whether this system keeps the limit that a seal is, and leaves it to us, and its shell can set it.

        Who runs in a system of another fleet is sealed already, for good.
        """
        if not _LINUX:
            return False
        try:
            limits = resource.getrlimit(_RLIMIT_LOCKS)
            resource.setrlimit(_RLIMIT_LOCKS, limits)
        except (OSError, ValueError):
            return False
        if limits[1] != resource.RLIM_INFINITY:
            return False
        shell = ("/bin/sh", "-c", "ulimit -w 1 || ulimit -x 1")
        tried = subprocess.run(shell, check=False, stderr=subprocess.PIPE, timeout=_SHELL_PATIENCE)
        if tried.returncode:
            logger.warning("aurora: /bin/sh sets no limit of file locks, so who clears its environment may be missed")
        return not tried.returncode
