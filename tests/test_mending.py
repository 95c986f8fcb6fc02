"""What is mended in circus, on the circus that is installed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from circus import process as circus_process
from circus.process import DEAD_OR_ZOMBIE, RUNNING, UNEXISTING

from aurora_circus import mending

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere circus looks by itself")


class Held(circus_process.Process):  # type: ignore[misc] # circus has no types
    """What circus holds of a child, with our look at it."""

    if sys.platform == "linux":
        status = property(mending._status)

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        """Hold one that was started here."""
        self._child = child

    @property
    def pid(self) -> int:
        """Return which it is."""
        return self._child.pid


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    """Somebody who waits."""
    with subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"]) as running:
        yield running
        running.kill()


@linux_only
def test_how_a_child_is_is_seen_without_collecting_it(child: "subprocess.Popen[bytes]") -> None:
    """It runs, also while it is stopped; it has ended, as often as that is asked; it was collected."""
    held = Held(child)
    assert held.status == RUNNING
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    assert held.status == RUNNING
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert [held.status, held.status] == [DEAD_OR_ZOMBIE, DEAD_OR_ZOMBIE]
    assert child.wait() == -signal.SIGKILL
    assert held.status == UNEXISTING
