"""The gate, the order of commands, and what becomes of each, scenario by scenario."""

import pytest

from aurora_circus import facts
from aurora_circus.facts import Kill, Process, Record, Spawn, State, Terminate
from aurora_circus.fleet import TOGETHER, Answer, Fleet, Memory, Settled
from aurora_circus.lifecycle import CROWD, EARLY, STARTING_LOOKS
from aurora_circus.settings import System
from tests.world import OK, SILENT, World, actions, details, events, system

CHAIN = [
    system("brain", critical=True),
    system("router", critical=True, depends_on=("brain",)),
    system("left", depends_on=("router",)),
    system("right", depends_on=("router",)),
]
ALL = [each.key for each in CHAIN]


class Played:
    """A fleet in a world where every spawn is answered at once; health and death are said by the test."""

    def __init__(self, *systems: System) -> None:
        """Begin with everything stopped at 0."""
        self.now = 0.0
        self.world = World()
        self.fleet = Fleet(systems or CHAIN, 0.0)
        self.written: Answer = []

    def take(self, answer: Answer) -> Answer:
        """Do what was answered; what follows from that is part of it."""
        self.world.take(self.now, answer)
        self.written += answer
        for key in sorted(self.world.spawning):
            answer = [*answer, *self.take(self.fleet.handle(self.world.spawned(key, self.now)))]
        return answer

    def say(self, verb: str, *keys: str, ident: str = "op") -> Answer:
        """Give a command."""
        return self.take(self.fleet.command(self.now, ident, verb, keys or ALL, "api")[1])  # type: ignore[arg-type]

    def probe(self, key: str, outcome: facts.Outcome = OK) -> Answer:
        """Let a probe come to its end."""
        return self.take(self.fleet.handle(facts.Probed(self.now, key, self.world.running[key], outcome)))

    def end(self, key: str) -> Answer:
        """Let a process and its group be gone."""
        answer = self.take(self.fleet.handle(self.world.died(key, self.now)))
        return [*answer, *self.take(self.fleet.handle(self.world.gone(key, self.now)))]

    def at(self, now: float) -> Answer:
        """Let time go on to ``now``."""
        self.now = now
        return self.take(self.fleet.tick(now))

    def states(self) -> dict[str, str]:
        """Return everybody's state."""
        return {key: str(life.state) for key, life in self.fleet.lives.items()}

    def up(self) -> "Played":
        """Bring the whole fleet up."""
        self.say("start", ident="up")
        for key in ALL:
            self.probe(key)
        assert set(self.states().values()) == {"healthy"}
        return self


def spawned(answer: Answer) -> list[str]:
    """Return who was started."""
    return [each.key for each in answer if isinstance(each, Spawn)]


def terminated(answer: Answer) -> list[str]:
    """Return who was signalled."""
    return [each.key for each in answer if isinstance(each, Terminate)]


def test_the_fleet_starts_in_dependency_order_and_what_is_independent_together() -> None:
    """The brain; when it is healthy the router; when that is healthy the other two at once."""
    fleet = Played()
    assert spawned(fleet.say("start")) == ["brain"]
    assert spawned(fleet.probe("brain")) == ["router"]
    assert spawned(fleet.probe("router")) == ["left", "right"]


def test_the_gate_opens_when_a_dependency_has_failed() -> None:
    """failed is an end: the others go ahead, and the journal names who was missing."""
    fleet = Played(system("brain", max_retries=0), system("router", depends_on=("brain",)))
    fleet.say("start", "brain", "router")
    answer = fleet.end("brain")
    assert spawned(answer) == ["router"]
    starting = [each for each in answer if isinstance(each, Record) and each.event == "server_starting"]
    assert starting[0].details["missing"] == ["brain"]


def test_the_gate_opens_after_one_start_timeout_of_the_dependency() -> None:
    """However often the dependency crashes meanwhile, the bound counts from its first spawn."""
    fleet = Played(system("brain", start_timeout=15.0), system("router", depends_on=("brain",)))
    fleet.say("start", "brain", "router")
    fleet.now = 5.0
    fleet.end("brain")
    assert fleet.fleet.deadline() is not None
    fleet.at(14.9)
    assert fleet.states()["router"] == "waiting"
    fleet.at(15.0)
    assert fleet.states()["router"] == "starting"


def test_a_strict_gate_waits_for_health_alone() -> None:
    """Neither failed nor time opens it."""
    fleet = Played(system("brain", max_retries=0), system("router", depends_on=("brain",), gate="strict"))
    fleet.say("start", "brain", "router")
    fleet.end("brain")
    fleet.at(299.0)
    assert fleet.states() == {"brain": "failed", "router": "waiting"}
    fleet.say("start", "brain")
    assert spawned(fleet.probe("brain")) == ["router"]


def test_a_dependency_that_is_wanted_down_is_not_waited_for() -> None:
    """Its operator has said so; the journal names it all the same."""
    fleet = Played()
    assert spawned(fleet.say("start", "left")) == ["left"]
    assert details(fleet.written, "server_starting")["missing"] == ["router"]


def test_a_dependency_that_goes_down_takes_nobody_with_it_and_its_restart_waits_for_nobody() -> None:
    """The brain's crash leaves the others healthy, and it is back without a gate."""
    fleet = Played().up()
    assert spawned(fleet.end("brain")) == ["brain"]
    assert fleet.states() == {"brain": "starting", "router": "healthy", "left": "healthy", "right": "healthy"}
    assert spawned(fleet.end("left")) == ["left"]


def test_stop_all_goes_in_reverse_order_and_each_level_at_once() -> None:
    """Leaves first, together; the router when both are gone; the brain last."""
    fleet = Played().up()
    assert sorted(terminated(fleet.say("stop"))) == ["left", "right"]
    assert terminated(fleet.end("left")) == []
    assert terminated(fleet.end("right")) == ["router"]
    assert terminated(fleet.end("router")) == ["brain"]
    assert Settled("op") in fleet.end("brain")
    assert set(fleet.states().values()) == {"stopped"}


def test_restart_all_stops_in_reverse_and_starts_in_order() -> None:
    """Nobody is started again before everything it depends on has been stopped and is healthy again."""
    fleet = Played().up()
    fleet.say("restart")
    order = [key for each in ("left", "right", "router", "brain") for key in spawned(fleet.end(each))]
    assert order == ["brain"]
    assert spawned(fleet.probe("brain")) == ["router"]
    assert spawned(fleet.probe("router")) == ["left", "right"]
    fleet.probe("left")
    assert Settled("op") in fleet.probe("right")
    assert fleet.fleet.operations["op"].state == "succeeded"


def test_a_later_command_supersedes_the_earlier_one_and_says_so() -> None:
    """The first operation ends as superseded, by name."""
    fleet = Played().up()
    fleet.say("restart", "left", ident="one")
    assert Settled("one") in fleet.say("stop", "left", ident="two")
    one = fleet.fleet.operations["one"]
    assert (one.state, one.error) == ("superseded", "superseded by operation two")
    fleet.end("left")
    assert fleet.fleet.operations["two"].state == "succeeded"


def test_a_start_that_ends_in_failed_is_a_failed_operation_with_the_reason() -> None:
    """Settled means healthy, stopped or failed."""
    fleet = Played(system("web", max_retries=0))
    fleet.say("start", "web")
    assert Settled("op") in fleet.end("web")
    operation = fleet.fleet.operations["op"]
    assert (operation.state, operation.error) == ("failed", "web: exited with code 1: boom")


def test_a_start_of_the_healthy_has_nothing_to_do() -> None:
    """nothing_to_do: and a restart always has."""
    fleet = Played().up()
    assert fleet.fleet.nothing_to_do("start", ALL)
    assert not fleet.fleet.nothing_to_do("restart", ["left"])
    assert not fleet.fleet.nothing_to_do("stop", ["left"])


def test_a_crash_loop_changes_nothing_for_the_others() -> None:
    """One that fails for ever costs the others neither a probe nor a deadline."""
    fleet = Played().up()
    before = [fleet.fleet.lives[key].deadline() for key in ("brain", "router", "right")]
    for _ in range(3):
        fleet.end("left")
        if fleet.states()["left"] == "backoff":
            due = fleet.fleet.lives["left"].due
            assert due is not None
            fleet.take(fleet.fleet.handle(facts.Tick(due, "left")))
    assert [fleet.fleet.lives[key].deadline() for key in ("brain", "router", "right")] == before


def test_a_critical_system_that_waits_ends_an_outside_stop_by_force() -> None:
    """circusctl stop of a stubborn one holds circusd's lock: when a critical one needs it, SIGKILL at once."""
    fleet = Played().up()
    fleet.now = 1.0
    fleet.take(fleet.fleet.outside(1.0, "stop", ["left"], "circusctl"))
    assert actions(fleet.fleet.blocked(2.0, "right")) == []
    assert actions(fleet.fleet.blocked(2.0, "brain")) == [Kill("left", fleet.world.running["left"])]


def test_a_drain_starts_nobody_and_everybody_is_stopped_when_gone() -> None:
    """circusd's own shutdown: no action of ours."""
    fleet = Played().up()
    assert actions(fleet.take(fleet.fleet.drain(1.0))) == []
    for key in reversed(ALL):
        assert spawned(fleet.end(key)) == []
    assert set(fleet.states().values()) == {"stopped"}


def test_what_was_known_goes_on_after_everything_died() -> None:
    """Stopped stays stopped, failed stays failed with its time, a backoff goes on, the rest waits for its turn."""
    fleet = Fleet(CHAIN, 100.0)
    fleet.remember(
        {
            "brain": Memory(state=State.HEALTHY, process=Process(7, 1.0)),
            "router": Memory(state=State.BACKOFF, attempt=2, due=103.0, error="boom"),
            "left": Memory(wanted=False),
            "right": Memory(state=State.FAILED, attempt=3, due=200.0, error="boom"),
        },
        100.0,
    )
    assert {key: str(life.state) for key, life in fleet.lives.items()} == {
        "brain": "waiting",
        "router": "backoff",
        "left": "stopped",
        "right": "failed",
    }
    router = fleet.lives["router"]
    assert (router.attempt, router.due, router.error) == (2, 103.0, "boom")
    assert fleet.lives["right"].due == 200.0
    assert spawned(fleet.tick(100.0)) == ["brain"]


def test_the_heartbeat_records_everybodys_health() -> None:
    """A health_check for each system at least every heartbeat, whatever its state."""
    fleet = Fleet(CHAIN, 0.0, heartbeat=30.0)
    assert fleet.deadline() == 30.0
    assert events(fleet.tick(30.0)) == ["health_check"] * len(CHAIN)
    assert fleet.deadline() == 60.0


def test_changed_settings_are_taken_up_and_the_gone_forgotten() -> None:
    """update: the same life goes on under new settings; new keys are named."""
    fleet = Played().up()
    process = fleet.fleet.lives["brain"].process
    new = fleet.fleet.update(1.0, [system("brain", failure_threshold=9), system("extra")])
    assert new == ["extra"]
    assert list(fleet.fleet.lives) == ["brain", "extra"]
    assert fleet.fleet.lives["brain"].process == process
    assert fleet.fleet.lives["brain"].system.probe.failure_threshold == 9


def test_the_oldest_finished_operations_are_forgotten() -> None:
    """prune keeps what is under way and the newest of the rest."""
    fleet = Played().up()
    for number in range(5):
        fleet.say("start", "left", ident=f"op{number}")
    fleet.fleet.prune(2)
    assert list(fleet.fleet.operations) == ["op3", "op4"]


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_every_command_is_journaled_with_its_sender(verb: str) -> None:
    """command: who, what, on whom, as which operation."""
    fleet = Played().up()
    written = details(fleet.say(verb, "left"), "command")
    assert written == {"verb": verb, "by": "api", "servers": ["left"], "operation": "op"}


def test_an_unhealthy_system_is_brought_down_without_its_neighbours() -> None:
    """Terminate goes to the one that hangs."""
    fleet = Played().up()
    fleet.probe("left", SILENT)
    assert terminated(fleet.probe("left", SILENT)) == ["left"]


def crowd(number: int) -> Played:
    """So many that have been started at 0 and have a process each."""
    fleet = Played(*(system(f"s{each}", port=6000 + each) for each in range(number)))
    fleet.say("start", *fleet.fleet.lives)
    fleet.at(0.01)
    return fleet


@pytest.mark.parametrize(
    ("number", "pause"),
    [(1, 0.01), (CROWD, 0.01), (2 * CROWD, 0.02), (100 * CROWD, STARTING_LOOKS[1])],
)
def test_many_that_start_together_are_each_looked_at_less_often(number: int, pause: float) -> None:
    """All looks together are as many as those of a few, but never further apart than the longest pause."""
    fleet = crowd(number)
    fleet.probe("s0", SILENT)
    assert fleet.fleet.lives["s0"].deadline() == pytest.approx(fleet.now + pause)


def test_those_that_are_up_are_no_crowd_to_one_that_starts() -> None:
    """Who comes back alone is looked at as if there were nobody else."""
    fleet = crowd(50)
    for key in list(fleet.fleet.lives)[1:]:
        fleet.probe(key)
    fleet.probe("s0", SILENT)
    assert fleet.fleet.lives["s0"].deadline() == pytest.approx(fleet.now + STARTING_LOOKS[0])


def healthy_at(*times: float, **changes: object) -> Played:
    """Return a fleet of which each is healthy at one of ``times``, and to be probed again 10 s later."""
    played = Played(*(system(f"s{number}", interval=10.0, **changes) for number in range(len(times))))
    played.say("start", *played.fleet.lives)
    for number, at in enumerate(times):
        played.now = at
        played.probe(f"s{number}")
    return played


def looked_at(answer: Answer) -> list[str]:
    """Return who is probed."""
    return [each.key for each in actions(answer)]


def test_who_is_to_be_probed_soon_is_probed_with_who_is_due() -> None:
    """To wake up for one costs what two probes cost: a tenth of the interval is given away for that, and no more."""
    played = healthy_at(1.0, 1.9, 2.1)
    assert played.fleet.deadline() == 11.0
    assert played.at(11.0 - 10.0 * EARLY - 0.1) == []
    assert looked_at(played.at(11.0)) == ["s0", "s1"]
    played.now = 11.1
    played.probe("s0")
    played.probe("s1")
    assert played.fleet.deadline() == 12.1
    assert looked_at(played.at(12.1)) == ["s2"]


def test_nobody_is_due_and_who_may_be_probed_early_is() -> None:
    """Whoever is awake anyway asks; from then on the two keep together."""
    played = healthy_at(1.0)
    assert looked_at(played.at(10.5)) == ["s0"]
    assert played.at(11.0) == []


def test_few_are_probed_early_at_once_and_all_who_are_due() -> None:
    """A crowd of probes would hold up everything else."""
    played = healthy_at(*[1.0 + number / 100 for number in range(TOGETHER + 5)])
    assert looked_at(played.at(11.0)) == [f"s{number}" for number in range(TOGETHER)]
    played = healthy_at(*[1.0] * (TOGETHER + 5))
    assert len(looked_at(played.at(11.0))) == TOGETHER + 5


def test_a_second_look_is_not_made_early() -> None:
    """It is to come some time after the first: what was wrong may be over."""
    played = healthy_at(1.0, failure_threshold=2)
    played.at(11.0)
    played.probe("s0", SILENT)
    due = played.fleet.deadline()
    assert due is not None
    assert played.at(due - 0.01) == []
    assert looked_at(played.at(due)) == ["s0"]
