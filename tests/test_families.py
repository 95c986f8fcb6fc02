"""Everybody of a system on real processes: what left the group, lost its parent, or cleared what it bore."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aurora_circus import marks, processes, render
from aurora_circus.facts import Process
from aurora_circus.marks import Mark
from tests.platforms import forks

pytestmark = forks

LEADER = """
import os, resource, signal, sys
os.setsid()
if int(sys.argv[1]): resource.setrlimit(10, (int(sys.argv[1]), int(sys.argv[1])))
os.environ["AURORA_LEADER"] = str(os.getpid())
for words in sys.argv[2:]:
    reading, writing = os.pipe()
    if os.fork() == 0:
        if "apart" in words or "orphan" in words: os.setsid()
        if "orphan" in words and os.fork(): os._exit(0)
        if "stubborn" in words: signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = "import os, signal, sys; to = int(sys.argv[1]); os.write(to, b'%d' % os.getpid()); os.close(to)"
        os.set_inheritable(writing, True)
        argv = [sys.executable, "-S", "-c", code + "; signal.pause()", str(writing)]
        os.execve(sys.executable, argv, {} if "cleared" in words else os.environ)
    os.close(writing)
    print(os.read(reading, 20).decode(), flush=True)
print("ready", flush=True)
signal.pause()
"""
Run = Callable[..., tuple[Process, list[Process]]]


def identity(pid: int) -> Process:
    """Return who it is; it must be somebody."""
    found = processes.identify(pid)
    assert found is not None
    return found


@pytest.fixture
def mark(tmp_path: Path) -> Mark:
    """A system that nobody else has."""
    return Mark(str(tmp_path), "web")


@pytest.fixture
def run(mark: Mark) -> Iterator[Run]:
    """Run leaders with children that behave as their words say; return the leader, and its children in their order."""
    started: list[subprocess.Popen[str]] = []
    found: list[Process] = []

    def run(*children: str, seal: int = 0) -> tuple[Process, list[Process]]:
        us = identity(os.getpid())
        environment = {**os.environ, **marks.environment(mark, (us, identity(os.getppid())))}
        leader = subprocess.Popen(
            [sys.executable, "-S", "-c", LEADER, str(seal), *children],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        started.append(leader)
        assert leader.stdout is not None
        born = [identity(int(leader.stdout.readline())) for _ in children]
        assert leader.stdout.readline() == "ready\n"
        found.extend(born)
        return identity(leader.pid), born

    yield run
    for each in started:
        each.kill()
        each.wait()
        assert each.stdout is not None
        each.stdout.close()
    for process in found:
        if processes.alive(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def await_all(gone: list[Process]) -> None:
    """Wait for the end of all of them."""
    for each in gone:
        while processes.alive(each):
            processes.await_end(each, 30)


def test_everybody_is_found_wherever_it_went(run: Run, mark: Mark) -> None:
    """In the group, in a session of its own, there without an environment, and orphaned; the leader first."""
    leader, children = run("plain", "apart", "apart cleared", "orphan")
    found = processes.everybody(leader, mark)
    assert found[0] == leader
    assert sorted(found[1:]) == sorted(children)
    assert sorted(processes.members(leader)) == sorted([leader, children[0]])


def test_sigterm_reaches_everybody_and_what_ignores_it_is_left(run: Run, mark: Mark) -> None:
    """It is known on, though its parent is gone and it bears nothing; SIGKILL ends it, and then nobody is left."""
    leader, children = run("plain", "apart", "apart cleared stubborn", "orphan")
    assert processes.terminate_all(leader, mark)
    await_all([leader, children[0], children[1], children[3]])
    os.waitpid(leader.pid, 0)
    assert processes.left(leader, mark) == [children[2]]
    assert processes.kill_all(leader, mark)
    await_all([children[2]])
    assert processes.left(leader, mark) == []
    assert not processes.terminate_all(leader, mark)
    assert not processes.kill_all(leader, mark)
    processes.forget(leader)


def test_who_is_stopped_ends_by_sigterm_all_the_same(run: Run, mark: Mark) -> None:
    """In the group or apart from it: it is let go on."""
    leader, children = run("plain", "apart", "orphan")
    for each in (leader, *children):
        os.kill(each.pid, signal.SIGSTOP)
    assert processes.terminate_all(leader, mark)
    await_all([leader, *children])
    assert processes.exit_status(leader) == (None, "SIGTERM")
    assert processes.left(leader, mark) == []


def test_force_ends_everybody_at_once(run: Run, mark: Mark) -> None:
    """Stopped or not, with an environment or without."""
    leader, children = run("plain stubborn", "apart stubborn", "apart cleared stubborn", "orphan stubborn")
    os.kill(children[1].pid, signal.SIGSTOP)
    assert processes.kill_all(leader, mark)
    await_all([leader, *children])
    assert processes.left(leader, mark) == []


def test_the_others_are_told_and_the_leader_is_not(run: Run, mark: Mark) -> None:
    """Whom circusd tells itself; a stopped one as well."""
    leader, children = run("plain", "apart", "orphan")
    os.kill(children[1].pid, signal.SIGSTOP)
    processes.terminate_others(leader, mark)
    await_all(children)
    assert processes.left(leader, mark) == [leader]


def test_what_a_killed_leader_left_is_found_by_its_marks(run: Run, mark: Mark) -> None:
    """Also by one who has never seen it before, and as left over: nobody holds it."""
    leader, children = run("plain", "apart", "orphan")
    os.kill(leader.pid, signal.SIGKILL)
    os.waitpid(leader.pid, 0)
    assert sorted(processes.left_of(mark.run_dir)["web"]) == sorted(children)
    assert sorted(processes.left(leader, mark)) in [sorted(children), [children[0]]]
    assert sorted(processes.everybody(leader, mark)) == sorted(children)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has a limit that nobody uses")
@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox"])
@pytest.mark.parametrize("options", ["", "nounset:errexit"])
@pytest.mark.parametrize("seal", ["", "1498311864076992517"])
def test_the_shell_that_starts_a_system_seals_it(shell: str, options: str, seal: str, tmp_path: Path) -> None:
    """Whatever shell it is, and whatever it was told to be strict about; the number is not handed down."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    argv = [program, *(["sh"] if shell == "busybox" else []), "-c", render.SHELL, str(tmp_path / "log")]
    environ = {**os.environ, **({marks.SEAL: seal} if seal else {}), **({"SHELLOPTS": options} if options else {})}
    shown = "import os, sys; print(open('/proc/self/limits').read(), 'AURORA_SEAL' in os.environ)"
    subprocess.run([*argv, sys.executable, "-Sc", shown], env=environ, check=True)
    told = (tmp_path / "log").read_text(encoding="utf-8")
    ours = Path("/proc/self/limits").read_text(encoding="ascii")
    before, limit = ([x.split()[3:5] for x in y.splitlines() if x.startswith("Max file locks")] for y in (ours, told))
    assert limit == ([[seal, seal]] if seal else before)
    assert told.endswith("False\n")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has a limit that nobody uses")
def test_a_seal_tells_of_what_bears_nothing_else(run: Run, mark: Mark) -> None:
    """Though it has no environment, a session of its own and no parent, and nobody has ever seen it."""
    leader, children = run("orphan cleared stubborn", seal=marks.seal(mark, 3))
    os.kill(leader.pid, signal.SIGKILL)
    os.waitpid(leader.pid, 0)
    assert processes.left_of(mark.run_dir) == {}
    assert processes.left_of(mark.run_dir, ["web"]) == {"web": children}
    assert processes.kill_all(leader, mark)
    await_all(children)


def test_one_look_serves_all_who_asked_before_it_began() -> None:
    """Who asks later gets another."""
    from aurora_circus.procfs import Censuses  # noqa: PLC0415 - there is none on Windows

    censuses = Censuses()
    moment = censuses.now()
    first = censuses.after(moment)
    assert censuses.after(moment) is first
    assert censuses.after(censuses.now()) is not first
    assert censuses.fresh() is not first


def test_a_signal_reaches_the_process_that_is_meant_and_no_other(run: Run) -> None:
    """Another start time is another process."""
    from aurora_circus import unix  # noqa: PLC0415 - there is none on Windows

    leader, _ = run()
    assert not unix.send(Process(leader.pid, leader.started - 1), signal.SIGKILL)
    assert not unix.send(Process(2**22 + 1, 1.0), signal.SIGKILL)
    assert processes.alive(leader)
    assert unix.send(leader, signal.SIGKILL)
    await_all([leader])
    assert not unix.send(leader, signal.SIGKILL)
