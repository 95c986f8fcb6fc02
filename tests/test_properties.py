"""What must hold of the machines whatever happens, with policies tight enough for a slip of one to show."""

import math
from dataclasses import replace
from itertools import pairwise
from threading import Lock
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aurora_circus import facts
from aurora_circus.facts import Fact, State
from aurora_circus.fleet import Answer, Fleet, Verb
from aurora_circus.fleet_text import FleetText
from aurora_circus.lifecycle import WITH_PROCESS
from aurora_circus.memory import remember
from aurora_circus.settings import System
from tests.world import OK, REFUSED, SILENT, World, system

RETRY = 40.0
LONGEST = 70.0
"""Seconds within which the adapter answers a spawn, whatever comes of it."""
SYSTEMS = [
    system("brain", max_retries=1, critical=True, failure_threshold=1, stable_after=30.0, retry_failed_after=RETRY),
    system("router", max_retries=2, depends_on=("brain",), failure_threshold=1, retry_failed_after=RETRY),
    system("left", max_retries=0, depends_on=("router",), failure_threshold=2, retry_failed_after=0.0),
    system("right", max_retries=1, depends_on=("router",), gate="strict", failure_threshold=1, stable_after=5.0),
    system("plain", max_retries=1, autonomous=False, failure_threshold=1),
]
KEYS = [each.key for each in SYSTEMS]
key = st.sampled_from(KEYS)


def answered(result: object) -> Answer:
    """Return the actions in what a fleet's method returns, which may be beside something else, or none."""
    match result:
        case tuple((_, list(answer))) | list(answer):
            return [each for each in answer if not isinstance(each, str)]
        case _:
            return []


class Fleets(RuleBasedStateMachine):
    """Drives a fleet through everything that may happen, in any order, at any time."""

    def __init__(self) -> None:
        """Begin with a fresh fleet and nothing running."""
        super().__init__()
        self.now = 0.0
        self.world = World()
        self.fleet = Fleet(SYSTEMS, 0.0, heartbeat=30.0)
        self.calls: list[tuple[str, tuple[object, ...], Answer]] = []
        self.commands = 0
        self.failed: dict[str, bool] = {}
        self.saved = {each.system.key: remember(each) for each in self.fleet}
        self.text = FleetText(Lock(), lambda _: None)

    def apply(self, name: str, *arguments: object) -> Answer:
        """Call the fleet, note the call for the replay, and do what it says."""
        before = {each.system.key: each.state for each in self.fleet}
        commanded = {key for each in self.fleet.operations.values() for key in each.pending}
        answer = answered(getattr(self.fleet, name)(*arguments))
        self.calls.append((name, arguments, answer))
        self.world.take(self.now, answer)
        for each in self.fleet:
            if before[each.system.key] is State.FAILED and each.state is not State.FAILED:
                by_its_turn = each.system.key in commanded  # a restart of many, given earlier
                by_word_or_time = name in {"command", "outside", "tick", "drain"}
                assert by_its_turn or by_word_or_time, f"failed was left by {arguments}"
        return answer

    def tell(self, fact: Fact) -> None:
        """Tell one fact."""
        self.apply("handle", fact)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 1.0, 7.0, 16.0, 61.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        """Time goes on, stopping at each deadline on the way."""
        until = self.now + seconds
        for _ in range(10_000):
            due = self.fleet.deadline()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            for each in [each for each in self.world.spawning if self.world.spawns[each][-1] <= self.now - LONGEST]:
                self.world.spawning.discard(each)
                self.tell(facts.SpawnFailed(self.now, each, "circusd had no time", busy=True))
            self.apply("tick", self.now)
        else:
            message = "a deadline that does not move"
            raise AssertionError(message)
        self.now = until

    @rule(verb=st.sampled_from(["start", "stop", "restart"]), keys=st.sets(key, min_size=1))
    def operator(self, verb: Verb, keys: set[str]) -> None:
        """Somebody commands some of them, or all."""
        self.commands += 1
        self.apply("command", self.now, f"op{self.commands}", verb, sorted(keys), "api")

    @rule(key=key, verb=st.sampled_from(["start", "stop", "restart"]))
    def circusctl(self, key: str, verb: Verb) -> None:
        """Circusd carries a command out itself."""
        self.apply("outside", self.now, verb, [key], "circusctl")

    @rule(gate=st.sampled_from(["strict", "bounded"]), port=st.sampled_from([7001, 7002]))
    def settings_change(self, gate: Literal["strict", "bounded"], port: int) -> None:
        """Somebody changes how one waits, and another is on another port."""
        self.apply("move", "left", port)
        systems = [each.system for each in self.fleet]
        router = [replace(each, gate=gate) if each.key == "router" else each for each in systems]
        self.apply("update", self.now, router)

    @precondition(lambda self: self.world.spawning)
    @rule(data=st.data(), how=st.sampled_from(["spawned", "spawned", "failed", "busy"]))
    def circusd_answers(self, data: st.DataObject, how: str) -> None:
        """A spawn is answered."""
        each = data.draw(st.sampled_from(sorted(self.world.spawning)))
        if how == "spawned":
            self.tell(self.world.spawned(each, self.now))
        else:
            self.world.spawning.discard(each)
            self.tell(facts.SpawnFailed(self.now, each, "no such file", busy=how == "busy"))

    @precondition(lambda self: self.world.looks)
    @rule(data=st.data(), outcome=st.sampled_from([OK, OK, REFUSED, SILENT]))
    def probe_ends(self, data: st.DataObject, outcome: facts.Outcome) -> None:
        """A probe that was asked for comes to its end."""
        each = data.draw(st.sampled_from(sorted(self.world.looks)))
        self.tell(facts.Probed(self.now, each, self.world.looks.pop(each), outcome))

    @precondition(lambda self: self.world.running)
    @rule(data=st.data())
    def dies(self, data: st.DataObject) -> None:
        """A process ends, for whatever reason."""
        self.tell(self.world.died(data.draw(st.sampled_from(sorted(self.world.running))), self.now))

    @precondition(lambda self: self.world.dead)
    @rule(data=st.data())
    def gone(self, data: st.DataObject) -> None:
        """Nothing is left of a group."""
        self.tell(self.world.gone(data.draw(st.sampled_from(sorted(self.world.dead))), self.now))

    @rule(key=key)
    def stray(self, key: str) -> None:
        """A late fact about a process that is nobody's any more."""
        self.tell(facts.Exited(self.now, key, facts.Process(1, 1.0), facts.Exit(code=0)))
        self.tell(facts.Probed(self.now, key, facts.Process(1, 1.0), OK))

    @invariant()
    def what_was_written_down_of_the_status_is_still_true(self) -> None:
        """Whatever has changed of a system, its text is made anew."""
        anew = FleetText(Lock(), lambda _: None)
        assert self.text.at(self.fleet, self.now, 1e9) == anew.at(self.fleet, self.now, 1e9)

    @invariant()
    def every_state_but_stopped_has_an_end(self) -> None:
        """A finite deadline, or somebody else who has one, in every state that is not final."""
        for each in self.fleet:
            ends = each.deadline()
            if each.state is State.STOPPED:
                assert ends is None
            elif each.state is State.WAITING:
                self._waits_for_something(each.system)
            elif each.state is State.FAILED:
                never = not each.system.restart.retry_failed_after or not each.system.autonomous
                assert (ends is None) == never
            else:
                assert ends is not None
                assert math.isfinite(ends)

    def _waits_for_something(self, waiting: System) -> None:
        blockers = [self.fleet.lives[each] for each in waiting.depends_on]
        opens = self.fleet.gate_opens(self.fleet.lives[waiting.key])
        pending = any(not each.finished for each in self.fleet.operations.values())
        up = any(each.state is not State.HEALTHY for each in blockers)
        assert opens is not None or pending or up

    @invariant()
    def attempts_stay_within_the_budget(self) -> None:
        """No system has used more attempts than it has."""
        for each in self.fleet:
            assert each.attempt <= each.system.max_attempts

    @invariant()
    def a_healthy_system_has_its_process(self) -> None:
        """Healthy is said of a running process only."""
        for each in self.fleet:
            if each.state is State.HEALTHY:
                assert each.process is not None
            if each.state not in WITH_PROCESS and each.state is not State.WAITING:
                assert each.process is None

    @invariant()
    def the_deadline_is_the_first_of_all(self) -> None:
        """Whoever keeps book of them one by one forgets none."""
        times = [each.deadline() for each in self.fleet]
        times += [self.fleet.gate_opens(each) for each in self.fleet if each.state is State.WAITING]
        times.append(self.fleet._beat_at)
        assert self.fleet.deadline() == min(each for each in times if each is not None)

    @invariant()
    def whoever_may_be_probed_early_is_in_the_book(self) -> None:
        """The same of those who may be looked at with others: each, and nobody who waits for an answer or an end."""
        times = {key: life.early_at for key, life in self.fleet.lives.items() if life.early_at is not None}
        assert self.fleet._early._times == times
        for key, at in times.items():
            assert self.fleet.lives[key].process is not None
            due = self.fleet.lives[key]._probe_at
            assert due is not None
            assert at < due

    @invariant()
    def nothing_that_follows_is_left_undone(self) -> None:
        """Whoever looks for it only where something has moved overlooks nothing, unless it is due anyway."""
        due = self.fleet.deadline()
        if due is not None and due > self.now:
            self.fleet._moved = True
            assert self.fleet._follow(self.now) == []

    @invariant()
    def who_has_something_new_to_remember_was_touched(self) -> None:
        """What is saved of the touched alone is what everybody is to be remembered by."""
        self.saved |= {key: remember(self.fleet.lives[key]) for key in self.fleet.touched}
        self.fleet.touched.clear()
        assert self.saved == {each.system.key: remember(each) for each in self.fleet}

    def teardown(self) -> None:
        """Played again, the same calls give the same answers."""
        again = Fleet(SYSTEMS, 0.0, heartbeat=30.0)
        for name, arguments, answer in self.calls:
            assert answered(getattr(again, name)(*arguments)) == answer


TestFleets = Fleets.TestCase
TestFleets.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)


class Crashing(RuleBasedStateMachine):
    """One system that is never told anything by anybody: its starts in any window stay within the policy's budget."""

    def __init__(self) -> None:
        """Begin healthy at 0."""
        super().__init__()
        self.now = 0.0
        self.system = system("web", max_retries=2, failure_threshold=1, stable_after=20.0, retry_failed_after=RETRY)
        self.world = World()
        self.fleet = Fleet([self.system], 0.0)
        self.take(self.fleet.command(0.0, "op", "start", ["web"], "api")[1])
        self.healthy_since: float | None = None

    def take(self, answer: Answer) -> None:
        """Answer every spawn at once; end what is to be ended at once."""
        self.world.take(self.now, answer)
        if "web" in self.world.spawning:
            self.take(self.fleet.handle(self.world.spawned("web", self.now)))
        for each in answer:
            if isinstance(each, facts.Terminate) and "web" in self.world.running:
                self.dies()

    @rule(seconds=st.floats(0.0, 30.0))
    def time_passes(self, seconds: float) -> None:
        """Time goes on; what is probed does not answer unless told to."""
        until = self.now + seconds
        while (due := self.fleet.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.take(self.fleet.tick(self.now))
            self.world.looks.clear()
        self.now = until

    @precondition(lambda self: "web" in self.world.running)
    @rule()
    def dies(self) -> None:
        """It crashes."""
        self.take(self.fleet.handle(self.world.died("web", self.now)))
        if "web" in self.world.dead:
            self.take(self.fleet.handle(self.world.gone("web", self.now)))

    @precondition(lambda self: "web" in self.world.running)
    @rule()
    def answers(self) -> None:
        """A probe is answered well."""
        self.take(self.fleet.handle(facts.Probed(self.now, "web", self.world.running["web"], OK)))

    @invariant()
    def starts_stay_within_the_budget(self) -> None:
        """In a window shorter than stable_after and the retry: the first start and max_retries, no more."""
        spawns = self.world.spawns.get("web", [])
        for index, first in enumerate(spawns):
            window = [each for each in spawns[index:] if each < first + 20.0]
            assert len(window) <= 1 + self.system.max_attempts
        assert all(a <= b for a, b in pairwise(spawns))


TestCrashing = Crashing.TestCase
TestCrashing.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
