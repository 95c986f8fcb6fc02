"""The edges of the fleet: gates and their bounds, commands that cross, what is outside, what is remembered."""

import pytest

from aurora_circus import facts
from aurora_circus.facts import Kill, Process, Record, State, Terminate
from aurora_circus.fleet import Fleet, Memory, Settled
from tests.test_fleet import ALL, CHAIN, Played, spawned, terminated
from tests.world import OK, actions, details, events, system

PAIR = (system("brain", start_timeout=15.0), system("router", depends_on=("brain",), start_timeout=4.0))
"""The bound of the router's gate is the brain's start_timeout, not its own."""


def pair() -> Played:
    """Return both of PAIR, commanded to start at 0: the brain is starting, the router waits."""
    fleet = Played(*PAIR)
    fleet.say("start", "brain", "router")
    assert fleet.states() == {"brain": "starting", "router": "waiting"}
    return fleet


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_the_fleets_deadline_is_that_of_a_gate_where_nothing_comes_before() -> None:
    """A gate opens by itself: somebody has to come and look, though the brain has a later time than that."""
    fleet = pair()
    fleet.now = 5.0
    fleet.end("brain")
    assert fleet.fleet.gate_opens(fleet.fleet.lives["router"]) == 15.0
    brain = fleet.fleet.lives["brain"]
    brain.due = brain._probe_at = None
    brain.touched(brain)
    assert fleet.fleet.deadline() == 15.0


def test_a_gate_opens_at_its_bound_or_at_once_where_that_is_long_past() -> None:
    """Nobody waits for what had its time before; and never from before one began to wait."""
    fleet = pair()
    fleet.fleet.outside(0.0, "stop", ["router"], "circusctl")
    fleet.now = 100.0
    fleet.fleet.lives["brain"].due = None
    fleet.fleet.lives["router"].handle(facts.Start(100.0, "router"))
    assert fleet.fleet.gate_opens(fleet.fleet.lives["router"]) == 100.0
    assert spawned(fleet.at(100.0)) == ["router"]


def test_a_gate_waits_for_what_is_being_stopped_and_is_wanted_up_again() -> None:
    """Its time counts from its next spawn: the old process is no reason to go ahead."""
    fleet = pair()
    fleet.fleet.outside(0.0, "stop", ["router"], "circusctl")
    fleet.probe("brain")
    fleet.now = 100.0
    fleet.take(fleet.fleet.outside(100.0, "restart", ["brain"], "circusctl", external=False))
    brain = fleet.fleet.lives["brain"]
    brain.began = 0.0
    fleet.say("start", "router")
    assert fleet.states() == {"brain": "stopping", "router": "waiting"}
    assert fleet.fleet.gate_opens(fleet.fleet.lives["router"]) is None


def test_a_dependency_that_is_not_in_the_fleet_is_neither_waited_for_nor_named() -> None:
    """circusd may have dropped it."""
    fleet = Played(system("router", depends_on=("ghost",)))
    answer = fleet.say("start", "router")
    assert "missing" not in details(answer, "server_starting")
    fleet = Played(system("router", depends_on=("ghost", "brain")), system("brain"))
    fleet.say("start", "brain", "router")
    assert fleet.fleet.waits_for("router") == ["brain"]


def test_only_what_waits_waits_for_somebody() -> None:
    """Whoever is past the gate names nobody; whoever stands there names those that are not healthy."""
    fleet = pair()
    assert fleet.fleet.waits_for("router") == ["brain"]
    fleet.at(15.0)
    assert fleet.states()["router"] == "starting"
    assert fleet.fleet.waits_for("router") == []


def test_a_drain_opens_no_gate() -> None:
    """Whatever is told of it later, nothing starts in a fleet that goes down."""
    fleet = Played(*PAIR)
    fleet.take(fleet.fleet.drain(1.0))
    assert fleet.fleet.draining
    assert spawned(fleet.say("start", "brain", "router")) == []
    assert fleet.states() == {"brain": "waiting", "router": "waiting"}


# --- time -------------------------------------------------------------------------------------------------------------


def test_the_heartbeat_counts_from_the_beginning_and_from_the_last_one() -> None:
    """A late beat moves the next; none is made up for."""
    fleet = Fleet(CHAIN, 100.0, heartbeat=30.0)
    assert fleet.deadline() == 130.0
    assert fleet.tick(129.0) == []
    assert len(fleet.tick(145.0)) == len(CHAIN)
    assert fleet.deadline() == 175.0


def test_without_a_heartbeat_a_fleet_at_rest_has_no_deadline() -> None:
    """0 means none: nothing to come back for, nothing written."""
    fleet = Fleet(CHAIN, 100.0)
    assert fleet.deadline() is None
    assert fleet.tick(1000.0) == []


def test_a_deadline_that_has_just_come_has_its_way() -> None:
    """A tick at the very time is not too early."""
    fleet = Played(system("web"))
    fleet.say("start", "web")
    due = fleet.fleet.deadline()
    assert due is not None
    assert [type(each) for each in actions(fleet.at(due))] == [facts.Look]


# --- commands that cross ----------------------------------------------------------------------------------------------


def test_a_command_goes_in_start_order_whatever_order_it_was_given_in() -> None:
    """Names that are not of the fleet are no part of it."""
    fleet = Played()
    operation, answer = fleet.fleet.command(0.0, "op", "start", ["left", "ghost", "brain"], "api")
    assert operation.servers == ("brain", "left")
    assert answer[0] == Record(
        None, "command", {"verb": "start", "by": "api", "servers": ["brain", "left"], "operation": "op"}
    )


def test_a_command_on_one_is_written_as_that_ones() -> None:
    """The record has its key."""
    fleet = Played().up()
    assert events(fleet.say("stop", "left"), key="left")[0] == "command"


def test_a_command_leaves_others_alone_that_are_finished_or_about_others() -> None:
    """Only what is under way on the same system is superseded, and only once."""
    fleet = Played().up()
    fleet.say("restart", "left", ident="one")
    fleet.say("restart", "right", ident="two")
    answer = fleet.say("stop", "left", ident="three")
    assert [each for each in answer if isinstance(each, Settled)] == [Settled("one")]
    states = {ident: each.state for ident, each in fleet.fleet.operations.items()}
    assert states == {"up": "succeeded", "one": "superseded", "two": "running", "three": "running"}
    assert fleet.fleet.operations["two"].error is None


def test_what_a_superseded_command_had_still_to_do_is_not_done() -> None:
    """A stop of all that a later command on one supersedes stops nobody any more."""
    fleet = Played().up()
    fleet.say("stop", ident="one")
    fleet.say("start", "left", ident="two")
    assert fleet.fleet.operations["one"].pending == set()
    assert terminated([*fleet.end("left"), *fleet.end("right")]) == []
    assert fleet.states()["router"] == "healthy"


def test_a_failed_one_among_many_that_are_restarted_is_tried_again_in_its_turn() -> None:
    """It keeps its state until those that depend on it are down; it is no end of the command before that."""
    fleet = Played(system("brain", max_retries=0), system("router", depends_on=("brain",)))
    fleet.say("start", "brain", "router", ident="up")
    fleet.probe("brain")
    fleet.probe("router")
    fleet.end("brain")
    fleet.say("restart", "brain", "router")
    assert fleet.states() == {"brain": "failed", "router": "stopping"}
    assert fleet.fleet.operations["op"].state == "running"
    assert spawned(fleet.end("router")) == ["brain"]
    fleet.probe("brain")
    fleet.probe("router")
    assert fleet.fleet.operations["op"].state == "succeeded"


def test_a_restart_of_two_sends_both_to_the_gate_and_one_of_one_does_not_wait() -> None:
    """A restart of a single system is nobody else's affair."""
    fleet = Played(*PAIR)
    fleet.say("start", "brain", "router")
    fleet.probe("brain")
    fleet.probe("router")
    fleet.say("restart", "brain", "router")
    fleet.end("router")
    assert spawned(fleet.end("brain")) == ["brain"]
    assert fleet.states()["router"] == "waiting"
    fleet.probe("brain")
    fleet.probe("router")
    fleet.end("brain")
    fleet.say("restart", "router", ident="one")
    assert spawned(fleet.end("router")) == ["router"]


def test_a_start_of_many_waits_for_nobody_who_depends_on_them() -> None:
    """Order of stopping is no concern of a start: the brain is started although the router is up."""
    fleet = Played(*PAIR)
    fleet.say("start", "router")
    fleet.probe("router")
    assert spawned(fleet.say("start", "brain", "router")) == ["brain"]


def test_a_stop_goes_on_past_what_has_left_the_fleet() -> None:
    """A system that was dropped meanwhile holds nobody up, nor does the command wait for it."""
    fleet = Played().up()
    fleet.say("stop", "left", "router")
    assert fleet.fleet.operations["op"].pending == {"router"}
    fleet.fleet.update(1.0, CHAIN[:2])
    assert terminated(fleet.at(1.0)) == ["router"]
    fleet.end("router")
    assert fleet.fleet.operations["op"].state == "succeeded"
    fleet = Played().up()
    fleet.say("stop", "left", "router")
    fleet.fleet.update(1.0, CHAIN[:1])
    assert (fleet.fleet.operations["op"].pending, fleet.fleet.operations["op"].running) == (set(), set())
    assert Settled("op") in fleet.at(1.0)


def test_a_turn_that_has_not_come_holds_up_the_next_one_even_where_nothing_runs() -> None:
    """The router is down in backoff, but its stop waits for those that depend on it: so does the brain's."""
    fleet = Played().up()
    for _ in range(2):
        fleet.end("router")
    assert fleet.states()["router"] == "backoff"
    assert sorted(terminated(fleet.say("stop"))) == ["left", "right"]
    fleet.end("left")
    answer = fleet.end("right")
    assert (events(answer, key="router"), terminated(answer)) == (["server_stopped"], ["brain"])


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_start_that_somebody_stops_by_itself_has_failed_with_its_state(verb: str) -> None:
    """A drain in the middle: stopped is an end, and no success."""
    fleet = Played(system("web"))
    fleet.say(verb, "web")
    fleet.take(fleet.fleet.drain(1.0))
    fleet.now = 1.0
    assert Settled("op") in fleet.end("web")
    assert fleet.fleet.operations["op"].error == "web: is stopped"


def test_a_stop_is_done_when_it_is_stopped_and_not_before() -> None:
    """What had failed is stopped too."""
    fleet = Played(system("web", max_retries=0))
    fleet.say("start", "web", ident="up")
    fleet.end("web")
    answer = fleet.say("stop", "web")
    assert (events(answer)[-1], fleet.states()) == ("server_stopped", {"web": "stopped"})
    assert fleet.fleet.operations["op"].state == "succeeded"


def test_all_reasons_of_a_failed_command_are_named() -> None:
    """One for each system, apart by semicolons."""
    fleet = Played(system("left", max_retries=0), system("right", max_retries=0))
    fleet.say("start", "left", "right")
    fleet.end("left")
    fleet.end("right")
    boom = "exited with code 1: boom"
    assert fleet.fleet.operations["op"].error == f"left: {boom}; right: {boom}"


def test_a_running_command_is_running_whatever_has_happened() -> None:
    """No error is its end before the others have come to theirs."""
    fleet = Played(system("left", max_retries=0), system("right"))
    fleet.say("start", "left", "right")
    fleet.end("left")
    assert fleet.fleet.operations["op"].state == "running"


@pytest.mark.parametrize(
    ("verb", "state", "wanted", "nothing"),
    [
        ("start", State.HEALTHY, True, True),
        ("start", State.HEALTHY, False, False),
        ("start", State.STARTING, True, False),
        ("stop", State.STOPPED, False, True),
        ("stop", State.STOPPED, True, False),
        ("stop", State.STOPPING, False, False),
        ("restart", State.STOPPED, False, False),
    ],
)
def test_a_command_changes_nothing_only_where_all_are_as_it_wants_them(
    verb: str, state: State, wanted: bool, nothing: bool
) -> None:
    """In state and in wish; one that is not is enough."""
    fleet = Fleet([system("web"), system("db")], 0.0)
    for life in fleet:
        life.state, life.wanted = state, wanted
    assert fleet.nothing_to_do(verb, ["web", "db"]) is nothing  # type: ignore[arg-type]
    fleet.lives["db"].state = State.BACKOFF
    assert not fleet.nothing_to_do(verb, ["web", "db"])  # type: ignore[arg-type]


def test_prune_keeps_what_runs_and_forgets_nothing_while_there_is_room() -> None:
    """An operation under way is not one of those that count."""
    fleet = Played().up()
    fleet.say("restart", "left", ident="running")
    fleet.say("start", "right", ident="done")
    fleet.fleet.prune(3)  # one more than there are
    assert list(fleet.fleet.operations) == ["up", "running", "done"]
    fleet.fleet.prune(0)
    assert list(fleet.fleet.operations) == ["running"]


# --- outside ----------------------------------------------------------------------------------------------------------


def test_each_system_of_an_outside_command_is_written_by_itself_in_start_order() -> None:
    """As no operation of ours, by its sender."""
    fleet = Played().up()
    answer = fleet.fleet.outside(1.0, "restart", ["right", "left", "brain", "router", "ghost"], "circusctl")
    written = [each for each in answer if isinstance(each, Record) and each.event == "command"]
    assert [each.key for each in written] == ALL
    assert written[2].details == {"verb": "restart", "by": "circusctl", "servers": ["left"], "operation": None}
    assert actions(answer) == []


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_what_circusd_leaves_to_us_is_signalled_by_us(verb: str) -> None:
    """external = False: an order, not a note."""
    fleet = Played().up()
    answer = fleet.fleet.outside(1.0, verb, ["left"], "circusctl", external=False)  # type: ignore[arg-type]
    assert terminated(answer) == ["left"]


def test_an_outside_command_supersedes_ours_on_the_same_system_by_name() -> None:
    """And no other, and none that is finished; what it had still to do is not done."""
    fleet = Played().up()
    fleet.say("stop", "router", "left", ident="one")
    fleet.say("restart", "right", ident="two")
    answer = fleet.take(fleet.fleet.outside(1.0, "start", ["left"], "circusctl"))
    assert [each for each in answer if isinstance(each, Settled)] == [Settled("one")]
    one = fleet.fleet.operations["one"]
    assert (one.state, one.error, one.finished) == (
        "superseded",
        "superseded by operation start by circusctl",
        1.0,
    )
    assert (one.pending, one.running) == (set(), set())
    assert fleet.fleet.operations["two"].state == "running"
    assert fleet.fleet.operations["up"].state == "succeeded"
    assert not [each for each in fleet.end("left") if isinstance(each, Terminate)]


def test_a_critical_system_ends_outside_stops_of_others_that_have_had_a_moment() -> None:
    """Neither its own, nor one that came with the same step, nor a stop of ours, nor a process that merely runs."""
    fleet = Played().up()
    fleet.fleet.outside(1.0, "stop", ["left", "brain"], "circusctl")
    fleet.fleet.outside(1.0, "stop", ["right"], "api", external=False)
    assert fleet.fleet.blocked(1.0, "brain") == []
    assert fleet.fleet.blocked(2.0, "brain") == [Kill("left", fleet.world.running["left"])]
    assert fleet.fleet.blocked(2.0, "ghost") == []


# --- membership and memory --------------------------------------------------------------------------------------------


def test_a_system_that_comes_later_waits_with_the_fleets_own_jitter() -> None:
    """update gives it the spread that the others have."""

    def spread() -> float:
        return 1.0

    fleet = Fleet([], 0.0, spread=spread)
    fleet.update(1.0, [system("web")])
    assert fleet.lives["web"]._spread is spread


def test_what_is_not_remembered_is_wanted_as_its_settings_say() -> None:
    """A new system of a fleet that is taken up again."""
    fleet = Fleet([system("web"), system("spare", wanted=False)], 0.0)
    fleet.remember({}, 5.0)
    assert {key: (life.wanted, str(life.state)) for key, life in fleet.lives.items()} == {
        "web": (True, "waiting"),
        "spare": (False, "stopped"),
    }


def test_restarts_and_downtime_are_remembered() -> None:
    """The recovery after everything died says how long it was down, from the first failure on."""
    fleet = Played(system("web"))
    fleet.fleet.remember({"web": Memory(state=State.BACKOFF, attempt=1, restarts=4, due=10.0, down_since=3.0)}, 5.0)
    fleet.at(10.0)
    fleet.now = 12.0
    assert details(fleet.probe("web", OK), "server_recovered")["downtime"] == 9.0
    assert fleet.fleet.lives["web"].restarts == 5


def test_the_restarts_of_what_is_stopped_are_remembered_too() -> None:
    """And nothing else of it."""
    fleet = Fleet([system("web")], 0.0)
    fleet.remember({"web": Memory(wanted=False, state=State.FAILED, attempt=3, restarts=4, error="boom")}, 5.0)
    life = fleet.lives["web"]
    assert (life.restarts, life.attempt, life.error, life.state) == (4, 0, None, State.STOPPED)


def test_a_fact_about_nobody_is_nobodys() -> None:
    """A system that was dropped may still be heard of."""
    assert Fleet(CHAIN, 0.0).handle(facts.Spawned(1.0, "ghost", Process(7, 1.0))) == []
