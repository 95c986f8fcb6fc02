"""The command line as its user has it: up, looked at, and down; one circusd a fleet, whoever starts it."""

import json
import subprocess
import sys

from aurora_circus import endpoints, lookup
from tests.e2e.conftest import Make
from tests.e2e.harness import DEADLINE, WINDOWS, Fleet, kill, seqs_are_whole, toml
from tests.free_ports import free_ports

CHAIN = {"brain": {"critical": True}, "router": {"depends_on": ["brain"]}, "left": {"depends_on": ["router"]}}


def run(made: Fleet, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in the fleet's directory."""
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "aurora_circus", *words],
        cwd=made.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        check=False,
    )


def test_up_status_and_down(fleet: Make) -> None:
    """Exit codes, words, one circusd for two `up`, and nothing left, whatever the directory is called."""
    made = fleet(CHAIN, folder="my fleet ü")
    (made.folder / "fleet.toml").write_text(toml(made.settings), encoding="utf-8")
    try:
        use(made)
    finally:
        run(made, "down")


def use(made: Fleet) -> None:
    """Do so; the journal says who ended it."""
    assert run(made, "status").returncode == 3
    up = run(made, "up", "-d")
    assert up.returncode == 0, up.stdout + up.stderr + made.told_by_logs()
    assert "3 of 3 systems healthy" in up.stdout
    circusd = lookup.find(made.config().fleet)
    assert circusd is not None
    again = run(made, "up", "-d")
    assert f"is running already (circusd, pid {circusd.pid})" in again.stdout
    status = json.loads(run(made, "status", "--json").stdout)
    assert {key: each["state"] for key, each in status.items()} == dict.fromkeys(CHAIN, "healthy")
    assert run(made, "restart", "left").returncode == 0
    down = run(made, "down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert [line.split()[-2] for line in down.stdout.splitlines() if line.endswith("stopped")] == [*reversed(CHAIN)]
    assert made.leftovers() == []
    assert run(made, "down").returncode == 3
    (ended,) = [each["details"]["by"] for each in made.events("command") if each["details"]["verb"] == "quit"]
    assert ended == ("cli" if WINDOWS else "signal")
    seqs_are_whole(made.journal())


def test_what_a_dead_circusd_left_is_taken_down_in_reverse(fleet: Make) -> None:
    """By `down` alone; each with all of its processes, and asked before it is ended by force."""
    made = fleet(CHAIN)
    made.mode("left", "child")
    running = made.start()
    plugin, circusd = running.plugin(), running.known_circusd()
    kill(circusd.pid)
    running.launch_waits_for(plugin)
    down = run(made, "down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert "There is no circusd any more" in down.stdout
    assert made.leftovers() == []


def test_a_second_circusd_of_a_fleet_leaves_the_first_alone(fleet: Make) -> None:
    """The pidfile, and on Windows the port, is the first one's."""
    running = fleet(CHAIN).start()
    before = running.pids()
    second = subprocess.run(
        [sys.executable, "-m", "circus.circusd", str(running.ini)],
        cwd=running.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert second.stdout + second.stderr
    if WINDOWS:  # one that was rendered with other ports: the lock is the first one's
        old = running.ini.read_text(encoding="utf-8")
        for port, other in zip(endpoints.chosen_ports(running.config().fleet) or (), free_ports(2), strict=True):
            old = old.replace(f":{port}", f":{other}")
        (running.folder / "old.ini").write_text(old, encoding="utf-8")
        line = [sys.executable, "-X", "utf8", "-m", "circus.circusd", "old.ini"]
        third = subprocess.run(
            line, cwd=running.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE, check=False
        )
        assert b"another circusd runs this fleet" in third.stdout + third.stderr
    assert running.circusctl("status", "brain").strip() == "active"
    assert running.pids() == before
    assert len(running.events("controller_started")) == 1
