"""The watcher dies, the watcher's watcher dies, and what is stopped is stopped: on real processes."""

import os
import signal
import subprocess

import psutil
import pytest

from aurora_circus import ports
from tests.e2e.conftest import Make
from tests.e2e.harness import WINDOWS, Fleet, freeze, kill, seqs_are_whole, unix_only

CHAIN = {"brain": {"critical": True}, "router": {"depends_on": ["brain"]}, "left": {"depends_on": ["router"]}}


def everything_is_gone(running: Fleet) -> None:
    """Check that no process of any group is left, and that every port is free."""
    assert running.leftovers() == []
    assert not any(ports.listening(port) for port in (*running.ports.values(), running.api_port))


def the_order_of_the_end(running: Fleet) -> list[str]:
    """Return who exited, in the journal's order."""
    return [each["server"] for each in running.events("server_exited")]


def test_a_killed_plugin_disturbs_nothing_and_takes_up_where_it_was(fleet: Make) -> None:
    """Nobody is restarted; the next plugin watches on, and the numbers go on."""
    running = fleet(CHAIN).start()
    before, plugin = running.pids(), running.plugin()
    kill(plugin)
    running.event("controller_started", nth=2)
    running.all_healthy()
    assert running.pids() == before
    kill(before["left"])
    running.new_process("left", before["left"])
    seqs_are_whole(running.journal())
    assert len(running.events("server_started")) == len(CHAIN)


def test_a_backoff_goes_on_after_the_plugin_died_in_the_middle_of_it(fleet: Make) -> None:
    """The attempts are neither forgotten nor counted twice: as many starts as the policy says."""
    made = fleet({"web": {}, "other": {}}, restart={"backoff_base": 2.0, "backoff_cap": 2.0})
    made.mode("web", "crash")
    made.render()
    made.launch()
    made.event("restart_scheduled", "web", attempt=2)
    kill(made.plugin())
    made.event("controller_started", nth=2)
    failed = made.event("server_failed", "web")
    assert failed["details"]["attempts"] == 3
    assert len(made.started("web")) == 4


def test_what_was_given_up_and_what_was_stopped_stays_so(fleet: Make) -> None:
    """Failed stays failed and stopped stays stopped when the plugin, or circusd and the plugin, are killed."""
    made = fleet({"broken": {}, "unwanted": {}, "web": {}}, restart={"max_retries": 1})
    made.mode("broken", "crash")
    made.render()
    made.launch()
    made.states(broken="failed", unwanted="healthy", web="healthy")
    assert made.post("/api/autonomous/stop/unwanted?wait=20").status_code == 200
    kill(made.plugin())
    made.event("controller_started", nth=2)
    made.states(broken="failed", unwanted="stopped", web="healthy")
    kill_circusd(made)
    made.launch()
    made.event("controller_started", nth=3)
    made.states(broken="failed", unwanted="stopped", web="healthy")
    assert (len(made.started("broken")), len(made.started("unwanted"))) == (2, 1)


def test_what_died_while_the_plugin_was_away_is_a_crash_like_any_other(fleet: Make) -> None:
    """Its exit is journaled, it costs an attempt, and its restart waits at no gate."""
    running = fleet({"brain": {}, "web": {"depends_on": ["brain"], "gate": "strict"}}).start()
    running.post("/api/autonomous/stop/brain?wait=20")
    old, plugin = running.pids()["web"], running.plugin()
    freeze(plugin)
    kill(old)
    kill(plugin)
    running.new_process("web", old)
    assert running.event("server_exited", "web")["details"]["pid"] == old
    assert running.event("server_recovered", "web")["details"]["attempt"] == 1
    running.states(brain="stopped", web="healthy")


def test_a_plugin_that_circusd_does_not_hold_leaves(fleet: Make) -> None:
    """One brain: a plugin that an earlier circusd had started ends itself, and writes nothing into the journal."""
    running = fleet({"web": {}}).start()
    command = psutil.Process(running.plugin()).cmdline()
    stranger = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=running.folder)
    assert stranger.returncode == 1
    log = running.folder / ".aurora" / "logs" / "aurora.log"  # to which it writes itself, on Windows
    assert "does not hold this process" in stranger.stdout + stranger.stderr + log.read_text(encoding="utf-8")
    assert len(running.events("controller_started")) == 1
    assert running.status()["web"]["healthy"]


def kill_circusd(running: Fleet) -> None:
    """End circusd hard, and wait until the plugin has seen it and gone."""
    assert running.circusd is not None
    plugin = running.plugin()
    running.circusd.kill()
    running.circusd.wait()
    running.launch_waits_for(plugin)


def test_after_circusd_was_killed_each_system_is_replaced_once_in_its_turn(fleet: Make) -> None:
    """The systems serve on; the next circusd makes no duplicate, no futile start and no fight for a port."""
    running = fleet(CHAIN).start()
    before = running.pids()
    kill_circusd(running)
    assert [running.alive(pid) for pid in before.values()] == [True, True, True]
    assert "circusd is gone" in running.events("controller_stopped")[-1]["details"]["why"]
    running.launch()
    running.event("controller_started", nth=2)
    running.until("three new processes", lambda: all(len(running.started(key)) == 2 for key in CHAIN))
    running.all_healthy()
    assert not set(running.pids().values()) & set(before.values())
    assert [running.alive(pid) for pid in before.values()] == [False, False, False]
    assert [len(running.started(key)) for key in CHAIN] == [2, 2, 2]
    assert not running.events("port_conflict")
    assert the_order_of_the_end(running) == list(CHAIN)
    seqs_are_whole(running.journal())


@pytest.mark.parametrize("number", [None] if WINDOWS else [signal.SIGTERM, signal.SIGINT])
def test_a_signalled_circusd_takes_everything_down_in_reverse_order(fleet: Make, number: int | None) -> None:
    """SIGTERM and Ctrl-C, on Windows what `down` says: leaf first, nothing left of any group, the journal closed."""
    made = fleet(CHAIN)
    made.mode("left", "child stubborn")
    made.mode("brain", "child")
    running = made.start()
    assert running.circusd is not None
    if number is None:
        running.take_down()
    else:
        os.kill(running.circusd.pid, number)
    assert running.ended() == 0
    assert the_order_of_the_end(running) == ["left", "router", "brain"]
    assert [each["server"] for each in running.events("server_stopped")] == ["left", "router", "brain"]
    assert running.journal()[-1]["event"] == "controller_stopped"
    assert running.journal()[-1]["details"]["orderly"] is True
    assert not running.events("restart_scheduled")
    seqs_are_whole(running.journal())
    everything_is_gone(running)


def test_an_orderly_end_clears_the_wishes(fleet: Make) -> None:
    """What an operator had stopped is up again after circusctl quit and a new start."""
    running = fleet(CHAIN).start()
    running.post("/api/autonomous/stop/left?wait=20")
    running.circusctl("quit", "--waiting")
    assert running.ended() == 0
    everything_is_gone(running)
    running.launch()
    running.all_healthy()


def test_a_sigterm_while_the_fleet_starts_is_not_lost(fleet: Make) -> None:
    """However busy circusd is: it ends, and nothing is left."""
    made = fleet({**CHAIN, **{f"more{n}": {} for n in range(5)}})
    made.render()
    made.launch()
    made.event("server_starting")
    made.take_down()
    assert made.ended() == 0
    everything_is_gone(made)


@unix_only
def test_a_closed_terminal_bounces_nothing(fleet: Make) -> None:
    """SIGHUP: every process is the one it was, the plugin too, and what was stopped is not started."""
    running = fleet(CHAIN).start()
    running.post("/api/autonomous/stop/left?wait=20")
    before, plugin = running.pids(), running.plugin()
    assert running.circusd is not None
    os.kill(running.circusd.pid, signal.SIGHUP)
    running.until("circusd's reload", lambda: "aurora reloaded" in (running.folder / "circusd.out").read_text())
    running.circusctl("status")
    assert running.pids() == before
    assert running.plugin() == plugin
    assert [len(running.started(key)) for key in CHAIN] == [1, 1, 1]
    running.states(brain="healthy", router="healthy", left="stopped")
