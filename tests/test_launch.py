"""Which circusd is this fleet's, and what is done about pidfiles that lie."""

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from aurora_circus import launch, lookup, ports, processes, settings
from aurora_circus.config import Config
from aurora_circus.errors import MachineError
from aurora_circus.facts import Holder, Process
from aurora_circus.fleetfile import NO_FILE
from aurora_circus.lookup import UncertainError
from aurora_circus.settings import Fleet
from tests.fake_fleet import fleet
from tests.platforms import pidfiles, sockets

ME = os.getpid()


@pytest.fixture
def around(tmp_path: Path) -> Config:
    """A fleet with a run_dir."""
    found = fleet(tmp_path)
    Path(found.fleet.run_dir).mkdir(parents=True)
    return found


Answer = dict[str, object] | None


class Seen:
    """What is seen of every process."""

    words: Sequence[str] = ()
    folder = "/"
    trouble: psutil.Error | None = None

    def __init__(self, pid: int) -> None:
        """Any process."""

    def cmdline(self) -> Sequence[str]:
        """Return its command line."""
        if self.trouble is not None:
            raise self.trouble
        return self.words

    def cwd(self) -> str:
        """Return where it was started."""
        return self.folder


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> type[Seen]:
    """What psutil says; no circusd answers on any socket."""

    class Here(Seen):
        pass

    monkeypatch.setattr(psutil, "Process", Here)
    monkeypatch.setattr(lookup, "ask_pid", lambda *_: None)
    return Here


def write_pidfile(around: Config, text: object = ME) -> Path:
    """Write what circusd would."""
    file = Path(around.fleet.run_dir) / "circusd.pid"
    file.write_text(f"{text}\n")
    return file


def write_ini(around: Config, path: Path, *, run_dir: str | None = None) -> Path:
    """Write as much of a circus.ini as counts here."""
    path.write_text(
        f"# The fleet aurora, as aurora-circus read it from x\n\n[circus]\n"
        f"pidfile = {run_dir or around.fleet.run_dir}/circusd.pid\n"
    )
    return path


def test_nothing_is_found_where_nothing_is(around: Config) -> None:
    """Neither a pidfile nor somebody on the socket."""
    assert lookup.find(around.fleet) is None


@pytest.mark.parametrize("text", ["", "x", "-5", "1.5"])
def test_a_pidfile_without_a_pid_is_none(around: Config, text: str) -> None:
    """Whatever else is in it."""
    write_pidfile(around, text)
    assert lookup.read_pidfile(around.fleet) is None
    assert lookup.find(around.fleet) is None


@pidfiles
@pytest.mark.parametrize("relative", [False, True])
def test_ours_is_a_circusd_whose_ini_has_our_pidfile(
    around: Config, seen: type[Seen], tmp_path: Path, relative: bool
) -> None:
    """Wherever that ini lies, and however it was named."""
    write_pidfile(around)
    ini = write_ini(around, tmp_path / "some.ini")
    seen.words = ["python", "-m", "circus.circusd", ini.name if relative else str(ini)]
    seen.folder = str(tmp_path)
    assert lookup.find(around.fleet) == processes.identify(ME)


def test_a_living_pid_that_is_no_circusd_is_not_believed(around: Config, seen: type[Seen]) -> None:
    """circusd itself would believe it, and refuse to start."""
    file = write_pidfile(around)
    seen.words = ["sleep", "1000"]
    assert lookup.find(around.fleet) is None
    assert lookup.remove_stale_pidfile(around.fleet) == (
        f"a stale pidfile is removed: pid {ME} is not this fleet's circusd (sleep 1000)"
    )
    assert not file.exists()
    assert lookup.remove_stale_pidfile(around.fleet) is None


def test_a_dead_pid_is_not_believed(around: Config) -> None:
    """The pidfile is left by who was killed."""
    write_pidfile(around, 2**22 + 1)
    assert lookup.find(around.fleet) is None
    assert "is gone" in str(lookup.remove_stale_pidfile(around.fleet))


@pidfiles
@pytest.mark.parametrize("hidden", [False, True])
def test_a_circusd_that_may_be_ours_is_neither_doubled_nor_ended(
    around: Config, seen: type[Seen], hidden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ini is gone, or its command line cannot be seen: a person has to decide, unless it says itself who it is."""
    write_pidfile(around)
    seen.words = ["circusd", "gone.ini"]
    seen.trouble = psutil.AccessDenied() if hidden else None
    with pytest.raises(UncertainError, match=f"pid {ME}"):
        lookup.find(around.fleet)
    monkeypatch.setattr(lookup, "ask_pid", lambda *_: ME)
    assert lookup.find(around.fleet) == processes.identify(ME)


@sockets
@pytest.mark.parametrize("answers", [True, False])
def test_a_circusd_without_its_pidfile_is_found_by_its_socket(
    around: Config, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has cleaned up too much; one that does not answer is nobody's to replace."""
    monkeypatch.setattr(lookup, "ask_pid", lambda *_: ME if answers else None)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{around.fleet.run_dir}/circusd.sock")
        assert lookup.find(around.fleet) is None, "a socket that nobody listens on is a left-over"
        listener.listen()
        if answers:
            assert lookup.find(around.fleet) == processes.identify(ME)
        else:
            with pytest.raises(UncertainError, match="is stuck"):
                lookup.find(around.fleet)


@pytest.mark.parametrize(
    ("answer", "pid"), [(b'{"info": {"pid": 12}}', 12), (b"{}", None), (b'{"info": {}}', None), (None, None)]
)
def test_circusd_is_asked_for_its_pid(
    around: Config, answer: bytes | None, pid: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a command that takes no lock, and a bound."""
    import zmq  # noqa: PLC0415 - it is what is replaced

    class Wire:
        def setsockopt(self, *_: object) -> None:
            pass

        connect = send = setsockopt

        def poll(self, timeout: int) -> bool:
            assert timeout == 5000
            return answer is not None

        def recv(self) -> bytes:
            return answer or b""

        def close(self) -> None:
            pass

    class Context:
        def socket(self, _: int) -> Wire:
            return Wire()

        def term(self) -> None:
            pass

    monkeypatch.setattr(zmq, "Context", Context)
    assert lookup.ask_pid(around.fleet) == pid


def test_the_ini_lies_beside_the_fleet_file_or_here(
    around: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fleet without a file has it in the current directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert launch.ini_path(around) == tmp_path / "circus.ini"
    assert launch.ini_path(replace(around, source=NO_FILE)) == tmp_path / "here" / "circus.ini"


def test_where_there_are_no_pidfiles_circusd_is_found_by_its_port(
    around: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours says where our plugin works; another fleet's, or none, is nobody; one that says nothing is named."""
    said: list[Answer] = [
        {"options": {"working_dir": f"{around.fleet.run_dir}/."}},
        {"options": {"working_dir": "/elsewhere"}},
        {"status": "error", "reason": "program aurora not found"},
        None,
        None,
    ]
    heard = [False, True, True, True, True, False, True, True]
    monkeypatch.setattr(lookup, "_heard", lambda _: heard.pop(0))
    monkeypatch.setattr(lookup, "_say", lambda *_, **__: said.pop(0))
    monkeypatch.setattr(lookup, "ask_pid", lambda _: ME)
    monkeypatch.setattr(lookup, "endpoints", lambda _: ("tcp://127.0.0.1:7", "tcp://127.0.0.1:8"))
    monkeypatch.setattr(ports, "holder", lambda port: Holder(port, "stuck.exe"))
    found = [lookup._find_by_port(around.fleet) for _ in range(5)]
    assert found == [None, processes.identify(ME), None, None, None]
    with pytest.raises(
        UncertainError, match=r"(?s)tcp://127.0.0.1:7 and does not answer: pid 7 \(stuck.exe\).*taskkill"
    ):
        lookup._find_by_port(around.fleet)


def test_an_ini_of_somebody_elses_is_left_alone(around: Config, tmp_path: Path) -> None:
    """One of ours, an empty one and none are written over."""
    path = tmp_path / "circus.ini"
    launch.refuse_foreign_ini(path, around.fleet)
    path.write_text("")
    launch.refuse_foreign_ini(path, around.fleet)
    write_ini(around, path)
    launch.refuse_foreign_ini(path, around.fleet)
    path.write_text("[circus]\n[watcher:mine]\ncmd = x\n")
    with pytest.raises(MachineError, match="not one of ours"):
        launch.refuse_foreign_ini(path, around.fleet)


def test_an_ini_that_another_fleet_runs_from_is_left_alone(
    around: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two fleet files in one directory share it; a fleet that is down does not mind, one that may be up does."""
    path = tmp_path / "circus.ini"
    other = replace(around.fleet, run_dir=str(tmp_path / "other"))
    path.write_text(f"# as aurora-circus read it\nfleet = no JSON\nfleet = {settings.dumps(other)}\n", encoding="utf-8")
    running: list[Process | None] = [None, Process(ME, 1.0)]
    asked: list[Fleet] = []

    def find(fleet: Fleet) -> Process | None:
        asked.append(fleet)
        if not running:
            raise UncertainError("who knows")
        return running.pop(0)

    monkeypatch.setattr(launch, "find", find)
    launch.refuse_foreign_ini(path, around.fleet)
    with pytest.raises(MachineError, match=rf"another fleet runs from .* \(circusd, pid {ME}\)"):
        launch.refuse_foreign_ini(path, around.fleet)
    with pytest.raises(MachineError, match="who knows"):
        launch.refuse_foreign_ini(path, around.fleet)
    launch.refuse_foreign_ini(path, other)
    assert [each.run_dir for each in asked] == [other.run_dir] * 3


def test_a_second_up_waits_for_the_first(around: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so, once; it does not wait for ever."""
    told: list[str] = []
    monkeypatch.setattr(launch, "LOCK_PATIENCE", -1.0)  # over, however seldom the clock ticks
    with launch.lock(around.fleet, lambda: told.append("free")):
        with pytest.raises(MachineError, match="another `up`"), launch.lock(around.fleet, lambda: told.append("taken")):
            pass
        monkeypatch.setattr(launch, "LOCK_PATIENCE", 60.0)
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                raise InterruptedError

        monkeypatch.setattr(launch, "pause", pause)
        with pytest.raises(InterruptedError), launch.lock(around.fleet, lambda: told.append("taken")):
            pass
    assert told == ["taken"]
    with launch.lock(around.fleet, lambda: told.append("free again")):
        pass
    assert told == ["taken"]


def test_a_gone_circusd_needs_no_signal(around: Config) -> None:
    """Neither dead nor somebody else's pid is signalled."""
    assert not launch.terminate(around.fleet, Process(2**22 + 1, 1.0))
    assert not launch.terminate(around.fleet, Process(ME, 1.0))


def test_the_end_of_a_process_is_waited_for_with_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system has no event for it."""
    me = processes.identify(ME)
    assert me is not None
    assert not launch.await_end(me, 0.001)
    monkeypatch.setattr(processes, "watch", lambda _: None)
    assert not launch.await_end(me, 0.001)
    assert launch.await_end(Process(ME, 1.0), 60.0)


@pytest.mark.parametrize(
    ("before", "elsewhere", "after"),
    [(None, False, "{root}"), ("/x", False, f"{{root}}{os.pathsep}/x"), (None, True, None), ("/x", True, "/x")],
)
def test_a_bare_checkout_is_told_to_circusd(
    before: str | None, elsewhere: bool, after: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only that: what is installed is found by itself, and the systems inherit the environment."""
    root = str(Path(launch.__file__).parent.parent)
    others = [each for each in sys.path if os.path.realpath(each) != root]
    monkeypatch.setattr(sys, "path", [root, *others, *([root] if elsewhere else [])])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONPATH", before)
    found = launch.environment().get("PYTHONPATH")
    assert found == (None if after is None else after.format(root=root))
