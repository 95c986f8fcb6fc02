"""Who lives, how one ended, and whom a signal reaches: on real processes of our own."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from aurora_circus import processes
from aurora_circus.facts import Process
from tests.platforms import KILLED, WINDOWS, forks, unless

LINUX = sys.platform.startswith("linux")
FORKS = "import os, signal, sys\npid = os.fork()\nprint('ready', flush=True) if pid else None\nsignal.pause()\n"


@pytest.fixture
def group() -> Iterator[subprocess.Popen[bytes]]:
    """Run a leader with a child in a group of its own."""
    with subprocess.Popen([sys.executable, "-c", FORKS], stdout=subprocess.PIPE, start_new_session=True) as leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == b"ready\n"
        yield leader
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that waits."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as waiting:
        yield waiting
        waiting.kill()


def identity(pid: int) -> Process:
    """Return who it is; it must be somebody."""
    found = processes.identify(pid)
    assert found is not None
    return found


def wait_unreaped(pid: int) -> None:
    """Wait until a child of ours has ended, and leave it a zombie."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_process_is_known_by_pid_and_start(child: subprocess.Popen[bytes]) -> None:
    """Another start time is another process."""
    known = identity(child.pid)
    assert processes.alive(known)
    assert not processes.alive(Process(child.pid, known.started - 1))
    assert not processes.alive(Process(2**22 + 1, 1.0))
    assert processes.identify(2**22 + 1) is None


@forks
def test_a_group_has_its_leader_and_its_children(group: subprocess.Popen[bytes]) -> None:
    """The leader comes first; of a pid that is somebody else's by now there are none."""
    known = identity(group.pid)
    found = processes.members(known)
    assert (found[0], len(found)) == (known, 2)
    assert processes.members(Process(group.pid, known.started - 1)) == []


@forks
def test_a_signal_reaches_the_whole_group_and_a_gone_one_is_said(group: subprocess.Popen[bytes]) -> None:
    """True while somebody was there, False after."""
    known = identity(group.pid)
    child = processes.members(known)[1]
    assert processes.kill(known)
    while processes.alive(child):
        processes.await_end(child, 30)
    wait_unreaped(group.pid)
    assert processes.members(known) == []
    assert not processes.terminate(known)


@forks
def test_what_a_dead_leader_left_is_still_its_group(group: subprocess.Popen[bytes]) -> None:
    """The zombie holds the number; the child lives on and is found."""
    known = identity(group.pid)
    child = processes.members(known)[1]
    os.kill(group.pid, signal.SIGKILL)
    wait_unreaped(group.pid)
    assert not processes.alive(known)
    assert processes.members(known) == [child]
    group.wait()
    assert processes.members(known) == [child]


@pytest.mark.skipif(not LINUX, reason="only Linux shows it of a zombie; Windows has none, see test_windows")
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(3)", (3, None)),
        ("pass", (0, None)),
        ("import os; os.kill(os.getpid(), 9)", (None, "SIGKILL")),
    ],
)
def test_how_a_process_ended_is_seen_before_anybody_waits_for_it(code: str, status: tuple[int, str]) -> None:
    """Code or signal; nothing of one that lives, nothing of one that was waited for."""
    with subprocess.Popen([sys.executable, "-S", "-c", f"input()\n{code}"], stdin=subprocess.PIPE) as child:
        known = identity(child.pid)
        assert processes.exit_status(known) is None
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.close()
        wait_unreaped(child.pid)
        assert processes.exit_status(known) == status
        child.wait()
        assert processes.exit_status(known) is None


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no descriptor for a process")
def test_the_end_of_a_process_is_told_once(group: subprocess.Popen[bytes]) -> None:
    """And there is none for a process that is not the one meant."""
    known = identity(group.pid)
    assert processes.watch(Process(group.pid, known.started - 1)) is None
    found = processes.watch(known)
    assert found is not None

    async def wait() -> None:
        told = asyncio.Event()
        found.notify(asyncio.get_running_loop(), told.set)
        await asyncio.sleep(0)
        assert not told.is_set()
        os.kill(group.pid, signal.SIGKILL)
        await asyncio.wait_for(told.wait(), 30)

    asyncio.run(wait())
    found.wait(30)
    found.close()


@forks
def test_a_frozen_group_stands_still_until_it_is_thawed(group: subprocess.Popen[bytes]) -> None:
    """The leader and its children, who live all the while; of a pid that is somebody else's by now, nobody."""
    known = identity(group.pid)
    assert not processes.freeze(Process(group.pid, known.started - 1))
    assert processes.freeze(known)
    assert os.WIFSTOPPED(os.waitpid(group.pid, os.WUNTRACED)[1])
    assert processes.alive(known)
    assert len(processes.members(known)) == 2
    assert processes.thaw(known)
    assert os.WIFCONTINUED(os.waitpid(group.pid, os.WCONTINUED)[1])


def test_nobody_is_left_to_be_frozen(child: subprocess.Popen[bytes]) -> None:
    """Who has ended stands still already."""
    known = identity(child.pid)
    child.kill()
    child.wait()
    assert not processes.freeze(known)
    assert not processes.thaw(known)


def test_an_age_is_that_of_the_process(child: subprocess.Popen[bytes]) -> None:
    """Not negative, and no greater than that of the process that started it."""
    import time  # noqa: PLC0415 - the wall clock is an argument here

    ours = processes.age(identity(os.getpid()), time.time())
    assert 0 <= processes.age(identity(child.pid), time.time()) <= ours + 1


def test_signals_have_names() -> None:
    """An exit code is none."""
    assert processes.from_exit_code(KILLED) == (None, "SIGKILL")
    assert processes.from_exit_code(3) == (3, None)


@unless(WINDOWS, "on Windows nothing ends by a signal")
def test_a_signal_without_a_name_has_its_number() -> None:
    """There are such, for real-time."""
    assert processes.from_exit_code(-250) == (None, "signal 250")
