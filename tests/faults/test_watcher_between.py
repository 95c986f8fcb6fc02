"""circusd dies at the worst moment: while who keeps it goes, while it is told something, while a mark is wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aurora_circus import kept
from tests.e2e.harness import DEADLINE, kill, unix_only
from tests.faults.arena import MakeArena
from tests.faults.disks import take_away
from tests.faults.ups import command, known, replaced, up_detached

pytestmark = unix_only
PAIR = {"brain": {"critical": True}, "router": {"depends_on": ["brain"]}}


@pytest.mark.fault("watcher", "circusd killed as `up -d` returns")
def test_a_circusd_that_dies_while_up_returns_is_replaced(arena: MakeArena) -> None:
    """`up` looks no more and the plugin sees that it still runs: whoever is left after that replaces it."""
    fleet = arena(PAIR, start=False)
    fleet.render()
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "aurora_circus", "up", "-d"],
        cwd=fleet.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as started:
        assert started.stdout is not None
        for line in started.stdout:
            if "2 of 2 systems healthy" in line:
                break
        old = fleet.known_circusd()
        fleet.strike(lambda: kill(old.pid))
        started.stdout.read()
        started.wait(DEADLINE)
    known(fleet)
    assert fleet.noticed("circusd_replaced")["details"]["old"] == old.pid
    replaced(fleet, 2)


@pytest.mark.fault("watcher", "circusd killed in the middle of `circusctl restart` of everything")
def test_a_circusd_that_dies_over_a_restart_is_replaced(arena: MakeArena) -> None:
    """Such a restart is a wish for everything to be up, and its end was nobody's wish."""
    fleet = arena(PAIR, start=False, stop={"graceful_timeout": DEADLINE})
    fleet.mode("router", "stubborn")
    fleet = up_detached(fleet)
    before, old = fleet.pids(), fleet.known_circusd()
    fleet.circusctl("restart")
    fleet.event("command", verb="restart")
    fleet.mode("router", "")
    fleet.strike(lambda: kill(old.pid))
    stopped = fleet.noticed("controller_stopped")["details"]
    assert stopped["orderly"] is False
    fleet.noticed("circusd_replaced")
    kill(before["router"])  # it has no reason to wait for the end of its grace period
    fleet.all_healthy()
    assert not set(before.values()) & set(fleet.pids().values())


@pytest.mark.fault("watcher", "a `down` was killed, and its mark is left; then `up -d`, and circusd killed")
def test_up_takes_the_mark_of_a_killed_down_away(arena: MakeArena) -> None:
    """Else nobody would replace a circusd any more, in silence."""
    fleet = up_detached(arena(PAIR, start=False))
    run_dir = fleet.config().fleet.run_dir
    kept.mark(run_dir)
    again = command(fleet, "up", "-d")
    assert again.returncode == 0, again.stdout + again.stderr
    assert not kept.marked(run_dir)
    old = fleet.known_circusd()
    fleet.strike(lambda: kill(old.pid))
    fleet.noticed("circusd_replaced")
    replaced(fleet, 2)


@pytest.mark.fault("watcher", "run directory removed, and circusd killed at once")
def test_a_circusd_is_replaced_also_where_its_directory_is_gone(arena: MakeArena) -> None:
    """It is made again by whoever starts the next one."""
    fleet = up_detached(arena(PAIR, start=False))
    old = fleet.known_circusd()

    def both() -> None:
        take_away(Path(fleet.config().fleet.run_dir))
        kill(old.pid)

    fleet.strike(both)
    fleet.noticed("circusd_replaced")
    replaced(fleet, 2)


@pytest.mark.fault("watcher", "`down` while the plugin is stopped (SIGSTOP): wishes end all the same")
def test_an_orderly_down_ends_wishes_whoever_is_there_to_hear_it(arena: MakeArena) -> None:
    """What an operator had stopped is up again after it."""
    fleet = up_detached(arena(PAIR, start=False))
    assert fleet.post("/api/autonomous/stop/router?wait=30").status_code == 200
    fleet.quiet()
    plugin = fleet.plugin()
    os.kill(plugin, signal.SIGSTOP)
    down = command(fleet, "down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert fleet.leftovers() == []
    up_detached(fleet)
