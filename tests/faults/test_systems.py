"""What a system may do to itself, and to who watches it: it ends, hangs, leaves somebody behind, or never comes up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from aurora_circus import processes
from aurora_circus.facts import Process
from tests.e2e.harness import DEADLINE, SERVICE, Json, freeze, kill, unix_only
from tests.faults.arena import Arena, MakeArena

PAIR: dict[str, Json] = {"one": {}, "two": {}}
ALWAYS = 1e6
"""Seconds that no test lasts."""
PATIENT = {"failure_threshold": 3}
"""No probe that meets a dying one ends it before its exit is seen, which then would have been asked for."""


def tell(fleet: Arena, key: str, path: str) -> None:
    """Give a service an order, which it may not live to answer."""
    try:
        requests.get(f"http://127.0.0.1:{fleet.ports[key]}{path}", timeout=DEADLINE)
    except requests.ConnectionError:
        return


def kin(fleet: Arena, key: str) -> list[Process]:
    """Return who a service has begotten, in all of its starts, as far as they are still there."""
    file = fleet.folder / f"{key}.kin"
    pids = [int(each) for each in file.read_text(encoding="utf-8").split()] if file.exists() else []
    return [each for pid in pids if (each := processes.identify(pid)) is not None]


def gone(those: list[Process]) -> bool:
    """Say whether none of them runs any more."""
    return not any(processes.alive(each) for each in those)


def untouched(fleet: Arena, before: dict[str, int]) -> None:
    """Check that the other system is the one that it was."""
    assert fleet.pids()["two"] == before["two"]


# --- it ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "told", "why"),
    [
        pytest.param(
            "/exit/0",
            {"code": 0, "signal": None},
            "exited with code 0",
            marks=pytest.mark.fault("systems", "exits with code 0, unasked"),
        ),
        pytest.param(
            "/exit/1",
            {"code": 1, "signal": None},
            "exited with code 1: one: ready",
            marks=[pytest.mark.fault("systems", "exits with code 1"), pytest.mark.quick],
        ),
    ],
)
def test_one_that_exits_is_back(arena: MakeArena, order: str, told: Json, why: str) -> None:
    """Whatever its code says: nobody had asked it to. What it was stays in ``explain`` when it is well again."""
    fleet = arena(PAIR, probe=PATIENT)
    before = fleet.pids()
    fleet.strike(lambda: tell(fleet, "one", order))
    details = fleet.noticed("server_exited", "one")["details"]
    assert {**told, "asked": False}.items() <= details.items()
    fleet.back("one", before["one"])
    untouched(fleet, before)
    explained = fleet.get("/api/autonomous/explain/one")
    assert (explained["cause"], explained["healthy"]) == (None, True)
    assert explained["last_failure"]["reason"].startswith(why)


@unix_only
@pytest.mark.fault("systems", "crashes (SIGSEGV)")
def test_one_that_crashes_is_back(arena: MakeArena) -> None:
    """The journal says by which signal."""
    fleet = arena(PAIR, probe=PATIENT)
    before = fleet.pids()
    fleet.strike(lambda: os.kill(before["one"], signal.SIGSEGV))
    assert fleet.noticed("server_exited", "one")["details"]["signal"] == "SIGSEGV"
    fleet.back("one", before["one"])
    untouched(fleet, before)
    assert "killed by SIGSEGV" in fleet.get("/api/autonomous/explain/one")["last_failure"]["reason"]


@pytest.mark.fault("systems", "stopped (SIGSTOP): connects, and never answers")
def test_one_that_is_frozen_is_replaced(arena: MakeArena) -> None:
    """It is let go on, ends in good order, and takes no grace period."""
    fleet = arena(PAIR)
    before = fleet.pids()
    fleet.strike(lambda: freeze(before["one"]))
    fleet.noticed("server_unhealthy", "one")
    fleet.back("one", before["one"])
    untouched(fleet, before)
    exited = fleet.since("server_exited", "one", pid=before["one"])[0]["details"]
    assert (exited["asked"], exited["code"], exited["signal"]) == (True, 0, None)


@pytest.mark.fault("systems", "ignores SIGTERM")
def test_one_that_will_not_go_is_ended_by_force(arena: MakeArena) -> None:
    """A restart takes its grace period and no longer; nobody else waits for that."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", "stubborn")
    fleet.begin()
    before = fleet.pids()
    fleet.strike(lambda: fleet.post("/api/autonomous/restart/one"))
    fleet.back("one", before["one"])
    untouched(fleet, before)
    assert fleet.since("server_exited", "one")[0]["details"]["asked"] is True


@unix_only
@pytest.mark.fault("systems", "crashes while it is being stopped")
def test_a_crash_while_stopping_is_a_stop(arena: MakeArena) -> None:
    """It is wanted down, and it is down: nothing is started again."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", "fragile")
    fleet.begin()
    fleet.strike(lambda: fleet.post("/api/autonomous/stop/one?wait=30"))
    exited = fleet.noticed("server_exited", "one")["details"]
    assert (exited["signal"], exited["asked"]) == ("SIGABRT", True)
    fleet.states(one="stopped", two="healthy")
    fleet.holds()
    assert len(fleet.started("one")) == 1
    assert not fleet.since("restart_scheduled", "one")


@unix_only
@pytest.mark.quick
@pytest.mark.parametrize(
    ("mode", "how"),
    [
        pytest.param(
            "polite",
            {"code": 143, "signal": None},
            marks=pytest.mark.fault("systems", "ends by our SIGTERM, with code 143"),
        ),
        pytest.param(
            "", {"code": 0, "signal": None}, marks=pytest.mark.fault("systems", "ends by our SIGTERM, with code 0")
        ),
    ],
)
def test_an_end_that_was_asked_for_is_told_as_that(arena: MakeArena, mode: str, how: Json) -> None:
    """No fault is made of it, and of its last words none either."""
    fleet = arena({"one": {}}, start=False)
    fleet.mode("one", mode)
    fleet.begin()
    fleet.strike(lambda: fleet.post("/api/autonomous/stop/one?wait=30"))
    assert {**how, "asked": True}.items() <= fleet.noticed("server_exited", "one")["details"].items()
    fleet.states(one="stopped")
    explained = fleet.get("/api/autonomous/explain/one")
    assert (explained["cause"], explained["last_failure"]) == ("stopped", None)


# --- it leaves somebody behind -------------------------------------------------------------------------------------

KINDS = {
    "plain": "a grandchild",
    "plain+stubborn": "a grandchild that ignores SIGTERM",
    "apart+stubborn": "a grandchild in a session of its own that ignores SIGTERM",
    "orphan": "a daemon: forked twice, out of the session",
    "orphan+stubborn": "a daemon that ignores SIGTERM",
    "apart+cleared+stubborn": "a grandchild without an environment, in a session of its own, that ignores SIGTERM",
    "orphan+cleared+stubborn": "a daemon that has cleared its environment and ignores SIGTERM",
}


@unix_only
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.fault("systems", f"killed, leaves {what}")) for kind, what in KINDS.items()],
)
def test_what_a_killed_one_leaves_is_ended_before_the_next(arena: MakeArena, kind: str) -> None:
    """Nothing of it is there when the next one is healthy; what that begets in turn is left alone."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", f"kin={kind}")
    fleet.begin()
    before, left = fleet.pids(), kin(fleet, "one")
    assert len(left) == 1
    fleet.strike(lambda: kill(before["one"]))
    fleet.noticed("server_exited", "one")
    fleet.back("one", before["one"])
    assert gone(left)
    assert [processes.alive(each) for each in kin(fleet, "one") if each not in left] == [True]
    untouched(fleet, before)


@unix_only
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.fault("systems", f"stopped, has {what}")) for kind, what in KINDS.items()],
)
def test_stopped_means_that_nobody_is_left(arena: MakeArena, kind: str) -> None:
    """When the state says so: whoever came of it is gone, and no zombie stays."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", f"kin={kind}")
    fleet.begin()
    left = kin(fleet, "one")
    assert len(left) == 1
    fleet.strike(lambda: fleet.post("/api/autonomous/stop/one?wait=30"))
    fleet.noticed("server_stopped", "one")
    assert gone(left)
    fleet.states(one="stopped", two="healthy")
    fleet.holds()


@unix_only
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.fault("systems", f"restarted by circusctl, leaves {what}"))
        for kind, what in KINDS.items()
    ],
)
def test_what_circusctl_leaves_is_ended_beside_the_next(arena: MakeArena, kind: str) -> None:
    """circus waits for the leader alone; what it leaves is ended, what the next one begets is not."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", f"kin={kind}")
    fleet.begin()
    before, left = fleet.pids(), kin(fleet, "one")
    assert len(left) == 1
    fleet.strike(lambda: fleet.circusctl("restart", "one", "--waiting"))
    fleet.back("one", before["one"])
    fleet.until("the end of what was left", lambda: gone(left))
    fleet.holds()
    assert [processes.alive(each) for each in kin(fleet, "one") if each not in left] == [True]
    assert len(fleet.started("one")) == 2
    untouched(fleet, before)


@unix_only
@pytest.mark.fault("systems", "clears its own environment, has a daemon: plugin killed, circusctl restart, killed")
def test_who_bears_no_marks_is_known_as_circusds_all_the_same(arena: MakeArena, tmp_path: Path) -> None:
    """It is nobody's stray while it runs; what it leaves is ended, and nothing else."""
    bare = f'exec env -i PORT=$PORT AURORA_SYSTEM=one "{sys.executable}" "{SERVICE}" "{tmp_path}"'
    fleet = arena({"one": {"command": f"/bin/sh -c '{bare}'"}, "two": {}}, start=False)
    fleet.mode("one", "kin=orphan+cleared+stubborn")
    fleet.begin()
    before, plugin = fleet.pids(), fleet.plugin()
    fleet.strike(lambda: kill(plugin))
    fleet.noticed("controller_started")
    fleet.all_healthy()
    fleet.holds()
    assert fleet.pids() == before
    assert all(processes.alive(each) for each in kin(fleet, "one"))
    for strike in (lambda: fleet.circusctl("restart", "one", "--waiting"), lambda: kill(fleet.pids()["one"])):
        old, left = fleet.pids()["one"], kin(fleet, "one")
        fleet.strike(strike)
        fleet.back("one", old)
        fleet.until("the end of what was left", lambda left=left: gone(left))  # type: ignore[misc] # a lambda's default
        fleet.holds()
        assert [processes.alive(each) for each in kin(fleet, "one") if each not in left] == [True]
    assert len(fleet.started("one")) == 3
    untouched(fleet, before)


@unix_only
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.fault("systems", f"taken out of the fleet, leaves {what}"))
        for kind, what in KINDS.items()
    ],
)
def test_what_is_no_system_any_more_leaves_nobody(arena: MakeArena, kind: str) -> None:
    """By ``reloadconfig`` of a file without it, with which the plugin begins anew, as its own settings have changed."""
    fleet = arena({"two": {}, "one": {}}, start=False)
    fleet.mode("one", f"kin={kind}")
    fleet.begin()
    before, left = fleet.pids(), kin(fleet, "one")
    assert len(left) == 1
    del fleet.settings["system"]["one"], fleet.ports["one"]
    fleet.render()
    assert fleet.strike(lambda: fleet.circusctl("reloadconfig", "--waiting")).strip() == "ok"
    fleet.until("the end of what was left", lambda: gone(left) and not fleet.alive(before["one"]))
    fleet.all_healthy()
    fleet.holds()
    untouched(fleet, before)


@unix_only
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=pytest.mark.fault("systems", f"removed by `circusctl rm`, ignores SIGTERM, {what}"))
        for words, what in {
            "stubborn child": "as does its grandchild",
            "stubborn kin=apart+stubborn,orphan+cleared+stubborn": "as do those who have left its session",
        }.items()
    ],
)
def test_who_is_removed_leaves_nobody(arena: MakeArena, words: str) -> None:
    """The plugin knows it no more when its end comes; circus kills whom of those it still finds, which is not all."""
    fleet = arena({"two": {}, "one": {}}, start=False)
    fleet.mode("one", words)
    fleet.begin()
    before, (_, child) = fleet.pids(), fleet.started("one")[0]
    left = [*kin(fleet, "one"), *([each] if child and (each := processes.identify(child)) else [])]
    assert left
    fleet.strike(lambda: fleet.circusctl("rm", "one", "--waiting"))
    fleet.until("the end of everybody", lambda: gone(left) and not fleet.alive(before["one"]))
    del fleet.ports["one"]
    fleet.holds()
    untouched(fleet, before)


@unix_only
@pytest.mark.fault("systems", "restarted by circusctl again and again beside what it leaves: told of once")
def test_of_whom_it_ends_it_tells_once(arena: MakeArena) -> None:
    """One look after the other, each of which sees that the one before is at it."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", "child")
    fleet.begin()
    before, (_, child) = fleet.pids(), fleet.started("one")[0]
    fleet.mode("one", "")
    for _ in range(4):
        old = fleet.pids()["one"]
        fleet.strike(lambda: fleet.circusctl("restart", "one", "--waiting"))
        fleet.back("one", old)
    fleet.until("its end", lambda: not fleet.alive(child))
    assert fleet.event("leftover_ended", "one")["details"] == {"pids": [child], "forced": True}
    fleet.holds()
    assert len(fleet.events("leftover_ended")) == 1
    untouched(fleet, before)


@unix_only
@pytest.mark.fault("systems", "a daemon of it holds the port: killed, and back on it")
def test_a_daemon_on_the_port_is_of_the_system_and_ended_with_it(arena: MakeArena) -> None:
    """Its listener is no impostor, though it has left the session; when the leader dies it frees the port."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", "server=orphan+stubborn")
    fleet.begin()
    before, left = fleet.pids(), kin(fleet, "one")
    assert fleet.get("/api/autonomous/explain/one")["listener"] == "verified"
    fleet.strike(lambda: kill(before["one"]))
    fleet.back("one", before["one"])
    assert gone(left)
    assert not fleet.since("port_conflict", "one")
    untouched(fleet, before)


@unix_only
@pytest.mark.fault("systems", "a whole fleet with daemons is taken down")
def test_down_leaves_nobody_of_anybody(arena: MakeArena) -> None:
    """Daemons and grandchildren of all kinds, gone when circusd is, and nobody waits for dead ones for ever."""
    fleet = arena({"one": {}, "two": {"depends_on": ["one"]}}, start=False)
    fleet.mode("one", f"kin={','.join(KINDS)}")
    fleet.mode("two", "kin=orphan+cleared,orphan+stubborn")
    fleet.begin()
    left = [*kin(fleet, "one"), *kin(fleet, "two")]
    assert len(left) == len(KINDS) + 2
    fleet.take_down()
    assert fleet.ended() == 0
    assert gone(left)
    assert [processes.identify(each.pid) for each in left] == [None] * len(left)


@unix_only
@pytest.mark.fault("systems", "circusd killed while systems have daemons: all replaced in turn")
def test_what_a_killed_circusd_leaves_is_replaced_daemons_and_all(arena: MakeArena) -> None:
    """Nobody of the earlier life is there when the fleet is healthy again, and the journal names what was ended."""
    fleet = arena({"one": {}, "two": {"depends_on": ["one"]}}, start=False)
    fleet.mode("one", "kin=orphan+cleared+stubborn,apart,orphan")
    fleet.begin()
    before, left = fleet.pids(), kin(fleet, "one")
    assert fleet.circusd is not None
    fleet.strike(fleet.circusd.kill)
    fleet.circusd.wait()
    fleet.launch_waits_for(fleet.plugin())
    fleet.launch()
    fleet.back("one", before["one"])
    fleet.back("two", before["two"])
    fleet.event("leftover_ended", "one")
    fleet.event("leftover_ended", "two")
    assert gone(left)
    fleet.all_healthy()


@unix_only
@pytest.mark.fault("systems", "a process that circusd started as it was killed, and that no state knows")
def test_what_no_state_knows_is_found_by_its_marks(arena: MakeArena) -> None:
    """As if it had been started in the last instant: the state file is gone, and it is replaced all the same."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", "kin=orphan")
    fleet.begin()
    before, left = fleet.pids(), kin(fleet, "one")
    assert fleet.circusd is not None
    fleet.strike(fleet.circusd.kill)
    fleet.circusd.wait()
    fleet.launch_waits_for(fleet.plugin())
    (fleet.folder / ".aurora" / "run" / "state.json").unlink()
    fleet.launch()
    fleet.back("one", before["one"])
    fleet.back("two", before["two"])
    assert fleet.event("leftover_ended", "one")["details"]["pids"]
    assert not fleet.since("port_conflict")
    assert gone(left)
    fleet.all_healthy()


@unix_only
@pytest.mark.fault("systems", "a stranger with a copied environment: not taken for part of the system")
def test_a_copied_environment_makes_nobody_part_of_a_system(arena: MakeArena) -> None:
    """An operator's own program, run with what /proc says of a system, lives on when that is stopped and started."""
    fleet = arena(PAIR)
    environ = Path(f"/proc/{fleet.pids()['one']}/environ")
    if not environ.exists():
        pytest.skip("this system does not show an environment in a file")
    pairs = (each.partition("=") for each in environ.read_text(encoding="utf-8").split("\0") if each)
    copied = {name: value for name, _, value in pairs}
    assert copied["AURORA_SYSTEM"] == "one"
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], env=copied, stdin=subprocess.PIPE, start_new_session=True
    ) as stranger:
        fleet.strike(lambda: fleet.post("/api/autonomous/stop/one?wait=30"))
        fleet.noticed("server_stopped", "one")
        fleet.post("/api/autonomous/start/one?wait=30")
        fleet.all_healthy()
        assert stranger.poll() is None
        stranger.kill()


# --- it does not start ---------------------------------------------------------------------------------------------


def fails(fleet: Arena, *words: str) -> Json:
    """Wait until ``bad`` has failed while the other is well, and return what is said of it: why, and when next."""
    fleet.states(bad="failed", two="healthy")
    fleet.watch()
    fleet.holds()
    status = fleet.status()["bad"]
    assert all(word in status["error"] for word in words), status["error"]
    assert status["next_attempt_at"] is not None
    assert fleet.since("server_failed", "bad")[0]["details"]["attempts"] == status["attempts"]
    return status


RETRY = {"max_retries": 2, "backoff_base": 0.01, "backoff_cap": 0.02}


@unix_only
@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        pytest.param(
            "#!/bin/sh\n",
            0o644,
            ("exited with code 126", "ermission denied"),
            marks=pytest.mark.fault("systems", "its program is not executable any more"),
        ),
        pytest.param(
            "#!/nowhere/at/all\n",
            0o755,
            ("exited with code 12",),
            marks=pytest.mark.fault("systems", "its program names an interpreter that is not there"),
        ),
        pytest.param(
            None,
            0,
            ("exited with code 127", "not found"),
            marks=pytest.mark.fault("systems", "its program is gone"),
        ),
    ],
)
def test_what_cannot_be_run_says_why(arena: MakeArena, text: str | None, mode: int, words: tuple[str, ...]) -> None:
    """It has failed with the shell's own words, and the other one is up."""
    fleet = arena({"bad": {"command": "./program"}, "two": {}}, restart=RETRY, start=False)
    program = fleet.folder / "program"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    fleet.render()
    program.unlink()
    if text is not None:
        program.write_text(text, encoding="utf-8")
        program.chmod(mode)
    fleet.launch()
    fails(fleet, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            "def broken(:\n",
            ("exited with code 1", "SyntaxError"),
            marks=pytest.mark.fault("systems", "a syntax error in its script"),
        ),
        pytest.param(
            None,
            ("exited with code 2", "No such file"),
            marks=pytest.mark.fault("systems", "its script is gone"),
        ),
    ],
)
def test_a_script_that_cannot_start_says_why(arena: MakeArena, text: str | None, words: tuple[str, ...]) -> None:
    """Its last line of output is the reason."""
    fleet = arena({"bad": {"command": "{python} script.py"}, "two": {}}, restart=RETRY, start=False)
    script = fleet.folder / "script.py"
    script.write_text(text or "", encoding="utf-8")
    fleet.render()
    if text is None:
        script.unlink()
    fleet.launch()
    fails(fleet, *words)


@pytest.mark.fault("systems", "starts slowly")
def test_a_slow_start_is_waited_for(arena: MakeArena) -> None:
    """Within its ``start_timeout`` it is starting, and no attempt is used up."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", "slow=2")
    fleet.render()
    fleet.launch()
    fleet.states(one="starting", two="healthy")
    fleet.states(one="healthy")
    assert (fleet.status()["one"]["attempt"], len(fleet.started("one"))) == (0, 1)
    fleet.watch()


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("sick", marks=pytest.mark.fault("systems", "never healthy: says that it has failed")),
        pytest.param("slow=100000", marks=pytest.mark.fault("systems", "never healthy: does not listen")),
    ],
)
def test_a_start_that_never_becomes_healthy_is_given_up(arena: MakeArena, mode: str) -> None:
    """Each attempt ends with its ``start_timeout``, and the reason says what was seen."""
    fleet = arena({"bad": {"restart": {**RETRY, "max_retries": 1, "start_timeout": 1.5}}, "two": {}}, start=False)
    fleet.mode("bad", mode)
    fleet.render()
    fleet.launch()
    fails(fleet, "not healthy within 1.5 s of its start")


@pytest.mark.fault("systems", "flaps just under stable_after: given up")
def test_flapping_below_stable_uses_up_the_attempts(arena: MakeArena) -> None:
    """It is healthy each time, never for long enough: the attempts are counted on, and then it has failed."""
    fleet = arena({"bad": {}, "two": {}}, restart={**RETRY, "stable_after": ALWAYS})
    for number in (1, 2):
        before = fleet.pids()["bad"]
        fleet.strike(lambda: tell(fleet, "bad", "/exit/1"))
        fleet.back("bad", before)
        assert fleet.status()["bad"]["attempt"] == number
    fleet.strike(lambda: tell(fleet, "bad", "/exit/1"))
    fleet.states(bad="failed", two="healthy")
    assert fleet.since("server_failed", "bad")[0]["details"]["attempts"] == 2


@pytest.mark.fault("systems", "flaps just over stable_after: never given up")
def test_flapping_beyond_stable_is_never_given_up(arena: MakeArena) -> None:
    """Once it was healthy for long enough, the attempts start again from none, however often."""
    fleet = arena(PAIR, restart={**RETRY, "max_retries": 1, "stable_after": 0.2})
    for _ in range(4):
        fleet.until("a stable one", lambda: fleet.status().get("one", {}).get("attempt") == 0)
        before = fleet.pids()["one"]
        fleet.strike(lambda: tell(fleet, "one", "/exit/1"))
        fleet.noticed("restart_scheduled", "one", attempt=1)
        fleet.back("one", before)
    assert not fleet.events("server_failed", "one")
    assert len(fleet.started("one")) == 5
