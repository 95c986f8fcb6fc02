"""What a system has not, for the tests that need it: each marker gives the reason, and each reason is true."""

import os
import signal
import sys
from pathlib import Path

import pytest

WINDOWS = sys.platform == "win32"
"""Whether this is Windows, or Wine; the type checker knows ``sys.platform`` alone."""


def _is_wine() -> bool:
    if sys.platform != "win32":
        return False
    import ctypes  # noqa: PLC0415 - of use on Windows alone

    return hasattr(ctypes.windll.ntdll, "wine_get_version")


WINE = _is_wine()
"""Whether this is Wine, by its own mark."""


def unless(missing: bool, reason: str) -> pytest.MarkDecorator:
    """Skip a test where that which it is about is missing."""
    return pytest.mark.skipif(missing, reason=reason)


owned = unless(WINDOWS, "on Windows no file has a mode, or an owner with a number")
users = unless(WINDOWS, "on Windows users and groups have no numbers, and no process has limits")
fifos = unless(WINDOWS, "on Windows there are no FIFOs among the files")
links = unless(WINDOWS, "on Windows a symbolic link takes a privilege, and is always followed; Wine makes none")
forks = unless(WINDOWS, "on Windows nothing forks")
breaks = unless(WINE, "Wine refuses to send CTRL_BREAK")
selectors = unless(WINDOWS, "on Windows the event loop does not say what it waits for")
pidfiles = unless(WINDOWS, "on Windows a circusd is found by its port")
sockets = unless(WINDOWS, "Windows' Python has no Unix sockets")
listeners = unless(WINE, "Wine does not say whose a listener is")
resets = unless(WINE, "in Wine a connection that is aborted looks like one that was closed")
gone_while_open = unless(WINE, "in Wine a file that is removed while it is open is still there for everybody")

if sys.platform == "win32":
    from aurora_circus import winapi

    KILLED = winapi.KILLED
else:
    KILLED = -signal.SIGKILL
"""How ``subprocess`` tells of a process that was ended by force."""

OURSELVES = "another user's process" if WINE else f"pid {os.getpid()} ("
"""How this process is called that holds a port, up to its command."""


def appending(path: Path) -> int:
    """Return a descriptor of a system's log as the system has it: from a shell, or on Windows from its runner."""
    if sys.platform == "win32":
        return winapi.open_log(str(path))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)


def send(number: int) -> None:
    """Have this process get a signal; on Windows ``os.kill`` would end it, whichever it is."""
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)
