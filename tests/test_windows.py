"""Jobs, runners, exits and open files: on a real Windows, or Wine, with real processes of our own."""

import sys

import pytest

if sys.platform != "win32":
    pytest.skip("this is about Windows alone", allow_module_level=True)

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread, Timer
from typing import Any

from aurora_circus import files, locks, processes, render, runner, statefile, winapi, windows
from aurora_circus.config import Command
from aurora_circus.errors import MachineError
from aurora_circus.facts import Process
from tests.free_ports import free_port

DEADLINE = 60.0
"""Seconds for anything that is waited for; starting a Python takes one under Wine."""
WAITS = "import subprocess, sys, threading; print('up', flush=True); threading.Event().wait()"
TREE = f"""
import subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", {WAITS!r}])
print("leader of", child.pid, flush=True)
threading.Event().wait()
"""


class Running:
    """One command under a runner of its own, as circus would start it."""

    def __init__(
        self, folder: Path, code: str, *, stop_path: str | None = None, port: int = 0, grace: float = 20.0
    ) -> None:
        """Start it."""
        self.log = folder / "it.log"
        command = Command(argv=(sys.executable, "-u", "-c", code), working_dir=".", circus={}, stop_path=stop_path)
        self.child = subprocess.Popen(
            render.by_runner(sys.executable, command, str(self.log), grace),
            cwd=folder,
            env={**os.environ, "PYTHONUTF8": "1", "AURORA_PORT": str(port), "PORT": str(port)},
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
        found = processes.identify(self.child.pid)
        assert found is not None
        self.leader = found
        self.watch = processes.watch(found)
        assert self.watch is not None

    def until(self, look: Callable[[], Any]) -> Any:
        """Look until there is something; the end of the runner ends the wait."""
        for _ in range(int(DEADLINE / 0.05)):
            if found := look():
                return found
            processes.await_end(self.leader, 0.05)
        raise AssertionError(self.text())

    def text(self) -> str:
        """Return what it wrote."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def ended(self) -> int:
        """Wait for its end and return the exit code."""
        return self.child.wait(DEADLINE)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Run commands that are ended with their test."""
    running: list[Running] = []

    def start(code: str, **how: Any) -> Running:
        running.append(Running(tmp_path, code, **how))
        return running[-1]

    yield start
    for each in running:
        processes.kill(each.leader)
        each.ended()
        assert each.watch is not None
        each.watch.close()


def gone(processes_: list[Process]) -> bool:
    """Wait until none of them runs."""
    for each in processes_:
        processes.await_end(each, DEADLINE)
    return not any(map(processes.alive, processes_))


def test_a_command_writes_its_log_and_its_exit_code_is_passed_on(run: Callable[..., Running]) -> None:
    """Output and errors, appended; a code beyond 2³¹ as well, which Windows gives to those that end by a fault."""
    it = run("import sys, os; print('hellö'); print('oops', file=sys.stderr, flush=True); os._exit(7)")
    assert it.ended() == 7
    assert processes.exit_status(it.leader) == (7, None)
    assert it.text().split() == ["hellö", "oops"]
    it = run("import ctypes; ctypes.windll.kernel32.ExitProcess(0xC0000005)")
    assert it.ended() == 0xC000_0005
    assert processes.exit_status(it.leader) == (None, "ACCESS_VIOLATION")
    assert it.text().split() == ["hellö", "oops"]


def test_a_command_that_cannot_be_run_says_so(tmp_path: Path) -> None:
    """In its log, with the exit code of a Unix shell."""
    log = tmp_path / "it.log"
    line = render.by_runner(sys.executable, Command(argv=("no-such",), working_dir=".", circus={}), str(log), 5.0)
    assert subprocess.run(line, check=False, timeout=DEADLINE).returncode == runner.NOT_FOUND
    assert "aurora-circus: no-such cannot be run: " in log.read_text(encoding="utf-8")


def test_a_runner_that_cannot_keep_a_tree_together_starts_none(tmp_path: Path) -> None:
    """Its log says why: here somebody has taken the name of its job, as nobody could who does not know it."""
    log = tmp_path / "it.log"
    code = (
        "import os, sys; from aurora_circus import runner, winapi; "
        "name = winapi.name_of('job', os.getpid(), winapi.started(winapi.current_process())); "
        f"held = winapi.create_job(name); sys.argv[1:] = ['-', '1', {str(log)!r}, 'web']; runner.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=DEADLINE)
    assert done.returncode == runner.NO_GROUP
    assert "aurora-circus: web is not run: " in log.read_text(encoding="utf-8")


def test_arguments_arrive_as_they_are(run: Callable[..., Running]) -> None:
    """Blanks, quotes, backslashes and Unicode."""
    arguments = ["a b", 'say "hi"', "C:\\x\\", "", "ü%PATH%", "^&|"]
    it = run(f"import sys; print(sys.argv[1:] == {arguments!r})")
    assert it.ended() == 0
    line = render.by_runner(
        sys.executable,
        Command(
            argv=(sys.executable, "-c", f"import sys; sys.exit(sys.argv[1:] != {arguments!r})", *arguments),
            working_dir=".",
            circus={},
        ),
        str(it.log),
        5.0,
    )
    assert subprocess.run(line, check=False, timeout=DEADLINE).returncode == 0


def test_a_tree_is_one_group_and_ends_as_one(run: Callable[..., Running]) -> None:
    """The runner first, then everybody below it; by force at once, and told apart from any other end."""
    it = run(TREE)
    it.until(lambda: "leader of" in it.text() and "up" in it.text())
    members = processes.members(it.leader)
    assert members[0] == it.leader
    assert len(members) == 3
    assert processes.members(Process(it.leader.pid, it.leader.started - 1)) == []
    assert processes.kill(it.leader)
    assert gone(members)
    assert processes.exit_status(it.leader) == (None, "SIGKILL")
    assert processes.members(it.leader) == []
    assert not processes.kill(it.leader)
    assert not processes.terminate(it.leader)


@pytest.mark.parametrize("whom", [0, 1])
def test_nobody_outlives_the_runner_or_the_command(run: Callable[..., Running], whom: int) -> None:
    """Whichever of the two is ended hard, by whomever: the job takes the rest along."""
    it = run(TREE)
    it.until(lambda: "up" in it.text())
    members = processes.members(it.leader)
    handle = winapi.open_process(members[whom].pid, terminate=True)
    assert handle is not None
    winapi.terminate(handle, 9)
    winapi.close(handle)
    assert it.ended() == 9
    assert gone(members)


def test_who_may_not_be_looked_at_is_ended_all_the_same(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is seen when they are gone is worth less than that they go."""
    it = run(TREE)
    it.until(lambda: "up" in it.text())
    group = processes.members(it.leader)

    def refuse(pid: int) -> None:
        raise PermissionError(None, "Access denied", str(pid), 5)

    with monkeypatch.context() as patch:
        patch.setattr(windows, "members", lambda _: group)
        patch.setattr(winapi, "open_process", refuse)
        assert processes.kill(it.leader)
    assert gone(group)


def test_a_runner_is_ended_by_force_before_it_has_joined_its_job() -> None:
    """The job is there a moment sooner than anybody in it."""
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline().strip() == b"up"
        leader = processes.identify(waiting.pid)
        assert leader is not None
        job = winapi.create_job(winapi.name_of("job", leader.pid, leader.started))
        try:
            assert processes.kill(leader)
            assert waiting.wait(DEADLINE) == winapi.KILLED
        finally:
            winapi.close(job)
            waiting.kill()


def test_a_tree_is_frozen_and_thawed_as_one(run: Callable[..., Running]) -> None:
    """All of it lives all the while; of one that has ended, nobody is left. That it stands still, the drill shows."""
    it = run(TREE)
    it.until(lambda: "leader of" in it.text() and "up" in it.text())
    group = processes.members(it.leader)
    assert processes.freeze(it.leader)
    assert processes.members(it.leader) == group
    assert processes.thaw(it.leader)
    assert processes.kill(it.leader)
    assert gone(group)
    assert not processes.freeze(it.leader)
    assert not processes.thaw(it.leader)


def test_a_stop_call_is_how_one_that_has_it_is_asked(run: Callable[..., Running]) -> None:
    """POST to its own port; it ends by itself, with a code of its own."""
    code = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
        print("asked by", self.path, flush=True); os._exit(5)
print("up", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
    it = run(code, stop_path="/shutdown", port=free_port())
    it.until(lambda: "up" in it.text())
    assert processes.terminate(it.leader)
    assert it.ended() == 5
    assert "asked by /shutdown" in it.text()


def test_one_that_answers_its_stop_call_by_ending_was_not_ended_by_force(run: Callable[..., Running]) -> None:
    """Many a handler does so; and one that says nothing is not waited for longer than it may take."""
    code = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        os._exit(5) if self.path == "/end" else None
        import threading; threading.Event().wait()
print("up", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
    it = run(code, stop_path="/end", port=free_port())
    it.until(lambda: "up" in it.text())
    assert processes.terminate(it.leader)
    assert it.ended() == 5
    it = run(code, stop_path="/hang", port=free_port(), grace=2.0)
    it.until(lambda: it.text().count("up") == 2)
    assert processes.terminate(it.leader)
    assert processes.from_exit_code(it.ended())[1] in {"SIGKILL", "CONTROL_C_EXIT"}
    assert ("POST /hang: " in it.text()) == (it.child.returncode == winapi.KILLED)


def test_one_that_cannot_be_asked_is_ended_by_force(run: Callable[..., Running]) -> None:
    """Nobody waits for a grace period of which nobody knows: its stop call is refused, and Wine has no CTRL_BREAK."""
    it = run(WAITS, stop_path="/stop", port=free_port())
    it.until(lambda: "up" in it.text())
    assert processes.terminate(it.leader)
    code = it.ended()
    assert processes.from_exit_code(code)[1] in {"SIGKILL", "CONTROL_C_EXIT"}
    assert ("it is ended by force" in it.text()) == (code == winapi.KILLED)


def test_a_log_can_be_emptied_and_renamed_while_it_is_written(run: Callable[..., Running], tmp_path: Path) -> None:
    """As rotation does: what follows is appended to what is left."""
    it = run("import os\nprint('before', flush=True)\nwhile not os.path.exists('go'):\n    pass\nprint('after')")
    it.until(lambda: "before" in it.text())
    with it.log.open("r+b") as log:
        log.truncate(0)
    (tmp_path / "go").touch()
    it.ended()
    assert it.text().split() == ["after"]


def test_the_end_of_a_process_is_told_once_on_the_loop(run: Callable[..., Running]) -> None:
    """By Windows, from a thread of its own; nothing of a watch that was closed; none for another process."""
    it = run(WAITS)
    it.until(lambda: "up" in it.text())
    assert processes.watch(Process(it.leader.pid, it.leader.started - 1)) is None

    async def wait() -> list[str]:
        told: list[str] = []
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        kept, closed = processes.watch(it.leader), processes.watch(it.leader)
        assert kept is not None
        assert closed is not None

        def tell() -> None:
            told.append("kept")
            ended.set()

        kept.notify(loop, tell)
        closed.notify(loop, ended.set)
        closed.close()
        processes.kill(it.leader)
        await asyncio.wait_for(ended.wait(), DEADLINE)
        await asyncio.sleep(0)
        kept.close()
        return told

    assert asyncio.run(wait()) == ["kept"]


def test_our_own_lineage_names_the_launcher_too() -> None:
    """A virtual environment's python.exe starts another one: circus holds the first, we are the second."""
    code = "from aurora_circus import processes; print(*(each.pid for each in processes.lineage()))"
    launcher = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {code!r}]).returncode)"
    with subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        pids = [int(each) for each in child.stdout.read().split()]
    assert pids[1:] == [child.pid, os.getpid()]


def test_who_may_not_be_looked_at_is_a_group_of_one(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of another user's tells nothing; that its leader runs is seen all the same, and what fails is said."""
    it = run(WAITS)
    it.until(lambda: "up" in it.text())

    def refuse(name: str) -> None:
        raise PermissionError(None, "Access denied", name, 5)

    with monkeypatch.context() as patch:
        patch.setattr(winapi, "open_job", refuse)
        assert processes.members(it.leader) == [it.leader]
        with pytest.raises(MachineError, match=f"ending process {it.leader.pid} and its job: Access denied"):
            processes.kill(it.leader)
    assert len(processes.members(it.leader)) == 2


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    """And is free again when that has let go of it."""
    first, second = (locks.open_lock(str(tmp_path), "x.lock") for _ in range(2))
    assert locks.try_lock(first)
    assert not locks.try_lock(second)
    os.close(first)
    assert locks.try_lock(second)
    os.close(second)


def test_a_process_is_known_by_pid_and_start() -> None:
    """Ours lives; its start is that which psutil tells; no process has a pid that no process has."""
    import psutil  # noqa: PLC0415 - beside its only use

    me = processes.identify(os.getpid())
    assert me is not None
    assert processes.alive(me)
    assert me.started == pytest.approx(psutil.Process().create_time(), abs=0.001)
    assert not processes.alive(Process(me.pid, me.started - 1))
    assert processes.identify(0x7FFF_FFF0) is None
    assert 0 <= processes.age(me, time.time()) < 3600
    assert processes.exit_status(me) is None


def test_a_file_that_we_read_can_be_moved_and_one_that_others_read_is_waited_for(tmp_path: Path) -> None:
    """What we have open can be moved away; who does not allow that is waited for, with a bound."""
    target, draft = tmp_path / "target", tmp_path / "draft"
    target.write_text("old", encoding="ascii")
    draft.write_text("new", encoding="ascii")
    other = target.open("rb")  # shares neither renaming nor removal
    waiting = Timer(0.1, other.close)
    waiting.start()
    files.replace(draft, target)
    waiting.join()
    assert target.read_text(encoding="ascii") == "new"
    descriptor = files.open_regular(target, os.O_RDONLY)
    try:
        files.replace(target, tmp_path / "moved")
        assert os.read(descriptor, 10) == b"new"
    finally:
        os.close(descriptor)
    files.remove(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        files.remove(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        files.open_regular(tmp_path / "none", os.O_RDONLY)


def test_the_state_is_saved_though_somebody_reads_it(tmp_path: Path) -> None:
    """A file that is open cannot be replaced: that is tried until a command line has looked at it."""
    state = statefile.StateFile(tmp_path / "state.json", retry=0.05)
    state.save(lambda: {"n": 1})
    assert state.flush(DEADLINE)
    descriptor = files.open_regular(tmp_path / "state.json", os.O_RDONLY)
    reading = Timer(0.1, os.close, [descriptor])
    reading.start()
    state.save(lambda: {"n": 2})
    assert state.flush(DEADLINE)
    reading.join()
    assert state.load() == {"n": 2}
    state.close(DEADLINE)


def test_listeners_are_told_with_address_port_and_as_far_as_it_is_seen_pid() -> None:
    """Ours, by IPv4 and by IPv6; a connection is none. Wine names no owner."""
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        with socket.create_connection(four.getsockname()) as connection:
            found = {(address, port): pid for address, port, pid in winapi.listeners()}
            assert connection.getsockname()[1] not in {port for _, port in found}
        assert found[b"\x7f\0\0\1", four.getsockname()[1]] in {0, os.getpid()}
        assert found[b"\0" * 15 + b"\1", six.getsockname()[1]] in {0, os.getpid()}


class Quiet(BaseHTTPRequestHandler):
    """Answers every stop call with a refusal."""

    def do_POST(self) -> None:
        """Refuse."""
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_stop_call_that_is_refused_is_told() -> None:
    """By its status, or by what the connection came to."""
    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        Thread(target=server.handle_request).start()
        os.environ["AURORA_PORT"] = str(server.server_port)
        try:
            assert runner._post("/stop", DEADLINE) == "answered with 503"
        finally:
            del os.environ["AURORA_PORT"]
