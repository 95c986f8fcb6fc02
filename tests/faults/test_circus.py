"""circus and its operators: a lock that is held, a socket that is gone, a place that two want, a pidfile that lies."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from aurora_circus import claim
from aurora_circus.endpoints import endpoints
from tests.e2e.harness import DEADLINE, kill, unix_only
from tests.faults.arena import Arena, MakeArena
from tests.faults.disks import take_away
from tests.faults.ups import command, up_detached

CHAIN = {"brain": {"critical": True}, "router": {"depends_on": ["brain"]}, "left": {"depends_on": ["router"]}}
PAIR = {"brain": {"critical": True}, "router": {"depends_on": ["brain"]}}


@contextmanager
def circusctl(fleet: Arena, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Have an operator's circusctl running, which may take long."""
    endpoint = endpoints(fleet.config().fleet)[0]
    line = [sys.executable, "-m", "circus.circusctl", "--endpoint", endpoint, "--timeout", "120", *words]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as slow:
        try:
            yield slow
        finally:
            slow.kill()


def a_slow_stop(arena: MakeArena, victim: dict[str, object]) -> tuple[Arena, int]:
    """Make a fleet with a system that ignores SIGTERM, and one that is going to be killed; return that one's pid."""
    fleet = arena({"mule": {}, "victim": victim}, start=False, stop={"graceful_timeout": 4.0})
    fleet.mode("mule", "stubborn")
    fleet.begin()
    return fleet, fleet.pids()["victim"]


@unix_only
@pytest.mark.parametrize(
    "critical",
    [
        pytest.param(
            True, marks=pytest.mark.fault("circus", "lock held by a slow `circusctl stop`, a critical system killed")
        ),
        pytest.param(
            False, marks=pytest.mark.fault("circus", "lock held by a slow `circusctl stop`, another system killed")
        ),
    ],
)
def test_an_operators_slow_stop_keeps_nobody_down(arena: MakeArena, critical: bool) -> None:
    """The plugin ends that by force: at once for a critical system, when the grace period is over for any other."""
    fleet, old = a_slow_stop(arena, {"critical": critical})
    mule = fleet.pids()["mule"]
    with circusctl(fleet, "stop", "mule", "--waiting") as slow:
        fleet.until("the stop", lambda: "stopping" in fleet.circusctl("status", "mule"))
        fleet.strike(lambda: kill(old))
        fleet.noticed("server_exited", "victim")
        fleet.back("victim", old)
        assert slow.wait(DEADLINE) == 0
    fleet.states(mule="stopped", victim="healthy")
    assert fleet.event("server_exited", "mule")["details"] == {
        **fleet.event("server_exited", "mule")["details"],
        "pid": mule,
        "signal": "SIGKILL",
    }


@unix_only
@pytest.mark.fault("circus", "circusd's socket files deleted")
@pytest.mark.quick
def test_sockets_that_were_removed_are_made_again(arena: MakeArena) -> None:
    """circusd does so itself within a second; nobody's connection is cut meanwhile, nobody is started anew."""
    fleet = arena(PAIR)
    before, plugin = fleet.pids(), fleet.plugin()
    files = [Path(each.removeprefix("ipc://")) for each in endpoints(fleet.config().fleet)]

    def clean_up() -> None:
        for each in files:
            each.unlink()

    fleet.strike(clean_up)
    fleet.until("the sockets", lambda: all(each.is_socket() for each in files))
    assert fleet.circusctl("status", "brain").strip() == "active"
    fleet.circusctl("stop", "router", "--waiting")
    fleet.noticed("server_stopped", "router")
    fleet.circusctl("start", "router", "--waiting")
    fleet.states(router="healthy")
    assert fleet.pids()["brain"] == before["brain"]
    assert fleet.plugin() == plugin
    assert fleet.known_circusd().pid == fleet.circusd_pid()


@unix_only
@pytest.mark.fault("circus", "run directory removed while it runs")
def test_a_run_directory_that_was_removed_is_made_again(arena: MakeArena) -> None:
    """Sockets, pidfile and state are there again, for their owner alone; what an operator wished is not forgotten."""
    fleet = arena(CHAIN)
    assert fleet.post("/api/autonomous/stop/left?wait=30").status_code == 200
    before = fleet.pids()
    run_dir = Path(fleet.config().fleet.run_dir)
    fleet.strike(partial(take_away, run_dir))
    wanted = {"circusd.pid", "circusd.sock", "events.sock", "state.json"}
    fleet.until("all of it", lambda: run_dir.is_dir() and wanted <= {each.name for each in run_dir.iterdir()})
    assert run_dir.stat().st_mode & 0o777 == 0o700
    assert fleet.known_circusd().pid == fleet.circusd_pid()
    assert fleet.pids() == before
    kill(fleet.plugin())
    fleet.noticed("controller_started")
    fleet.states(brain="healthy", router="healthy", left="stopped")


@unix_only
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has names that no rm takes away")
@pytest.mark.fault("circus", "run directory removed, and at once a second circusd and a second `up`")
def test_a_fleet_without_its_run_directory_is_not_started_twice(arena: MakeArena) -> None:
    """Neither by hand nor by `up`: the first one is found all the same, and is the one."""
    fleet = arena(PAIR)
    first, run_dir = fleet.known_circusd(), Path(fleet.config().fleet.run_dir)
    before = fleet.pids()

    def again() -> None:
        take_away(run_dir)
        run_dir.mkdir(mode=0o700)

    fleet.strike(again)
    assert claim.holder(str(run_dir)) == first.pid
    second = subprocess.run(
        [sys.executable, "-m", "circus.circusd", str(fleet.ini)],
        cwd=fleet.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert second.returncode == 1
    assert f"another circusd runs this fleet, in {run_dir} (pid {first.pid})" in second.stderr
    up = command(fleet, "up", "-d")
    assert f"is running already (circusd, pid {first.pid})" in up.stdout
    fleet.until("the pidfile", (run_dir / "circusd.pid").exists)
    fleet.holds()
    assert fleet.pids() == before
    assert fleet.known_circusd() == first


@unix_only
@pytest.mark.fault("circus", "stale pidfile with a reused pid")
def test_a_pidfile_that_names_somebody_else_is_not_believed(arena: MakeArena) -> None:
    """circusd itself would believe any living pid, and end. Whose it is by now is left alone."""
    fleet = arena(PAIR, start=False)
    fleet.render()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        pidfile = Path(fleet.config().fleet.run_dir) / "circusd.pid"
        pidfile.write_text(f"{stranger.pid}\n", encoding="ascii")
        assert command(fleet, "status").returncode == 3
        assert command(fleet, "down").returncode == 3
        up_detached(fleet)
        assert fleet.known_circusd().pid not in {stranger.pid, None}
        fleet.holds()
        assert stranger.poll() is None
        stranger.kill()


@unix_only
@pytest.mark.fault("circus", "circusd killed: its pidfile names a process that was started since")
def test_a_dead_circusds_pidfile_does_not_keep_the_next_one_away(arena: MakeArena) -> None:
    """Where it is replaced, somebody else may have its number by then."""
    fleet = up_detached(arena(PAIR, start=False))
    pidfile = Path(fleet.config().fleet.run_dir) / "circusd.pid"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        old = fleet.known_circusd()
        pidfile.write_text(f"{stranger.pid}\n", encoding="ascii")
        fleet.strike(lambda: kill(old.pid))
        assert fleet.noticed("circusd_replaced")["details"]["old"] == old.pid
        fleet.until("new starts", lambda: all(len(fleet.started(key)) == 2 for key in PAIR))
        fleet.all_healthy()
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.fault("circus", "two fleets side by side, one of them killed")
def test_what_befalls_one_fleet_is_nothing_to_the_other(arena: MakeArena) -> None:
    """Neither its circusd, its plugin, its systems nor its journal."""
    one, other = arena(PAIR, folder="one"), arena(PAIR, folder="other")
    before, records = other.pids(), len(other.events("controller_started"))
    assert one.circusd is not None
    plugin = one.plugin()
    one.strike(one.circusd.kill)
    one.circusd.wait()
    one.launch_waits_for(plugin)
    one.launch()
    one.noticed("controller_started")
    one.until("new starts", lambda: all(len(one.started(key)) == 2 for key in PAIR))
    one.all_healthy()
    other.holds()
    assert other.pids() == before
    assert len(other.events("controller_started")) == records


@pytest.mark.fault("circus", "a second `up` of the same fleet, and a third beside it")
def test_there_is_one_circusd_however_often_it_is_brought_up(arena: MakeArena) -> None:
    """Two that begin in the same moment start one; a later one shows it."""
    fleet = arena(PAIR, start=False)
    fleet.render()
    line = [sys.executable, "-X", "utf8", "-m", "aurora_circus", "up", "-d"]
    both = [
        subprocess.Popen(
            line, cwd=fleet.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [each.communicate(timeout=3 * DEADLINE) for each in both]
    up_detached(fleet)
    assert [each.returncode for each in both] == [0, 0], said
    assert [len(fleet.started(key)) for key in PAIR] == [1, 1]
    assert len(fleet.events("controller_started")) == 1
    fleet.holds()


@unix_only
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of a running process is Linux's prlimit(2)")
@pytest.mark.fault("circus", "circusd out of file descriptors when its plugin is killed")
def test_a_plugin_that_cannot_be_started_is_tried_again(arena: MakeArena) -> None:
    """Once a second, and not as fast as circusd can; when there are descriptors again there is a plugin again."""
    import resource  # noqa: PLC0415 - Unix has it

    fleet = arena(PAIR)
    before, plugin = fleet.pids(), fleet.plugin()
    circusd = fleet.known_circusd().pid
    had = resource.prlimit(circusd, resource.RLIMIT_NOFILE)

    def without() -> None:
        resource.prlimit(circusd, resource.RLIMIT_NOFILE, (3, had[1]))
        kill(plugin)

    fleet.strike(without)
    said = fleet.folder / "circusd.out"

    def it_goes_on() -> bool:
        """Say whether circusd has done anything after a failed start."""
        _, failed, then = said.read_text(encoding="utf-8", errors="replace").rpartition("error in 'aurora': [Errno 24]")
        return bool(failed) and "aurora stopped" in then

    fleet.until("the end of a failed start", it_goes_on)
    resource.prlimit(circusd, resource.RLIMIT_NOFILE, had)
    fleet.noticed("controller_started")
    fleet.holds()
    assert fleet.pids() == before
