"""What is left of a fleet: whose it is, and how it is ended."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from aurora_circus import leftovers, processes, settings
from aurora_circus.clock import Clock
from aurora_circus.facts import Process
from aurora_circus.marks import Mark
from tests.fake_fleet import fleet, write_state

RUN_DIR = "/run/fleet"


def memory(process: Any) -> Mapping[str, Any]:
    """Return what is saved of a system with that process."""
    return {"state": "healthy", "process": process}


def test_leaders_are_known_by_pid_and_start(tmp_path: Path) -> None:
    """What cannot be one is passed over."""
    around = fleet(tmp_path)
    assert leftovers.known(around.fleet) == {}
    write_state(
        around,
        {
            "a": memory([7, 3.0]),
            "b": memory([8, 3]),
            "c": memory(None),
            "d": memory([1, 1.0]),
            "e": memory(["x", 1.0]),
            "f": 3,
        },
    )
    assert leftovers.known(around.fleet) == {"a": Process(7, 3.0), "b": Process(8, 3.0)}


@pytest.mark.parametrize("boot", [processes.boot() or "this one", ""])
def test_what_was_saved_before_this_boot_says_nothing(
    tmp_path: Path, boot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers are others' by now, and would be ended in their place; unless starts are told by a calendar."""
    monkeypatch.setattr(processes, "boot", lambda: boot)
    around = fleet(tmp_path)
    path = write_state(around, {"a": memory([7, 3.0])})
    os.utime(path, (0, psutil.boot_time() - 10))
    assert leftovers.known(around.fleet) == ({} if boot else {"a": Process(7, 3.0)})


def test_the_state_may_be_forgotten_twice(tmp_path: Path) -> None:
    """It is gone then."""
    around = fleet(tmp_path)
    path = write_state(around, {})
    leftovers.forget_state(around.fleet)
    leftovers.forget_state(around.fleet)
    assert not path.exists()


class World(Clock):
    """Groups that end when they are told to, or only by force, or never; time passes in pauses."""

    def __init__(self, **stubborn: str | None) -> None:
        """``stubborn``: leader → the signal that ends it."""
        self.now = 0.0
        self.needs = stubborn
        self.leaders = {key: Process(number, 1.0) for number, key in enumerate(stubborn, 100)}
        self.alive = {each.pid: key for key, each in self.leaders.items()}
        self.sent: list[tuple[str, str]] = []

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now

    def pause(self, seconds: float) -> None:
        """Let it pass."""
        self.now += seconds

    def members(self, leader: Process, mark: Mark, _moment: int | None = None) -> list[Process]:
        """Return the leader, while it lives."""
        assert mark == (RUN_DIR, next(key for key, each in self.leaders.items() if each == leader))
        return [leader] if leader.pid in self.alive else []

    def terminate(self, leader: Process, _mark: Mark) -> bool:
        """Ask it."""
        return self._send(leader, "SIGTERM")

    def kill(self, leader: Process, _mark: Mark) -> bool:
        """End it."""
        return self._send(leader, "SIGKILL")

    def _send(self, leader: Process, number: str) -> bool:
        key = self.alive[leader.pid]
        self.sent.append((key, number))
        if self.needs[key] == number:
            del self.alive[leader.pid]
        return True


def end(
    world: World, monkeypatch: pytest.MonkeyPatch, **graces: float
) -> tuple[list[str], list[tuple[str, float, bool]]]:
    """End all of a world, ``b`` first."""
    monkeypatch.setattr(processes, "left", world.members)
    monkeypatch.setattr(processes, "terminate_all", world.terminate)
    monkeypatch.setattr(processes, "kill_all", world.kill)
    monkeypatch.setattr(leftovers, "pause", world.pause)
    gone: list[tuple[str, float, bool]] = []
    left = leftovers.end(RUN_DIR, world.leaders, ["b"], graces, lambda *how: gone.append(how), world)
    return left, gone


def test_everybody_is_asked_in_order_and_has_the_grace_period_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ignores SIGTERM holds nobody else up."""
    world = World(a="SIGTERM", b="SIGKILL")
    left, gone = end(world, monkeypatch, a=5.0, b=2.0)
    assert not left
    assert world.sent == [("b", "SIGTERM"), ("a", "SIGTERM"), ("b", "SIGKILL")]
    assert [(key, forced) for key, _, forced in gone] == [("a", False), ("b", True)]
    assert gone[0][1] == 0.0
    assert gone[1][1] == pytest.approx(2.0, abs=0.05)


def test_what_stays_even_so_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is an end to waiting; a system of which no grace period is known has none."""
    world = World(a=None)
    left, gone = end(world, monkeypatch)
    assert left == ["a"]
    assert not gone
    assert world.now == pytest.approx(leftovers.KILL_PATIENCE, abs=0.05)


def test_who_lives_is_told_by_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems of which nobody does are left out; of some, nothing but their marks tells."""
    world = World(a="SIGTERM", b="SIGTERM")
    unknown = {"b": [Process(102, 2.0)], "c": [Process(103, 1.0)]}
    monkeypatch.setattr(processes, "everybody", world.members)
    monkeypatch.setattr(
        processes, "left_of", lambda run_dir, keys, _: unknown if (run_dir, *keys) == (RUN_DIR, "c") else {}
    )
    del world.alive[100]
    around = settings.Fleet(run_dir=RUN_DIR, systems=("c",))
    assert leftovers.surviving(around, world.leaders) == {"b": [Process(101, 1.0)], "c": [Process(103, 1.0)]}
