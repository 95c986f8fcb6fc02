"""The fleet as a service: what its manager is told, and what comes back when it, or part of it, is killed."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from aurora_circus import lookup, processes, service_systemd
from aurora_circus.facts import Process
from tests.e2e.harness import DEADLINE, kill
from tests.faults.arena import Arena, MakeArena
from tests.faults.service_manager import ServiceManager

if sys.platform == "win32":
    pytest.skip("this is about Unix: Windows' task is a text, tested as one", allow_module_level=True)
import resource

SYSTEMS = {"one": {}, "two": {"depends_on": ["one"]}}
WATCHDOG = 4.0
"""Seconds; long enough for a busy machine's plugin, and the watchdog bites only where a test asks it to."""


class Served(Arena):
    """A fleet that a service manager of our own runs."""

    manager: ServiceManager

    def serve(self, *, abstract: bool = False) -> "Served":
        """Start the service, and wait until all are healthy."""
        self.render()
        self.ini.unlink()  # it writes its own
        self.start_again(abstract=abstract)
        self.all_healthy()
        self.watch()
        return self

    def start_again(self, *, abstract: bool = False) -> None:
        """Have another manager start the service."""
        self.manager = ServiceManager(self.folder, WATCHDOG, abstract=abstract)
        self.circusd = cast("Any", self.manager)

    def circusd_pid(self) -> int | None:
        """Return the pid of the circusd that runs; None where there is none."""
        pid = lookup.read_pidfile(self.config().fleet) if self.circusd is not None else None
        return pid if pid is not None and self.alive(pid) else None

    def told_by_logs(self) -> str:
        """Add what the service said."""
        return f"{super().told_by_logs()}\n--- service.out\n{self.manager.said()[-4000:]}"

    def end(self) -> None:
        """End also what a killed service has left."""
        left = [pid for pid in (self.circusd_pid(), self._last_plugin()) if pid is not None]
        if self.circusd is not None:
            self.manager.close()
        for pid in left:
            with contextlib.suppress(psutil.Error):
                if any("circus" in word for word in psutil.Process(pid).cmdline()):
                    kill(pid)
        super().end()

    def _last_plugin(self) -> int | None:
        started = self.events("controller_started")
        return int(started[-1]["details"]["pid"]) if started else None

    def replaced(self, before: dict[str, int]) -> None:
        """Wait until each system runs in a new process, and see that it was replaced once."""
        for key, pid in before.items():
            self.new_process(key, pid)
        self.holds()
        assert {key: len(self.started(key)) for key in before} == dict.fromkeys(before, 2)


@pytest.fixture
def served(tmp_path: Path, figures: dict[str, Any]) -> Iterator[Callable[[], Served]]:
    """Make a fleet that is not served yet; what is served at the end is looked at, stopped, and must leave nothing."""
    made: list[Served] = []

    def make() -> Served:
        made.append(Served(tmp_path, SYSTEMS, figures))
        return made[-1]

    try:
        yield make
        for each in made:
            if each.running():
                each.holds()
    finally:
        for each in made:
            each.quiet()
            each.finish()
    for each in made:
        each.nothing_left()


Make = Callable[[], Served]


@pytest.mark.quick
@pytest.mark.fault("service", "started: READY=1 when the fleet is supervised, WATCHDOG=1 while it is well")
def test_the_manager_is_told_that_it_is_up_and_well(served: Make) -> None:
    """Nothing is said before the plugin is there; the systems know nothing of all that."""
    fleet = served().serve()
    ready = fleet.manager.heard("READY")
    assert fleet.manager.messages[0] is ready
    assert ready["WATCHDOG_USEC"] == str(round(WATCHDOG * 1e6))
    assert fleet.events("controller_started")
    fleet.manager.heard("WATCHDOG", nth=3)
    fleet.manager.says("2 of 2 systems healthy")
    for port in fleet.ports.values():
        found = fleet.session.get(f"http://127.0.0.1:{port}/environ", timeout=DEADLINE).json()
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "AURORA_SERVED_BY"} & set(found)


@pytest.mark.quick
@pytest.mark.fault("service", "stopped by its manager (SIGTERM): STOPPING=1, all down in order, exit 0")
def test_a_stop_takes_the_fleet_down(served: Make) -> None:
    """On an abstract socket, as some managers have it."""
    fleet = served().serve(abstract=True)
    fleet.strike(fleet.manager.terminate)
    assert fleet.manager.wait(DEADLINE) == 0
    assert [each["server"] for each in fleet.since("server_stopped")] == ["two", "one"]
    said = fleet.manager.messages[-1]
    assert said["STOPPING"] == "1"
    assert said["WATCHDOG_USEC"] == "0"
    assert not fleet.leftovers()


@pytest.mark.fault("service", "taken down by `aurora-circus down`: exit 0, so it stays down")
def test_a_down_is_no_failure(served: Make) -> None:
    """Whoever takes it down does not want it started again."""
    fleet = served().serve()
    words = [sys.executable, "-m", "aurora_circus", "down", "--fleet", str(fleet.folder / "fleet.toml")]
    fleet.strike(lambda: subprocess.run(words, check=True, capture_output=True, timeout=DEADLINE))
    assert fleet.manager.wait(DEADLINE) == 0
    assert len(fleet.manager.mains) == 1
    assert fleet.manager.heard("STOPPING")
    assert not fleet.leftovers()


@pytest.mark.fault("service", "stopped and started, as at a reboot: what an operator had stopped stays stopped")
def test_wishes_outlive_a_stop_of_the_service(served: Make) -> None:
    """A `down` would have ended them; the manager's stop is nobody's wish."""
    fleet = served().serve()
    fleet.post("/api/autonomous/stop/two?wait=20")
    fleet.strike(fleet.manager.terminate)
    assert fleet.manager.wait(DEADLINE) == 0
    fleet.manager.close()
    fleet.start_again()
    fleet.noticed("controller_started")
    fleet.states(one="healthy", two="stopped")
    assert len(fleet.started("two")) == 1
    fleet.post("/api/autonomous/start/two?wait=20")
    fleet.all_healthy()


@pytest.mark.fault("service", "main process killed: the next one goes on with all that runs")
def test_a_killed_main_process_costs_nobody_anything(served: Make) -> None:
    """No process but its own is another one, and READY=1 comes again, which its start waits for."""
    fleet = served().serve()
    before, circusd, plugin = fleet.pids(), fleet.circusd_pid(), fleet.plugin()
    fleet.strike(lambda: kill(fleet.manager.pid))
    assert fleet.manager.ended() == -signal.SIGKILL
    fleet.until("the next one", lambda: "going on with what a service that was killed" in fleet.manager.said())
    assert fleet.manager.heard("READY", since=len(fleet.manager.messages))
    fleet.holds()
    assert (fleet.pids(), fleet.circusd_pid(), fleet.plugin()) == (before, circusd, plugin)
    fleet.strike(fleet.manager.terminate)
    assert fleet.manager.wait(DEADLINE) == 0, "what it has taken over it also takes down"
    assert not fleet.leftovers()


@pytest.mark.fault("service", "main process killed, then circusd: the systems go on until each is replaced, once")
def test_a_circusd_that_was_taken_over_is_replaced(served: Make) -> None:
    """Its plugin and the main process both keep it: there is one next circusd all the same."""
    fleet = served().serve()
    before = fleet.pids()
    kill(fleet.manager.pid)
    fleet.until("the next one", lambda: "going on with what a service that was killed" in fleet.manager.said())
    fleet.strike(lambda: kill(cast("int", fleet.circusd_pid())))
    fleet.noticed("controller_started")
    fleet.replaced(before)
    assert fleet.manager.codes == [-signal.SIGKILL]


@pytest.mark.fault("service", "main process and circusd killed at once")
def test_a_killed_main_process_with_its_circusd(served: Make) -> None:
    """As if the out-of-memory killer had taken both."""
    fleet = served().serve()
    before, told = fleet.pids(), len(fleet.manager.messages)

    def both() -> None:
        os.kill(fleet.manager.pid, signal.SIGSTOP)  # it must not see the other one's end
        kill(cast("int", fleet.circusd_pid()))
        kill(fleet.manager.pid)

    fleet.strike(both)
    fleet.noticed("controller_started")
    fleet.replaced(before)
    assert fleet.manager.heard("WATCHDOG_USEC", since=told)["READY"] == "1", "which a new plugin says"


@pytest.mark.fault("service", "circusd killed: it is replaced, whoever does it")
def test_a_killed_circusd_is_replaced(served: Make) -> None:
    """By the service itself, or by its manager, to whom its exit code says so."""
    fleet = served().serve()
    before = fleet.pids()
    fleet.strike(lambda: kill(cast("int", fleet.circusd_pid())))
    fleet.noticed("controller_started")
    fleet.replaced(before)
    assert 0 not in fleet.manager.codes


def stop(*pids: int) -> list[Process]:
    """Stop processes in their tracks, and return who they are."""
    known = [found for pid in pids if (found := processes.identify(pid)) is not None]
    assert len(known) == len(pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return known


@pytest.mark.fault("service", "plugin stopped (SIGSTOP): another one feeds the watchdog")
def test_a_stopped_plugin_is_replaced(served: Make) -> None:
    """Whoever does it, circusd or the manager: the stopped one is gone, and WATCHDOG=1 comes again."""
    fleet = served().serve()
    fleet.manager.watch()
    (stuck,) = fleet.strike(lambda: stop(fleet.plugin()))
    told = len(fleet.manager.messages)
    fleet.noticed("controller_started")
    fleet.gone(stuck.pid)
    fleet.manager.heard("READY", since=told)
    fleet.manager.heard("WATCHDOG", nth=2, since=told)
    fleet.all_healthy()


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(["circusd"], marks=pytest.mark.fault("service", "circusd stopped (SIGSTOP): the watchdog bites")),
        pytest.param(
            ["circusd", "plugin"], marks=pytest.mark.fault("service", "circusd and plugin stopped: the watchdog bites")
        ),
    ],
)
def test_what_is_stuck_starves_the_watchdog(served: Make, who: list[str]) -> None:
    """All that is stuck is replaced by the next main process; the systems go on until each is."""
    fleet = served().serve()
    before = fleet.pids()
    pids = {"circusd": cast("int", fleet.circusd_pid()), "plugin": fleet.plugin()}
    fleet.manager.watch()
    stuck = fleet.strike(lambda: stop(*(pids[each] for each in who)))
    told = len(fleet.manager.messages)
    assert fleet.manager.ended() == -signal.SIGKILL
    fleet.noticed("controller_started")
    fleet.replaced(before)
    fleet.until("the end of what was stuck", lambda: not [each for each in stuck if processes.alive(each)])
    assert fleet.manager.heard("WATCHDOG_USEC", since=told)["READY"] == "1"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prlimit(2)")
@pytest.mark.fault("service", "nothing can be written: said in STATUS, and no reason to kill anything")
def test_a_full_disk_starves_no_watchdog(served: Make) -> None:
    """The plugin's own limit stands for the disk: journal and state cannot be written, and the watchdog is fed."""
    fleet = served().serve()
    before = fleet.pids()
    fleet.strike(lambda: resource.prlimit(fleet.plugin(), resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)))
    fleet.post("/api/autonomous/restart/two?wait=20")  # there is something to be written
    told = fleet.manager.says("not written: ")
    fleet.manager.heard("WATCHDOG", nth=3, since=told)
    assert fleet.pids()["one"] == before["one"]
    assert not fleet.manager.codes
    resource.prlimit(fleet.plugin(), resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    fleet.holds()


@pytest.mark.fault("service", "`circusctl stop` of everything: the watchdog is put out until `circusctl start`")
def test_an_operators_stop_of_everything_is_not_undone_by_the_watchdog(served: Make) -> None:
    """The plugin is stopped too, on purpose; it comes back with its watchdog."""
    fleet = served().serve()
    told = len(fleet.manager.messages)
    fleet.strike(lambda: fleet.circusctl("stop"))
    assert fleet.manager.heard("WATCHDOG_USEC", since=told)["WATCHDOG_USEC"] == "0"
    assert not [each for each in fleet.manager.messages if "STOPPING" in each]
    fleet.circusctl("start")
    again = fleet.manager.heard("WATCHDOG_USEC", nth=2, since=told)
    assert (again["READY"], again["WATCHDOG_USEC"]) == ("1", str(round(WATCHDOG * 1e6)))
    fleet.all_healthy()
    assert not fleet.manager.codes


@pytest.mark.fault("service", "started beside an `up` of somebody's: refused, and that one goes on")
def test_a_fleet_that_runs_otherwise_is_left_alone(arena: MakeArena) -> None:
    """Exit 1, with what to do."""
    fleet = arena(SYSTEMS)
    before = fleet.pids()
    words = [sys.executable, "-m", "aurora_circus", "serve", "--fleet", str(fleet.folder / "fleet.toml")]
    done = fleet.strike(lambda: subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE, check=False))
    assert done.returncode == 1
    assert "was not started as a service" in done.stderr
    fleet.holds()
    assert fleet.pids() == before


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--system"], marks=pytest.mark.fault("service", "the machine's unit: `systemd-analyze verify`")),
        pytest.param(["--user"], marks=pytest.mark.fault("service", "a user's unit: `systemd-analyze verify`")),
    ],
)
def test_systemd_takes_the_unit(words: list[str], tmp_path: Path) -> None:
    """Without a word, wherever the fleet and its Python lie."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here (Debian: the package systemd)")
    for number, name in enumerate(["plain", "odd %n $HOME 'q' \"d\" \\ ; ünï"]):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "fleet.toml").write_text(f'[fleet]\nname = "100 % {number}"\n', encoding="utf-8")
        (folder / "python").symlink_to(sys.executable)
        unit = tmp_path / f"fleet{number}.service"
        command = [str(folder / "python"), "-m", "aurora_circus", "install-service", "--print", *words]
        text = subprocess.run(
            [*command, "--fleet", str(folder / "fleet.toml")],
            check=True,
            capture_output=True,
            timeout=DEADLINE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        unit.write_bytes(text)
        done = subprocess.run(
            ["systemd-analyze", *words, "verify", "--man=no", str(unit)],
            check=False,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), text.decode()


SYSTEMD = Path("/lib/systemd/systemd")
ODD = ['/opt/o\'d "d"/python', "-c", "100 % %n %%", "$HOME ${HOME} $$", "a;b", ";", "\\x41\t\n\x01", "ünï", "", "#"]
CODES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def shown(line: str) -> list[str]:
    """Take apart how systemd shows a command line: words in double quotes where they need any, with C's escapes."""

    def resolved(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "x01234567" and len(code) > 1:
            return chr(int(code[1:], 16) if code[0] == "x" else int(code, 8))
        return CODES.get(code, code)

    found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    escape = re.compile(r"\\(x[0-9a-f]{2}|[0-7]{3}|.)", re.DOTALL)
    return [escape.sub(resolved, quoted or plain) for quoted, plain in found]


@pytest.mark.fault("service", "systemd itself reads an awkward command line as it was meant")
def test_systemd_reads_what_was_meant() -> None:
    """It loads the unit without running anything, and says what it would run; variables it would resolve only then."""
    if not SYSTEMD.exists():
        pytest.skip(f"there is no {SYSTEMD} here (Debian: the package systemd)")
    root = os.geteuid() == 0  # for whom systemd tests nothing
    with tempfile.TemporaryDirectory(prefix="aurora-unit-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        line = service_systemd.command(tuple(ODD))
        (folder / "odd.service").write_text(f"[Service]\nExecStart={line}\n", encoding="utf-8")
        (folder / "default.target").write_text("[Unit]\nWants=odd.service\n", encoding="utf-8")
        done = subprocess.run(
            [str(SYSTEMD), "--user", "--test", "--unit=default.target", "--log-target=console"],
            check=False,
            capture_output=True,
            timeout=DEADLINE,
            env={"XDG_RUNTIME_DIR": name, "HOME": name, "SYSTEMD_UNIT_PATH": name, "LC_ALL": "C.UTF-8"},
            user=65534 if root else None,
            group=65534 if root else None,
            extra_groups=[] if root else None,
        )
    said = done.stdout.decode()
    if "Unit odd.service" not in said:
        pytest.skip(f"systemd loads nothing for us here: {done.stderr.decode().strip()[-200:]}")
    (found,) = re.findall(r"Command Line: (.*)", said)
    by_shell = ["/bin/sh", "-c", 'exec "$0" "$@"']
    assert [each.replace("$$", "$") for each in shown(found)] == [*by_shell, *ODD], found
