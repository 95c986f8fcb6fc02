"""The edges of one system's state machine: wishes that cross, processes nobody expected, deadlines, what is written."""

from typing import Literal

import pytest

from aurora_circus import facts
from aurora_circus.facts import Exit, Holder, Kill, Look, Outcome, Process, Record, Spawn, State, Terminate
from aurora_circus.lifecycle import (
    KILL_PATIENCE,
    PROBE_PATIENCE,
    SECOND_LOOK,
    SPAWN_PATIENCE,
    STARTING_LOOKS,
    Lifecycle,
)
from tests.test_lifecycle import FIRST, SECOND, crash, crash_until_failed, healthy, respawn, started
from tests.world import OK, REFUSED, SILENT, actions, details, events, system


def in_backoff(at: float = 2.0) -> Lifecycle:
    """Return a system whose second attempt is due at ``at`` + 1.1."""
    life = healthy()
    crash(life, at, FIRST)
    crash(life, at + 0.1, respawn(life, at + 0.05))
    assert (life.state, life.attempt, life.due) == (State.BACKOFF, 2, at + 1.1)
    return life


def hanging() -> Lifecycle:
    """Return a system that is not autonomous and does not answer since 6."""
    life = healthy(autonomous=False, failure_threshold=1)
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    assert life.state is State.UNHEALTHY
    return life


def left_over() -> Lifecycle:
    """Return a system at the gate whose process of an earlier circusd still runs."""
    life = Lifecycle(system(), 0.0)
    life.resume(0.0, State.WAITING, None)
    life.wanted, life.process = True, FIRST
    return life


def spawning() -> Lifecycle:
    """Return a system whose first spawn was asked for at 0 and is not answered."""
    life = Lifecycle(system(), 0.0)
    life.handle(facts.Start(0.0, "web"))
    life.handle(facts.Opened(0.0, "web"))
    return life


# --- wishes that cross ------------------------------------------------------------------------------------------------


def test_a_start_in_backoff_waits_no_longer_and_has_all_attempts_again() -> None:
    """An operator's start is no attempt, and its bound at the gate counts anew."""
    life = in_backoff()
    answer = life.handle(facts.Start(2.5, "web"))
    assert actions(answer) == [Spawn("web")]
    assert details(answer, "server_starting") == {"cause": "start", "attempt": 0, "of": 3}
    assert (life.attempt, life.error, life.began) == (0, None, 2.5)
    life.handle(facts.Spawned(2.6, "web", SECOND))
    assert "server_started" in events(life.handle(facts.Probed(3.0, "web", SECOND, OK)))


def test_a_start_after_a_stop_has_all_attempts_again() -> None:
    """Whatever was used up before the stop is forgotten."""
    life = in_backoff()
    life.handle(facts.Stop(2.5, "web"))
    life.handle(facts.Start(3.0, "web"))
    assert (life.state, life.attempt) == (State.WAITING, 0)


@pytest.mark.parametrize("verb", [facts.Start, facts.Restart])
def test_an_operator_who_starts_what_is_being_brought_down_for_a_failure_uses_no_attempt(
    verb: type[facts.Start | facts.Restart],
) -> None:
    """unhealthy: the grace period goes on, then it starts as by a restart."""
    life = healthy(failure_threshold=1, graceful_timeout=5.0)
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    assert actions(life.handle(verb(8.0, "web"))) == []
    assert life.deadline() == 11.0
    answer = crash(life, 9.0, FIRST)
    assert events(answer) == ["server_exited", "server_starting"]
    assert details(answer, "server_starting")["cause"] == "restart"
    assert (life.attempt, life.down_since, life.began) == (0, None, 9.0)


def test_a_start_during_a_stop_is_a_restart_and_no_attempt() -> None:
    """What was used up before is forgotten with the new wish."""
    life = in_backoff()
    process = Process(900, 3.1)
    life.handle(facts.Tick(3.1, "web"))
    life.handle(facts.Spawned(3.1, "web", process))
    life.handle(facts.Stop(3.2, "web"))
    life.handle(facts.Start(3.3, "web"))
    answer = crash(life, 3.4, process)
    assert details(answer, "server_starting") == {"cause": "restart", "attempt": 0, "of": 3}


def test_a_start_of_what_hangs_and_is_not_autonomous_changes_nothing() -> None:
    """It is up; a restart is another word. It may still come back by itself."""
    life = hanging()
    assert life.handle(facts.Start(7.0, "web")) == []
    life.handle(facts.Probed(11.0, "web", FIRST, OK))
    assert life.state is State.HEALTHY


@pytest.mark.parametrize("verb", [facts.Stop, facts.Restart])
def test_what_hangs_and_is_not_autonomous_is_brought_down_by_its_operator(
    verb: type[facts.Stop | facts.Restart],
) -> None:
    """SIGTERM at once, SIGKILL after the grace period: nothing of that is under way yet."""
    life = hanging()
    assert actions(life.handle(verb(8.0, "web"))) == [Terminate("web", FIRST)]
    assert life.deadline() == 13.0


def test_a_second_stop_says_nothing_and_gives_no_second_grace_period() -> None:
    """Of what is stopped: nothing at all. Of what stops: the time it has stays."""
    life = healthy(graceful_timeout=5.0)
    life.handle(facts.Stop(2.0, "web"))
    assert life.handle(facts.Stop(4.0, "web")) == []
    assert (life.since, life.deadline()) == (2.0, 7.0)
    crash(life, 4.5, FIRST)
    assert life.handle(facts.Stop(5.0, "web")) == []


def test_the_grace_period_of_a_stop_is_the_systems_own() -> None:
    """SIGKILL comes after graceful_timeout, from the SIGTERM on, whatever our own patience is."""
    life = healthy(graceful_timeout=30.0)
    life.handle(facts.Stop(2.0, "web"))
    assert life.deadline() == 32.0
    life = healthy(failure_threshold=1, graceful_timeout=30.0)
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    assert life.deadline() == 36.0


def test_a_stop_after_a_restart_wins() -> None:
    """The last wish counts when the process is gone."""
    life = healthy()
    life.handle(facts.Restart(2.0, "web"))
    life.handle(facts.Stop(2.1, "web"))
    assert events(crash(life, 3.0, FIRST)) == ["server_exited", "server_stopped"]


@pytest.mark.parametrize(
    ("wish", "state"),
    [
        (facts.Stop(1.0, "web"), State.STOPPED),
        (facts.Restart(1.0, "web"), State.STARTING),
        (facts.Restart(1.0, "web", rejoin=True), State.STARTING),
    ],
)
def test_what_is_left_over_and_waits_is_ended_by_a_stop_or_a_restart(wish: facts.Fact, state: State) -> None:
    """The process is not forgotten because its system stands at the gate; a rejoin may go on to wait with it."""
    life = left_over()
    answer = life.handle(wish)
    if isinstance(wish, facts.Restart) and wish.rejoin:
        assert (answer, life.state, life.process) == ([], State.WAITING, FIRST)
        answer = life.handle(facts.Opened(1.0, "web"))
    assert actions(answer) == [Terminate("web", FIRST)]
    crash(life, 1.5, FIRST)
    assert life.state is state


def test_the_journal_says_why_what_is_left_over_is_replaced() -> None:
    """server_stopping: neither a stop nor a restart that anybody asked for; it does not go to the gate again."""
    life = left_over()
    answer = life.handle(facts.Opened(1.0, "web"))
    assert details(answer, "server_stopping") == {"pid": 101, "why": "left over from an earlier circusd"}
    assert events(crash(life, 1.1, FIRST)) == ["server_exited", "server_starting"]


def test_what_is_left_over_and_dies_while_it_waits_uses_no_attempt() -> None:
    """It stands at the gate without a process then, and is spawned when that opens."""
    life = left_over()
    assert events(life.handle(facts.Exited(1.0, "web", FIRST, Exit(code=1)))) == ["server_exited"]
    assert (life.state, life.process) == (State.WAITING, None)
    assert actions(life.handle(facts.Opened(2.0, "web"))) == [Spawn("web")]


def test_a_restart_of_many_sends_each_to_the_gate_again() -> None:
    """rejoin: down first, then waiting; what is down anyway waits at once."""
    life = healthy()
    assert actions(life.handle(facts.Restart(2.0, "web", rejoin=True))) == [Terminate("web", FIRST)]
    assert life.state is State.STOPPING
    assert events(crash(life, 2.1, FIRST)) == ["server_exited"]
    assert (life.state, life.since) == (State.WAITING, 2.1)
    life = in_backoff()
    assert life.handle(facts.Restart(2.5, "web", rejoin=True)) == []
    assert (life.state, life.deadline(), life.attempt) == (State.WAITING, None, 0)


def test_a_restart_of_the_stopped_goes_through_the_gate() -> None:
    """It is wanted up from then on."""
    life = Lifecycle(system(), 0.0)
    assert life.handle(facts.Restart(1.0, "web")) == []
    assert (life.state, life.wanted) == (State.WAITING, True)


def test_a_restart_in_backoff_waits_no_longer() -> None:
    """It is called what it is, and the process that comes of it counts as a restart."""
    life = in_backoff()
    answer = life.handle(facts.Restart(2.5, "web"))
    assert details(answer, "server_starting") == {"cause": "restart", "attempt": 0, "of": 3}
    before = life.restarts
    respawn(life, 2.6)
    assert life.restarts == before + 1


@pytest.mark.parametrize("verb", [facts.Stop, facts.Restart])
def test_what_circusd_brings_down_for_its_operator_is_called_so_until_it_is_down(
    verb: type[facts.Stop | facts.Restart],
) -> None:
    """External: no SIGTERM of ours; over as soon as it is gone."""
    life = healthy()
    assert actions(life.handle(verb(2.0, "web", external=True))) == []
    assert life.external
    crash(life, 3.0, FIRST)
    assert not life.external


def test_an_outside_restart_whose_new_process_is_there_first_is_over() -> None:
    """circusd starts the next process before we hear of the end of the last: what comes down later is ours."""
    life = healthy()
    life.handle(facts.Restart(2.0, "web", external=True))
    answer = life.handle(facts.Spawned(2.1, "web", SECOND))
    assert details(answer, "server_starting") == {"cause": "started outside", "attempt": 0, "of": 3}
    assert (life.state, life.external, life.began, life.restarts) == (State.STARTING, False, 2.1, 1)
    answer = life.handle(facts.Probed(2.2, "web", SECOND, OK))
    assert events(answer) == ["health_check", "server_started"]


@pytest.mark.parametrize("sound", [True, False])
def test_an_operators_wish_ends_the_reason_and_the_downtime_of_what_went_before(sound: bool) -> None:
    """A restart of what failed starts as if for the first time; so does a stop."""
    life = healthy(max_retries=0)
    crash(life, 2.0, FIRST)
    assert life.error is not None
    life.handle(facts.Restart(3.0, "web") if sound else facts.Stop(3.0, "web"))
    assert (life.error, life.down_since) == (None, None)


def test_what_is_stopped_has_no_beginning_and_no_reason() -> None:
    """The gate of those that depend on it counts from its next spawn."""
    life = in_backoff()
    life.handle(facts.Stop(2.5, "web"))
    assert (life.began, life.error, life.down_since, life.process) == (None, None, None, None)


# --- drain ------------------------------------------------------------------------------------------------------------


def test_a_drain_of_what_is_down_is_the_end_of_it() -> None:
    """Stopped at once in backoff, and nothing more to say of what was stopped."""
    life = in_backoff()
    assert events(life.handle(facts.Drain(2.5, "web"))) == ["server_stopped"]
    assert life.handle(facts.Drain(2.6, "web")) == []


def test_a_drain_leaves_what_is_left_over_to_circusd() -> None:
    """It is stopped when it is dead, and not before."""
    life = left_over()
    assert life.handle(facts.Drain(1.0, "web")) == []
    assert (life.state, life.process) == (State.WAITING, FIRST)
    assert events(life.handle(facts.Exited(1.5, "web", FIRST, Exit()))) == ["server_exited", "server_stopped"]


def test_a_drain_leaves_what_hangs_to_circusd() -> None:
    """No signal of ours, whatever it was called before."""
    life = hanging()
    answer = life.handle(facts.Drain(7.0, "web"))
    answer += crash(life, 8.0, FIRST)
    assert actions(answer) == []
    assert life.state is State.STOPPED


# --- processes --------------------------------------------------------------------------------------------------------


def test_an_adopted_process_has_as_long_to_be_healthy_as_a_new_one() -> None:
    """It is probed at once; its age counts from its adoption, since nothing older is known."""
    life = Lifecycle(system(start_timeout=15.0), 0.0)
    life.wanted = True
    life.adopt(5.0, FIRST)
    assert (life.deadline(), life.due, life.began) == (5.0, 20.0, 5.0)
    life.handle(facts.Probed(5.5, "web", FIRST, OK))
    answer = life.handle(facts.Exited(7.0, "web", FIRST, Exit(code=1)))
    assert details(answer, "server_exited") == {
        "pid": 101,
        "code": 1,
        "signal": None,
        "last_line": None,
        "after": 2.0,
        "asked": False,
    }


def test_one_that_was_healthy_when_it_was_taken_over_has_as_long_as_its_probes_take_to_fail() -> None:
    """A plugin that dies while a system hangs does not give that a whole start's time again."""
    life = Lifecycle(system(start_timeout=15.0, failure_threshold=2, timeout=2.0), 0.0)
    life.wanted = True
    life.adopt(5.0, FIRST, healthy=True)
    assert life.due == 5.0 + 2 * (2.0 + 1.0)
    life.handle(facts.Probed(7.0, "web", FIRST, Outcome(ok=False, reason="no answer")))
    answer = life.handle(facts.Tick(11.0, "web"))
    assert details(answer, "server_unhealthy")["reason"] == "not healthy within 6 s of being taken over: no answer"
    patient = Lifecycle(system(start_timeout=4.0, failure_threshold=2, timeout=2.0), 0.0)
    patient.wanted = True
    patient.adopt(5.0, FIRST, healthy=True)
    assert patient.due == 9.0


@pytest.mark.parametrize("outside", [True, False])
def test_only_the_adopted_process_itself_is_not_called_started(outside: bool) -> None:
    """What replaces it is, whoever started that."""
    life = Lifecycle(system(), 0.0)
    life.wanted = True
    life.adopt(5.0, FIRST)
    life.handle(facts.Restart(6.0, "web", external=outside))
    if not outside:
        crash(life, 6.5, FIRST)
    life.handle(facts.Spawned(7.0, "web", SECOND))
    assert events(life.handle(facts.Probed(8.0, "web", SECOND, OK))) == ["health_check", "server_started"]


def test_an_adopted_process_that_was_called_healthy_is_called_recovered_as_any_other() -> None:
    """Silence about an adopted process ends with its first good probe."""
    life = Lifecycle(system(autonomous=False, failure_threshold=1), 0.0)
    life.wanted = True
    life.adopt(5.0, FIRST)
    life.handle(facts.Probed(5.5, "web", FIRST, OK))
    assert not life._adopted


def test_what_was_known_of_a_deadline_decides_when_it_is_tried_again() -> None:
    """A backoff without a time is over; a failed one without a time stays."""
    for state, due, expected in (
        (State.BACKOFF, None, 5.0),
        (State.BACKOFF, 9.0, 9.0),
        (State.FAILED, None, None),
        (State.FAILED, 9.0, 9.0),
        (State.WAITING, 9.0, None),
    ):
        life = Lifecycle(system(), 0.0)
        life.resume(5.0, state, due)
        assert (life.state, life.deadline()) == (state, expected)


def test_every_process_but_that_of_a_start_is_a_restart() -> None:
    """restarts counts processes that replaced another: attempts, restarts, and those circusd started itself."""
    life = started()
    assert life.restarts == 0
    crash(life, 1.0, FIRST)
    process = respawn(life, 1.1)
    assert life.restarts == 1
    life.handle(facts.Stop(2.0, "web"))
    crash(life, 2.1, process)
    life.handle(facts.Start(3.0, "web"))
    life.handle(facts.Opened(3.0, "web"))
    process = respawn(life, 3.1)
    assert life.restarts == 1
    life.handle(facts.Spawned(4.0, "web", SECOND))
    assert life.restarts == 2


def test_the_same_process_told_twice_is_no_news() -> None:
    """Neither its state nor its counts move."""
    life = healthy()
    assert life.handle(facts.Spawned(2.0, "web", FIRST)) == []
    assert (life.state, life.restarts, life.since) == (State.HEALTHY, 0, 1.0)


def test_a_process_that_comes_of_a_stopped_spawn_has_the_grace_period() -> None:
    """SIGTERM when it is known, SIGKILL after the grace period from then; its age is known when it exits."""
    life = spawning()
    answer = life.handle(facts.Stop(0.1, "web"))
    assert details(answer, "server_stopping") == {"pid": None, "why": "stop"}
    assert life.deadline() == 0.1 + SPAWN_PATIENCE
    life.handle(facts.Spawned(3.0, "web", FIRST))
    assert (life.state, life.deadline()) == (State.STOPPING, 8.0)
    answer = life.handle(facts.Exited(4.0, "web", FIRST, Exit(code=0)))
    assert details(answer, "server_exited")["after"] == 1.0


def test_a_stop_during_a_spawn_that_comes_to_nothing_is_done() -> None:
    """Stopped, whether circusd says so or says nothing."""
    life = spawning()
    life.handle(facts.Stop(0.1, "web"))
    assert events(life.handle(facts.SpawnFailed(0.2, "web", "no such file"))) == ["server_stopped"]
    life = spawning()
    life.handle(facts.Stop(0.1, "web"))
    assert events(life.handle(facts.Tick(0.1 + SPAWN_PATIENCE, "web"))) == ["server_stopped"]


def test_a_new_process_beside_one_that_is_being_stopped_is_brought_down_too() -> None:
    """Somebody else had circusd start it while we stop: not wanted, whatever number it has."""
    life = healthy()
    life.handle(facts.Stop(2.0, "web"))
    life.handle(facts.Spawned(3.0, "web", SECOND))
    assert (life.state, life.process) == (State.STOPPING, SECOND)


def test_the_journal_says_that_nobody_wanted_a_process() -> None:
    """server_stopping: why."""
    life = Lifecycle(system(), 0.0)
    answer = life.handle(facts.Spawned(1.0, "web", FIRST))
    assert details(answer, "server_stopping") == {"pid": 101, "why": "started by nobody's wish"}


def test_a_process_started_outside_begins_like_one_of_ours() -> None:
    """Its bound, its probes and its failures count from its own spawn."""
    life = healthy(failure_threshold=3, start_timeout=15.0)
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    life.handle(facts.Spawned(7.0, "web", SECOND))
    assert (life.state, life.failures, life.verified, life.last) == (State.STARTING, 0, None, None)
    assert (life.deadline(), life.due) == (7.0 + STARTING_LOOKS[0], 22.0)
    assert life.began == 0.0


def test_a_new_process_is_verified_anew() -> None:
    """What was seen of an earlier one says nothing about it."""
    life = healthy()
    assert life.verified is True
    crash(life, 2.0, FIRST)
    assert life.verified is None
    life = started()
    life.handle(facts.Probed(0.5, "web", FIRST, Outcome(ok=False, verified=False)))
    life.handle(facts.Spawned(2.0, "web", SECOND))
    assert life.verified is None


def test_a_look_that_could_not_see_the_listener_leaves_what_was_seen() -> None:
    """None is not an answer; False is."""
    life = started()
    for outcome, seen in (
        (Outcome(ok=False, verified=True), True),
        (Outcome(ok=False, verified=None), True),
        (Outcome(ok=False, verified=False), False),
    ):
        life.handle(facts.Probed(1.0, "web", FIRST, outcome))
        assert life.verified is seen


def test_a_process_of_an_attempt_that_somebody_else_started_is_an_attempt_that_may_fail() -> None:
    """restart_failed: it was never healthy either."""
    life = healthy()
    crash(life, 2.0, FIRST)
    process = respawn(life, 2.1)
    life.handle(facts.Probed(2.5, "web", process, OK))
    life.handle(facts.Spawned(3.0, "web", SECOND))
    assert "restart_failed" in events(crash(life, 3.1, SECOND))


def test_a_spawn_that_failed_is_a_failed_attempt_with_its_reason() -> None:
    """The first one is repeated at once, and the downtime counts from it."""
    life = spawning()
    answer = life.handle(facts.SpawnFailed(1.0, "web", "no such file"))
    assert events(answer) == ["restart_scheduled", "server_starting"]
    assert details(answer, "restart_scheduled") == {"attempt": 1, "of": 3, "delay": 0.0, "reason": "no such file"}
    respawn(life, 1.5)
    assert life.process is not None
    answer = life.handle(facts.Probed(2.0, "web", life.process, OK))
    assert details(answer, "server_recovered")["downtime"] == 1.0
    assert life.down_since is None


def test_a_spawn_for_which_there_was_no_time_says_so() -> None:
    """The reason stands while it waits, and is followed by a start or by the attempt it was."""
    life = spawning()
    life.handle(facts.SpawnFailed(1.0, "web", "busy", busy=True))
    assert life.error == "busy"
    answer = life.handle(facts.Tick(2.0, "web"))
    assert details(answer, "server_starting") == {"cause": "start", "attempt": 0, "of": 3}
    life = in_backoff()
    assert details(life.handle(facts.Tick(3.1, "web")), "server_starting")["cause"] == "attempt"


@pytest.mark.parametrize("busy", [True, False])
def test_a_spawn_is_answered_once(busy: bool) -> None:
    """A late refusal changes nothing of what has a process, nor of what waits for no spawn."""
    for life in (started(), healthy(), in_backoff(), Lifecycle(system(), 0.0), left_over()):
        before = (life.state, life.process, life.error, life.deadline())
        assert life.handle(facts.SpawnFailed(5.0, "web", "late", busy=busy)) == []
        assert (life.state, life.process, life.error, life.deadline()) == before


def test_a_late_opening_of_the_gate_changes_nothing() -> None:
    """Who is past the gate does not go through it again."""
    for life in (started(), healthy(), in_backoff(), Lifecycle(system(), 0.0)):
        state = life.state
        assert life.handle(facts.Opened(5.0, "web")) == []
        assert life.state is state


# --- death ------------------------------------------------------------------------------------------------------------


def test_a_gate_without_anybody_missing_names_nobody() -> None:
    """server_starting has ``missing`` only where somebody was."""
    life = Lifecycle(system(), 0.0)
    life.handle(facts.Start(0.0, "web"))
    assert "missing" not in details(life.handle(facts.Opened(1.0, "web")), "server_starting")


def test_what_dies_while_it_is_brought_down_leaves_its_group_the_grace_period() -> None:
    """The leader's exit is no second failure, and signals nobody; a look that is due is not made."""
    life = healthy(failure_threshold=1, graceful_timeout=5.0)
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    answer = life.handle(facts.Exited(7.0, "web", FIRST, Exit(signal="SIGTERM")))
    assert (events(answer), actions(answer)) == (["server_exited"], [])
    assert (life.deadline(), life.error) == (11.0, SILENT.reason)


def test_a_crashed_hanger_has_failed_for_its_exit() -> None:
    """Not autonomous, unhealthy, dead: that was nobody's wish, so the rest of its group is killed."""
    life = hanging()
    answer = life.handle(facts.Exited(7.0, "web", FIRST, Exit(code=3)))
    assert actions(answer) == [Kill("web", FIRST)]
    assert (life.error, life.deadline()) == ("exited with code 3", 7.0 + KILL_PATIENCE)
    answer = life.handle(facts.Gone(7.1, "web", FIRST))
    assert details(answer, "server_failed") == {
        "reason": "exited with code 3",
        "attempts": 0,
        "of": 3,
        "retry_in": None,
    }


def test_what_a_crash_leaves_is_killed_again_until_it_is_gone() -> None:
    """unhealthy has its end too: SIGKILL each KILL_PATIENCE."""
    life = healthy()
    life.handle(facts.Exited(2.0, "web", FIRST, Exit(code=1)))
    at = 2.0
    for _ in range(3):
        assert life.deadline() == at + KILL_PATIENCE
        at += KILL_PATIENCE
        assert actions(life.handle(facts.Tick(at, "web"))) == [Kill("web", FIRST)]


def test_the_end_of_a_group_that_nobody_brings_down_changes_nothing() -> None:
    """Gone without an exit before it is for the reaper to sort out."""
    for life in (started(), healthy(), hanging()):
        state = life.state
        assert life.handle(facts.Gone(7.0, "web", FIRST)) == []
        assert life.state is state


def test_somebody_else_on_the_port_is_no_reason_for_the_exit_of_what_was_healthy() -> None:
    """Whoever took the port after the exit did not cause it."""
    life = healthy()
    answer = life.handle(facts.Exited(2.0, "web", FIRST, Exit(code=1), Holder(7, "nc")))
    assert events(answer) == ["server_exited"]
    assert life.error == "exited with code 1"


def test_the_downtime_of_a_crash_counts_from_the_first_of_a_row() -> None:
    """Attempts that fail as well do not shorten it."""
    life = healthy()
    crash(life, 2.0, FIRST)
    crash(life, 3.0, respawn(life, 2.5))
    life.handle(facts.Tick(4.0, "web"))
    process = respawn(life, 4.5)
    answer = life.handle(facts.Probed(6.0, "web", process, OK))
    assert details(answer, "server_recovered") == {
        "pid": process.pid,
        "took": 1.5,
        "latency_ms": 2.0,
        "downtime": 4.0,
        "attempt": 2,
    }


def test_a_drain_during_a_spawn_that_comes_to_nothing_is_the_end_of_it() -> None:
    """A failed spawn is no reason to try again when circusd goes down."""
    life = spawning()
    assert life.handle(facts.Drain(1.0, "web")) == []
    assert events(life.handle(facts.SpawnFailed(2.0, "web", "no such file"))) == ["server_stopped"]


# --- attempts ---------------------------------------------------------------------------------------------------------


def test_an_attempt_that_was_never_healthy_has_failed_and_one_that_was_has_not() -> None:
    """restart_failed is said of attempts only, with the attempt that it was."""
    life = healthy()
    assert "restart_failed" not in events(crash(life, 2.0, FIRST))
    process = respawn(life, 2.1)
    life.handle(facts.Probed(2.5, "web", process, OK))
    assert "restart_failed" not in events(crash(life, 3.0, process))
    life.handle(facts.Tick(4.0, "web"))
    answer = crash(life, 4.5, respawn(life, 4.1))
    assert details(answer, "restart_failed") == {"attempt": 2, "of": 3, "reason": "exited with code 1: boom"}


def test_a_first_start_that_fails_is_no_failed_restart() -> None:
    """There was no attempt yet."""
    life = started()
    assert events(crash(life, 1.0, FIRST)) == ["server_exited", "restart_scheduled", "server_starting"]


def test_giving_up_says_how_often_it_was_tried_and_when_it_is_tried_again() -> None:
    """server_failed; and the retry is called one."""
    life = healthy(max_retries=1, retry_failed_after=100.0)
    crash(life, 2.0, FIRST)
    answer = crash(life, 3.0, respawn(life, 2.5))
    assert details(answer, "server_failed") == {
        "reason": "exited with code 1: boom",
        "attempts": 1,
        "of": 1,
        "retry_in": 100.0,
    }
    answer = life.handle(facts.Tick(103.0, "web"))
    assert details(answer, "server_starting") == {"cause": "retry", "attempt": 1, "of": 1}


def test_who_is_not_autonomous_gives_up_before_any_attempt() -> None:
    """attempts says what was used, not what there was; there is no next time."""
    life = healthy(autonomous=False, max_retries=3, retry_failed_after=0.0)
    answer = crash(life, 2.0, FIRST)
    assert details(answer, "server_failed")["attempts"] == 0
    life = healthy(max_retries=0, retry_failed_after=0.0)
    assert details(crash(life, 2.0, FIRST), "server_failed")["retry_in"] is None


@pytest.mark.parametrize(("spread", "delay"), [(1.0, 1.2), (0.0, 1.0), (-1.0, 0.8)])
def test_a_wait_is_spread_by_its_jitter(spread: float, delay: float) -> None:
    """A share of the wait, added or taken away; it is what the journal says and what is waited."""
    asked: list[float] = []

    def draw() -> float:
        asked.append(spread)
        return spread

    life = Lifecycle(system(jitter=0.2), 0.0, draw)
    life.handle(facts.Start(0.0, "web"))
    life.handle(facts.Opened(0.0, "web"))
    crash(life, 1.0, respawn(life, 0.5))
    assert asked == []
    answer = crash(life, 2.0, respawn(life, 1.5))
    assert details(answer, "restart_scheduled")["delay"] == pytest.approx(delay)
    assert life.due == pytest.approx(2.0 + delay)
    assert asked == [spread]


def test_a_thousand_attempts_overflow_nothing() -> None:
    """The power of two has an end before that of floats."""
    _, waits = crash_until_failed(healthy(max_retries=1100, backoff_cap=0.5), 2.0, FIRST)
    assert waits[-1] == 0.5


# --- health -----------------------------------------------------------------------------------------------------------


def test_a_starting_system_is_probed_ever_less_and_never_more_than_a_quarter_of_a_second_apart() -> None:
    """A tenth of its age, within STARTING_LOOKS."""
    life = started()
    for at, wait in ((0.05, 0.01), (0.5, 0.05), (2.0, 0.2), (10.0, 0.25)):
        assert life.handle(facts.Probed(at, "web", FIRST, REFUSED)) == []
        assert life.deadline() == pytest.approx(at + wait)


def test_a_healthy_system_is_probed_at_its_interval_without_a_word() -> None:
    """Good probes of the healthy are no news; one after failures is."""
    life = healthy(interval=7.0)
    assert life.deadline() == 8.0
    assert life.handle(facts.Probed(8.0, "web", FIRST, OK)) == []
    assert (life.deadline(), life.last_at) == (15.0, 8.0)
    life.handle(facts.Probed(15.0, "web", FIRST, SILENT))
    assert life.error == SILENT.reason
    answer = life.handle(facts.Probed(16.0, "web", FIRST, OK))
    assert details(answer, "health_check") == {
        "healthy": True,
        "state": "healthy",
        "error": None,
        "failures": 0,
        "latency_ms": 2.0,
    }
    assert (life.error, life.deadline()) == (None, 23.0)


def test_a_failed_probe_of_the_healthy_is_written_and_counted_from_the_first() -> None:
    """health_check: not healthy although the state is; downtime is that of the first of the row."""
    life = healthy(failure_threshold=3)
    answer = life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    assert details(answer, "health_check") == {
        "healthy": False,
        "state": "healthy",
        "error": SILENT.reason,
        "failures": 1,
        "latency_ms": None,
    }
    life.handle(facts.Probed(7.0, "web", FIRST, SILENT))
    assert (life.state, life.down_since, life.deadline()) == (State.HEALTHY, 6.0, 7.0 + SECOND_LOOK)
    answer = life.handle(facts.Probed(8.0, "web", FIRST, SILENT))
    assert events(answer) == ["health_check", "server_unhealthy"]
    assert details(answer, "server_unhealthy") == {"reason": SILENT.reason, "failures": 3, "pid": 101}


def test_failures_that_a_good_probe_ended_do_not_count_as_downtime() -> None:
    """The next row has its own beginning."""
    life = healthy(failure_threshold=2)
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    life.handle(facts.Probed(7.0, "web", FIRST, OK))
    life.handle(facts.Probed(12.0, "web", FIRST, SILENT))
    life.handle(facts.Probed(13.0, "web", FIRST, SILENT))
    assert life.down_since == 12.0


def test_what_hangs_and_is_not_autonomous_is_probed_at_its_interval_without_a_word() -> None:
    """It is called unhealthy once; then nothing but a good probe is news."""
    life = hanging()
    assert life.deadline() == 11.0
    assert life.handle(facts.Probed(11.0, "web", FIRST, SILENT)) == []
    assert (life.deadline(), life.failures) == (16.0, 1)
    assert actions(life.handle(facts.Tick(16.0, "web"))) == [Look("web", FIRST, verify=True)]


def test_a_probe_of_what_is_brought_down_changes_nothing() -> None:
    """A late good answer does not call off what has begun."""
    life = healthy(failure_threshold=1)
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    assert life.handle(facts.Probed(6.5, "web", FIRST, OK)) == []
    assert (life.state, life.last) == (State.UNHEALTHY, SILENT)


def test_a_good_start_ends_the_reason_and_is_written_with_its_times() -> None:
    """server_started: pid, took, latency."""
    life = started()
    life.handle(facts.Probed(0.5, "web", FIRST, REFUSED))
    assert life.error == REFUSED.reason
    answer = life.handle(facts.Probed(1.0, "web", FIRST, Outcome(ok=True, latency=0.0125)))
    assert life.error is None
    assert details(answer, "server_started") == {"pid": 101, "took": 1.0, "latency_ms": 12.5}
    assert details(answer, "health_check")["latency_ms"] == 12.5
    assert life._stable_at == 61.0


def test_the_same_holder_is_news_again_after_health() -> None:
    """port_conflict once for each time it is in the way."""
    conflict = Outcome(ok=False, reason="held", verified=False, holder=Holder(7, "nc"))
    life = started()
    assert events(life.handle(facts.Probed(0.5, "web", FIRST, conflict))) == ["port_conflict"]
    assert life.error == "port 5000 is held by pid 7 (nc)"
    life.handle(facts.Probed(1.0, "web", FIRST, OK))
    crash(life, 2.0, FIRST)
    process = respawn(life, 2.1)
    assert events(life.handle(facts.Probed(2.5, "web", process, conflict))) == ["port_conflict"]


def test_a_new_start_forgets_what_the_last_process_answered() -> None:
    """Latency and metrics of a dead process are nobody's; its failures do not count for the next."""
    life = healthy()
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    crash(life, 7.0, FIRST)
    assert (life.state, life.last, life.failures) == (State.STARTING, None, 0)
    assert life.check()["latency_ms"] is None


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_probe_that_nobody_answers_is_made_again() -> None:
    """After its timeout and PROBE_PATIENCE."""
    life = healthy(interval=5.0, timeout=2.0)
    assert actions(life.handle(facts.Tick(6.0, "web"))) == [Look("web", FIRST, verify=False)]
    assert life.deadline() == 8.0 + PROBE_PATIENCE
    assert life.handle(facts.Tick(12.9, "web")) == []
    assert actions(life.handle(facts.Tick(13.0, "web"))) == [Look("web", FIRST, verify=False)]


def test_attempts_are_forgiven_once_and_not_for_ever() -> None:
    """Stable health is no deadline any more when it has been reached."""
    life = healthy(stable_after=60.0, interval=1000.0)
    assert life.deadline() == 61.0
    life.handle(facts.Tick(61.0, "web"))
    assert life.deadline() == 1001.0


def test_a_start_that_nobody_answered_for_says_so_when_its_time_is_up() -> None:
    """server_unhealthy, with no probe's reason to give; the downtime counts from there."""
    life = started(start_timeout=15.0)
    answer = life.handle(facts.Tick(15.0, "web"))
    assert details(answer, "server_unhealthy") == {
        "reason": "not healthy within 15 s of its start: no answer",
        "failures": 0,
        "pid": 101,
    }
    assert (life.down_since, life.deadline()) == (15.0, 20.0)


def test_the_first_spawn_since_a_wish_is_its_beginning_however_often_it_crashes() -> None:
    """The gate's bound counts from there."""
    life = started()
    crash(life, 3.0, FIRST)
    assert life.began == 0.0
    life.handle(facts.Spawned(4.0, "web", SECOND))
    assert life.began == 0.0


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_wish_that_changes_no_state_changes_no_since(verb: Literal["stop", "restart"]) -> None:
    """``since`` is when the state was entered, not when it was last confirmed."""
    life = healthy()
    life.handle(facts.Stop(2.0, "web"))
    life.handle(facts.Stop(3.0, "web") if verb == "stop" else facts.Restart(3.0, "web"))
    assert (life.state, life.since) == (State.STOPPING, 2.0)


def test_a_record_names_its_system() -> None:
    """Every record of a life is of its own key."""
    answer = [*crash(healthy(), 2.0, FIRST), *in_backoff().handle(facts.Stop(9.0, "web"))]
    assert {each.key for each in answer if isinstance(each, Record)} == {"web"}
