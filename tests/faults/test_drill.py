"""`aurora-circus drill` on real fleets: every fault does what it says, is judged, and leaves all as it was."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from aurora_circus.drill_names import Fault
from tests.e2e.harness import DEADLINE, Json, unix_only
from tests.faults.arena import Arena, MakeArena

FLEET: dict[str, Json] = {"brain": {"critical": True}, "router": {"depends_on": ["brain"]}, "left": {}}
SLACK = 60.0
"""Seconds on top of each promise: whether this machine is quick is not what is tested."""
PATIENT = {"interval": 0.3, "timeout": 30.0, "failure_threshold": 1}
"""Probes that go on for longer than it takes to break a drill off."""


def command(fleet: Arena, *words: str) -> list[str]:
    """Return the command line of a drill."""
    return [sys.executable, "-X", "utf8", "-m", "aurora_circus", "drill", *words]


def run(fleet: Arena, *words: str) -> "subprocess.CompletedProcess[str]":
    """Do a drill, where nobody can be asked."""
    return subprocess.run(
        command(fleet, *words),
        cwd=fleet.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=3 * DEADLINE,
        check=False,
    )


def begin(fleet: Arena, *words: str) -> "subprocess.Popen[str]":
    """Begin a drill, and come back as soon as the controller has."""
    drill = subprocess.Popen(
        command(fleet, *words, "--yes", "--slack", str(SLACK)),
        cwd=fleet.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    fleet.event("drill", phase="begins")
    return drill


def ended(drill: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Wait for its end; return the exit code and what it said."""
    try:
        out, err = drill.communicate(timeout=DEADLINE)
    finally:
        drill.kill()
    return drill.returncode, out, err


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.KILL, marks=[pytest.mark.fault("drill", "`drill kill`"), pytest.mark.quick]),
        pytest.param(Fault.HANG, marks=pytest.mark.fault("drill", "`drill hang`")),
        pytest.param(Fault.SLOW_HEALTH, marks=pytest.mark.fault("drill", "`drill slow-health`")),
        pytest.param(Fault.HTTP_500, marks=[pytest.mark.fault("drill", "`drill http-500`"), pytest.mark.quick]),
        pytest.param(Fault.CRASH_LOOP, marks=pytest.mark.fault("drill", "`drill crash-loop`")),
    ],
)
def test_a_system_that_is_drilled_is_back_as_promised(arena: MakeArena, fault: Fault) -> None:
    """Exit 0, each promise kept; the journal says who did it, and only the one has another process."""
    fleet = arena(FLEET)
    before = fleet.pids()
    done = fleet.strike(lambda: run(fleet, fault, "router", "--yes", "--json", "--slack", str(SLACK)))
    assert done.returncode == 0, done.stdout + done.stderr + fleet.told()
    report = json.loads(done.stdout)
    assert (report["fault"], report["server"], report["kept"]) == (fault, "router", True)
    for each in report["promises"]:
        fleet.figure(each["what"], each["took"], "s")
    begins, over = fleet.since("drill", "router")
    assert (begins["details"]["phase"], begins["details"]["by"]) == ("begins", "cli")
    assert over["details"]["phase"] == "over"
    assert fleet.pids() == {**before, "router": report["pid_after"]}
    assert (report["pid_before"], report["pid_after"] != before["router"]) == (before["router"], True)
    assert len(fleet.since("server_exited", "router")) == (2 if fault is Fault.CRASH_LOOP else 1)
    if fault not in {Fault.KILL, Fault.CRASH_LOOP}:  # of whom a probe may see the end first
        (unhealthy,) = fleet.since("server_unhealthy")
        by_standin = unhealthy["details"]["reason"].startswith(f"drill {fault}: ")
        assert by_standin is (fault is not Fault.HANG)


@pytest.mark.fault("drill", "`drill plugin-kill`")
def test_a_plugin_that_is_killed_on_purpose_is_back(arena: MakeArena) -> None:
    """Its API answers again, and no system has another process."""
    fleet = arena(FLEET)
    before, plugin = fleet.pids(), fleet.plugin()
    done = fleet.strike(lambda: run(fleet, Fault.PLUGIN_KILL, "--yes", "--json", "--slack", str(SLACK)))
    assert done.returncode == 0, done.stdout + done.stderr + fleet.told()
    report = json.loads(done.stdout)
    assert (report["server"], report["pid_before"], report["pid_after"]) == (None, plugin, fleet.plugin())
    fleet.figure("back", report["promises"][0]["took"], "s")
    assert fleet.pids() == before


@pytest.mark.fault("drill", "a drill whose system does not come back")
def test_a_broken_promise_is_exit_1(arena: MakeArena) -> None:
    """It says what was broken and why, and where to ask on."""
    fleet = arena(FLEET)
    fleet.mode("router", "crash")
    done = fleet.strike(lambda: run(fleet, Fault.KILL, "router", "--yes", "--slack", str(SLACK)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN: it was given up: exited with code 1: RuntimeError: no flux in router" in done.stdout
    assert "aurora-circus explain router" in done.stderr
    again = run(fleet, Fault.KILL, "left", "--yes")
    assert (again.returncode, "the fleet is not all well already" in again.stderr) == (1, True)
    assert fleet.since("drill", "left") == []
    forced = run(fleet, Fault.KILL, "left", "--yes", "--force", "--slack", str(SLACK))
    assert forced.returncode == 0, forced.stdout + forced.stderr


@pytest.mark.quick
@pytest.mark.fault("drill", "a drill that nobody has confirmed, or of a stopped system")
def test_what_may_not_be_is_not_begun(arena: MakeArena) -> None:
    """Exit 2 where nobody can be asked, 1 where it is refused; nobody is touched, and the journal knows of no drill."""
    fleet = arena(FLEET)
    before = fleet.pids()
    unasked = run(fleet, Fault.KILL, "router")
    assert (unasked.returncode, "say --yes" in unasked.stderr) == (2, True)
    fleet.post("/api/autonomous/stop/left?wait=30")
    stopped = run(fleet, Fault.KILL, "left", "--yes")
    assert (stopped.returncode, "left is stopped" in stopped.stderr) == (1, True)
    assert fleet.events("drill") == []
    assert fleet.pids() == {key: pid for key, pid in before.items() if key != "left"}


@unix_only
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.HANG, marks=pytest.mark.fault("drill", "Ctrl-C in `drill hang`")),
        pytest.param(Fault.SLOW_HEALTH, marks=pytest.mark.fault("drill", "Ctrl-C in `drill slow-health`")),
    ],
)
def test_an_interrupted_drill_leaves_all_as_it_was(arena: MakeArena, fault: Fault) -> None:
    """What was frozen goes on, the stand-in is asked no more, and nobody has another process."""
    fleet = arena(FLEET, probe=PATIENT)
    before = fleet.pids()
    drill = fleet.strike(lambda: begin(fleet, fault, "router"))
    drill.send_signal(signal.SIGINT)
    code, _, said = ended(drill)
    assert (code, "interrupted: the fault is ended" in said) == (1, True), said
    fleet.event("drill", "router", phase="over", why="ended by cli")
    assert fleet.status()["router"]["drill"] is None
    assert fleet.pids() == before


@pytest.mark.fault("drill", "the drill command itself is killed")
def test_a_drill_whose_command_is_killed_ends_by_itself(arena: MakeArena) -> None:
    """The stand-in is gone with it: that is not taken for the fault."""
    fleet = arena(FLEET, probe=PATIENT)
    before = fleet.pids()
    drill = fleet.strike(lambda: begin(fleet, Fault.SLOW_HEALTH, "router"))
    drill.kill()
    ended(drill)
    over = fleet.event("drill", "router", phase="over")
    assert over["details"]["why"].startswith("its stand-in does not show the fault")
    assert fleet.pids() == before
    assert fleet.status()["router"]["healthy"]


@pytest.mark.fault("drill", "two drills at once")
def test_a_second_drill_is_refused_and_ends_not_the_first(arena: MakeArena) -> None:
    """Of whichever system; the first one goes on."""
    fleet = arena(FLEET, probe=PATIENT)
    drill = fleet.strike(lambda: begin(fleet, Fault.SLOW_HEALTH, "router"))
    try:
        for words in ((Fault.KILL, "router"), (Fault.KILL, "brain"), (Fault.PLUGIN_KILL,)):
            second = run(fleet, *words, "--yes", "--force")
            assert (second.returncode, "a drill runs already: slow-health of router" in second.stderr) == (1, True)
        url = "/api/autonomous/drill/brain?fault=kill&force=true"
        assert fleet.post(url).status_code == 409
        assert fleet.status()["router"]["drill"] == "slow-health"
        assert fleet.post("/api/autonomous/drill/router?fault=none").json()["ended"] is True
    finally:
        drill.kill()
        ended(drill)
    assert len(fleet.since("drill")) == 2


@pytest.mark.fault("drill", "a drill that the API's own description does not allow (schemathesis)")
def test_whatever_is_no_drill_is_refused(arena: MakeArena) -> None:
    """With a 4xx, and nobody is touched."""
    schemathesis = pytest.importorskip("schemathesis", exc_type=ImportError)
    from tests.faults.test_api_schema import WRONG, drive  # noqa: PLC0415 - it needs what has just been looked for

    fleet = arena(FLEET)
    before = fleet.pids()
    schema = schemathesis.openapi.from_dict(fleet.get("/openapi.json"))
    drive(fleet, schema["/api/autonomous/drill/{key}"]["POST"], WRONG)
    assert fleet.events("drill") == []
    assert fleet.pids() == before


@unix_only
@pytest.mark.fault("drill", "a stand-in's port that leads elsewhere")
def test_a_drill_asks_nobody_but_this_machine(arena: MakeArena) -> None:
    """A port is asked on 127.0.0.1 alone: who listens there at another address is not asked, nor is the fleet."""
    fleet = arena(FLEET)
    before = fleet.pids()
    with socket.create_server(("127.0.0.2", 0)) as elsewhere:
        port = elsewhere.getsockname()[1]
        path = "/api/autonomous/drill/router?fault=http-500&port="
        for wrong in (f"127.0.0.2:{port}", "127.0.0.2", "http://127.0.0.2/", f"{port}@127.0.0.2", "-1", "0", "70000"):
            assert fleet.post(path + wrong).status_code == 400
        for own in (fleet.api_port, *fleet.ports.values()):
            assert fleet.post(f"{path}{own}").status_code == 409
        assert fleet.strike(lambda: fleet.post(f"{path}{port}")).status_code == 200
        over = fleet.event("drill", "router", phase="over")
        assert "connection refused" in over["details"]["why"]
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert fleet.pids() == before
