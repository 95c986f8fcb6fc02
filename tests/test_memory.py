"""What survives: as JSON values and back."""

import json

from aurora_circus import facts, memory
from aurora_circus.facts import Process, State
from aurora_circus.fleet import Fleet, Memory
from tests.world import system

SHIFT = 1_000_000.0


def test_what_was_remembered_comes_back_through_json() -> None:
    """Times become times of day on the disk and monotonic ones again."""
    known = {
        "web": Memory(state=State.BACKOFF, attempt=2, due=105.5, error="boom", process=Process(7, 3.0), port=80),
        "left": Memory(wanted=False),
    }
    frozen = memory.freeze(known, SHIFT)
    assert frozen["web"]["due"] == 1_000_105.5
    assert memory.thaw(json.loads(json.dumps(frozen)), SHIFT) == (known, [])


def test_what_makes_no_sense_is_named_and_costs_nobody_else() -> None:
    """A state file of another version, or one that somebody has edited."""
    frozen = {
        "odd": {"colour": "red"},
        "worse": 5,
        "bad": {"state": "merry"},
        "many": {"attempt": "many"},
        "endless": {"process": [float("inf"), 1.0]},
        "web": {"wanted": False},
    }
    known, faults = memory.thaw(frozen, SHIFT)
    assert known == {"web": Memory(wanted=False)}
    assert [fault.split()[4] for fault in faults] == ["odd", "worse", "bad", "many", "endless"]
    assert memory.thaw([1], SHIFT) == ({}, [])


def test_deadlines_are_kept_of_what_waits_for_one() -> None:
    """The deadlines of a running process are its own affair."""
    fleet = Fleet([system("web")], 0.0)
    fleet.command(0.0, "op", "start", ["web"], "api")
    assert memory.remember(fleet.lives["web"]) == Memory(state=State.STARTING, port=5000)
    fleet.handle(facts.SpawnFailed(1.0, "web", "no", busy=True))
    assert memory.remember(fleet.lives["web"]).due == 2.0
