"""Who keeps a circusd: what it does about a dead one and a stuck one, and when it does nothing. circusd is played."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aurora_circus import keeper, kept, launch, lookout, lookup, processes, settings
from aurora_circus.clock import Clock
from aurora_circus.facts import Process
from aurora_circus.kept import Kept
from aurora_circus.lookout import Adopted, Lookout, Program
from aurora_circus.settings import Fleet
from tests.journals import records
from tests.platforms import KILLED

OLD, FIRST_NEW = 70, 71


class Child:
    """A circusd: None for one that goes on, else how it has ended."""

    def __init__(self, pid: int, code: int | None) -> None:
        self.pid, self.returncode = pid, code

    def poll(self) -> int | None:
        """Say how it ended."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for nothing."""
        if self.returncode is None:
            raise subprocess.TimeoutExpired("circusd", timeout or 0.0)
        return self.returncode


@dataclass
class World:
    """What a keeper meets: circusds end with ``codes``, one after the other; the last code goes for all that follow."""

    fleet: Fleet
    codes: list[int | None]
    running: Process | None = None
    started: list[Kept] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    on_pause: Callable[[], object] = lambda: None

    def run(self, _fleet: Fleet, argv: object, folder: Path, variables: dict[str, str], _: object) -> Child:
        """Start one."""
        assert (argv, folder) == (("circusd",), Path("/here"))
        known = kept.loads(variables[kept.VARIABLE])
        assert known is not None
        self.started.append(known)
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        return Child(FIRST_NEW + len(self.started) - 1, code)

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.on_pause()

    def replace(self, lived: float = 100.0) -> int:
        """Replace the old one."""
        known = Kept(keeper=Process(1, 1.0), argv=("circusd",), folder="/here", fleet=settings.dumps(self.fleet))
        return Program(self.fleet, known, {"HOME": "/h"}).run(OLD, "gone", lived)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A fleet whose next circusd lives."""
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    made = World(Fleet(run_dir=str(tmp_path / "run"), log_dir=str(tmp_path / "logs")), [None])
    monkeypatch.setattr(launch, "run", made.run)
    monkeypatch.setattr(lookup, "find", lambda _: made.running)
    monkeypatch.setattr(lookup, "has_begun", lambda *_: Process(FIRST_NEW, 1.0))
    monkeypatch.setattr(lookout, "pause", made.pause)
    return made


def test_a_dead_one_is_replaced_and_its_successor_is_left_to_its_plugin(world: World) -> None:
    """At once; what it is told: whom it replaces and why, and that no `up` keeps it."""
    assert world.replace() == 0
    (known,) = world.started
    assert (known.old, known.why, known.attempt, known.keeper) == (OLD, "gone", 0, None)
    assert world.pauses == [0.0]


def test_one_that_dies_again_and_again_is_given_up_aloud(world: World) -> None:
    """After growing waits: in the journal, and by the exit code."""
    world.codes = [KILLED]
    assert world.replace() == 1
    assert world.pauses == list(keeper.DELAYS)
    assert [each.attempt for each in world.started] == list(range(len(keeper.DELAYS)))
    assert [each.old for each in world.started][:3] == [OLD, FIRST_NEW, FIRST_NEW + 1]
    (told,) = records(Path(world.fleet.log_dir) / "events.jsonl")
    assert told["event"] == "circusd_given_up"
    last = FIRST_NEW + len(keeper.DELAYS) - 1
    assert told["details"] == {"attempts": len(keeper.DELAYS), "pid": last, "why": "killed by SIGKILL"}


def test_nothing_is_started_against_an_end_that_was_wanted(world: World) -> None:
    """Whether that was said before, or while it waited."""
    kept.mark(world.fleet.run_dir)
    assert world.replace() == 0
    assert (world.started, world.pauses) == ([], [])
    kept.unmark(world.fleet.run_dir)
    world.on_pause = lambda: kept.mark(world.fleet.run_dir)
    assert world.replace() == 0
    assert world.started == []


def test_nothing_is_started_beside_one_that_somebody_else_has_started(world: World) -> None:
    """It is looked for under the lock."""
    world.running = Process(99, 1.0)
    assert world.replace() == 0
    assert world.started == []


class Stuck:
    """What a lookout sees: a circusd that answers so often, and then no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: int) -> None:
        self.answers, self.now = answers, 0.0
        self.ended: list[Process] = []
        monkeypatch.setattr(lookup, "ask_pid", self.ask)
        monkeypatch.setattr(processes, "alive", lambda each: each not in self.ended)
        monkeypatch.setattr(processes, "end", self.ended.append)
        monkeypatch.setattr(Clock, "monotonic", lambda _: self.now)

    def ask(self, _: object) -> int | None:
        """Answer, or let the time pass that one waits for an answer."""
        self.answers -= 1
        self.now += 0.0 if self.answers >= 0 else lookup.PING_PATIENCE
        return OLD if self.answers >= 0 else None


def look(fleet: Fleet) -> Lookout:
    """Look until there is nothing more to be seen."""
    found = Lookout(fleet, Process(OLD, 1.0), ask_every=0.0)
    found._run()
    return found


def test_a_stuck_one_is_ended_after_all_its_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It alone; the reason is there before its end is."""
    stuck = Stuck(monkeypatch, 3)
    found = look(world.fleet)
    assert stuck.ended == [Process(OLD, 1.0)]
    assert stuck.now == keeper.STUCK
    assert found.why == "it did not answer for 15 s"


def test_one_that_begins_has_more_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to end it."""
    stuck = Stuck(monkeypatch, 0)
    look(world.fleet)
    assert stuck.now == keeper.BEGINS


def test_one_that_is_being_taken_down_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers nothing while it waits for its systems."""
    stuck = Stuck(monkeypatch, 1)
    kept.mark(world.fleet.run_dir)
    assert look(world.fleet).why is None
    assert stuck.ended == []


def test_one_that_somebody_else_has_started_tells_its_end_and_not_how(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nobody's child here."""
    lives = [True, True, True, False]
    monkeypatch.setattr(processes, "alive", lambda _: lives.pop(0) if lives else False)
    monkeypatch.setattr(processes, "await_end", lambda *_: None)
    found = Adopted(Process(OLD, 1.0))
    assert found.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        found.wait(0.0)
    assert found.wait() == 0
    assert lookout.how(found) == "gone"
