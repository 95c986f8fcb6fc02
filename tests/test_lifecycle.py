"""The state machine of one system, scenario by scenario."""

from typing import Any

import pytest

from aurora_circus import facts
from aurora_circus.facts import Exit, Holder, Kill, Look, Outcome, Process, Spawn, State, Terminate
from aurora_circus.lifecycle import BUSY_RETRY, KILL_PATIENCE, SECOND_LOOK, SPAWN_PATIENCE, Answer, Lifecycle
from tests.world import OK, REFUSED, SILENT, actions, details, events, system

FIRST = Process(101, 1.0)
SECOND = Process(102, 2.0)


def started(**changes: Any) -> Lifecycle:
    """Return a system that was spawned at 0 as FIRST."""
    life = Lifecycle(system(**changes), 0.0)
    life.handle(facts.Start(0.0, "web"))
    life.handle(facts.Opened(0.0, "web"))
    life.handle(facts.Spawned(0.0, "web", FIRST))
    return life


def healthy(**changes: Any) -> Lifecycle:
    """Return a system that is healthy since 1."""
    life = started(**changes)
    life.handle(facts.Probed(1.0, "web", FIRST, OK))
    return life


def crash(life: Lifecycle, at: float, process: Process, how: Exit | None = None) -> Answer:
    """Let its process die and its group be gone; return the answers to both."""
    answer = life.handle(facts.Exited(at, "web", process, how or Exit(code=1, last_line="boom")))
    return [*answer, *life.handle(facts.Gone(at, "web", process))]


def respawn(life: Lifecycle, at: float) -> Process:
    """Answer a spawn with a new process."""
    process = Process(int(at * 1000) + 1000, at)
    life.handle(facts.Spawned(at, "web", process))
    return process


def crash_until_failed(life: Lifecycle, at: float, process: Process) -> tuple[int, list[float]]:
    """Let every process die at once; return the number of starts and the waits before them."""
    starts, waits = 0, []
    answer = crash(life, at, process)
    while life.state is not State.FAILED:
        waits.append(float(str(details(answer, "restart_scheduled")["delay"])))
        if life.state is State.BACKOFF:
            assert life.due is not None
            at = life.due
            answer = life.handle(facts.Tick(at, "web"))
        assert Spawn("web") in actions(answer)
        starts += 1
        process = respawn(life, at)
        answer = crash(life, at, process)
    return starts, waits


def test_a_first_start_waits_at_the_gate_and_is_healthy_with_the_first_good_probe() -> None:
    """stopped → waiting → starting → healthy."""
    life = Lifecycle(system(), 0.0)
    assert life.handle(facts.Start(0.0, "web")) == []
    assert life.state is State.WAITING
    assert actions(life.handle(facts.Opened(1.0, "web"))) == [Spawn("web")]
    assert life.state is State.STARTING
    life.handle(facts.Spawned(1.1, "web", FIRST))
    answer = life.handle(facts.Probed(2.0, "web", FIRST, OK))
    assert life.state is State.HEALTHY
    assert events(answer) == ["health_check", "server_started"]
    assert details(answer, "server_started")["took"] == pytest.approx(0.9)


def test_the_journal_names_the_dependencies_that_were_not_there() -> None:
    """A gate that opens by its bound says whom it did without."""
    life = Lifecycle(system(), 0.0)
    life.handle(facts.Start(0.0, "web"))
    assert details(life.handle(facts.Opened(15.0, "web", ("db",))), "server_starting")["missing"] == ["db"]


@pytest.mark.parametrize(("critical", "attempts"), [(False, 3), (True, 6)])
def test_a_crash_loop_ends_after_the_attempts_of_the_policy(critical: bool, attempts: int) -> None:
    """Three attempts, six if critical, with waits of 0, 1, 2, 4, … seconds; then failed, with the reason."""
    life = healthy(critical=critical)
    starts, waits = crash_until_failed(life, 2.0, FIRST)
    assert starts == attempts
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0][:attempts]
    assert life.error == "exited with code 1: boom"
    assert life.due is not None


def test_waits_are_capped() -> None:
    """No wait is longer than backoff_cap."""
    _, waits = crash_until_failed(healthy(max_retries=12, backoff_cap=5.0), 2.0, FIRST)
    assert max(waits) == 5.0


def test_a_failed_system_is_tried_once_each_time_its_own_retry_comes() -> None:
    """One attempt after retry_failed_after; failing that it has failed again, with a new time."""
    life = healthy(max_retries=0, retry_failed_after=100.0)
    crash(life, 2.0, FIRST)
    assert (life.state, life.due) == (State.FAILED, 102.0)
    assert actions(life.handle(facts.Tick(102.0, "web"))) == [Spawn("web")]
    answer = crash(life, 103.0, respawn(life, 102.5))
    assert events(answer)[-1] == "server_failed"
    assert (life.state, life.due) == (State.FAILED, 203.0)


def test_a_failed_system_without_retries_stays_failed() -> None:
    """retry_failed_after = 0 means never."""
    life = healthy(max_retries=0, retry_failed_after=0.0)
    crash(life, 2.0, FIRST)
    assert (life.state, life.deadline()) == (State.FAILED, None)


def test_one_failed_probe_is_looked_at_again_soon_and_two_bring_it_down() -> None:
    """Below the threshold the next look comes in a second; at the threshold the group gets SIGTERM."""
    life = healthy()
    answer = life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    assert (life.state, life.deadline()) == (State.HEALTHY, 6.0 + SECOND_LOOK)
    assert events(answer) == ["health_check"]
    answer = life.handle(facts.Probed(8.0, "web", FIRST, SILENT))
    assert life.state is State.UNHEALTHY
    assert actions(answer) == [Terminate("web", FIRST)]
    assert details(answer, "server_unhealthy")["failures"] == 2


def test_a_bad_probe_that_was_overtaken_by_a_good_one_is_followed_by_the_second_look() -> None:
    """One whose answer took long may come back after the next: what the other one had time for, this one has not."""
    life = healthy(interval=10.0)
    process = life.process
    assert process is not None
    life.handle(facts.Probed(20.0, "web", process, OK))
    life.handle(facts.Probed(21.0, "web", process, REFUSED))
    assert life.deadline() == 21.0 + SECOND_LOOK
    assert actions(life.handle(facts.Tick(21.0 + SECOND_LOOK, "web"))) == [Look("web", process, verify=False)]


def test_a_good_probe_between_two_failures_counts_from_none_again() -> None:
    """Only failures in a row count."""
    life = healthy()
    for at, outcome in ((6.0, SILENT), (7.0, OK), (12.0, SILENT)):
        life.handle(facts.Probed(at, "web", FIRST, outcome))
    assert (life.state, life.failures) == (State.HEALTHY, 1)


def test_what_ignores_sigterm_is_killed_when_the_grace_period_is_over() -> None:
    """SIGKILL to the group at graceful_timeout, and again while anybody is left."""
    life = healthy(failure_threshold=1, graceful_timeout=5.0)
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    assert life.deadline() == 11.0
    assert actions(life.handle(facts.Tick(11.0, "web"))) == [Kill("web", FIRST)]
    assert actions(life.handle(facts.Tick(11.0 + KILL_PATIENCE, "web"))) == [Kill("web", FIRST)]


def test_the_rest_of_a_crashed_group_is_killed_before_the_restart() -> None:
    """A crash leaves nobody behind: SIGKILL at once, the restart when the group is gone."""
    life = healthy()
    assert actions(life.handle(facts.Exited(2.0, "web", FIRST, Exit(code=1)))) == [Kill("web", FIRST)]
    assert actions(life.handle(facts.Gone(2.1, "web", FIRST))) == [Spawn("web")]


def test_recovery_says_how_long_it_was_down_from_the_first_failed_probe() -> None:
    """server_recovered: downtime counts from the first failure, not from the threshold."""
    life = healthy()
    life.handle(facts.Probed(6.0, "web", FIRST, SILENT))
    life.handle(facts.Probed(9.0, "web", FIRST, SILENT))
    crash(life, 9.5, FIRST)
    process = respawn(life, 9.6)
    assert details(life.handle(facts.Probed(10.0, "web", process, OK)), "server_recovered")["downtime"] == 4.0


def test_stable_health_forgives_attempts() -> None:
    """Healthy for stable_after: attempts count from none."""
    life = healthy(stable_after=60.0)
    crash(life, 2.0, FIRST)
    process = respawn(life, 2.1)
    life.handle(facts.Probed(3.0, "web", process, OK))
    life.handle(facts.Tick(62.9, "web"))
    assert life.attempt == 1
    life.handle(facts.Tick(63.0, "web"))
    assert life.attempt == 0


def test_a_start_that_is_not_healthy_in_time_is_a_failed_attempt() -> None:
    """start_timeout counts from the spawn; what hangs then is brought down."""
    life = started(start_timeout=15.0)
    life.handle(facts.Probed(1.0, "web", FIRST, REFUSED))
    answer = life.handle(facts.Tick(15.0, "web"))
    assert (life.state, actions(answer)[-1]) == (State.UNHEALTHY, Terminate("web", FIRST))
    assert life.error == "not healthy within 15 s of its start: connection refused"


def test_a_probe_of_an_earlier_process_changes_nothing() -> None:
    """Hold until a new process: late answers of the old one are nobody's."""
    life = healthy()
    crash(life, 2.0, FIRST)
    respawn(life, 2.1)
    assert life.handle(facts.Probed(2.2, "web", FIRST, OK)) == []
    assert life.state is State.STARTING


def test_the_end_of_an_earlier_group_is_not_that_of_the_present_one() -> None:
    """A straggler of the process before last may be seen to go at any time."""
    life = healthy()
    life.handle(facts.Restart(2.0, "web", external=True))
    life.handle(facts.Spawned(2.1, "web", SECOND))
    life.handle(facts.Stop(2.2, "web"))
    assert life.handle(facts.Gone(2.3, "web", FIRST)) == []
    assert life.state is State.STOPPING


def test_an_impostor_on_the_port_is_a_conflict_and_never_health() -> None:
    """port_conflict once per holder, with pid and command; the exit that follows keeps that as its reason."""
    life = started()
    nc = Holder(7, "nc")
    outcome = Outcome(ok=False, reason="port 5000 is held by pid 7 (nc)", verified=False, holder=nc)
    answer = life.handle(facts.Probed(1.0, "web", FIRST, outcome))
    assert details(answer, "port_conflict") == {"port": 5000, "pid": 7, "command": "nc"}
    assert events(life.handle(facts.Probed(1.1, "web", FIRST, outcome))) == []
    assert life.state is State.STARTING
    assert events(life.handle(facts.Exited(1.2, "web", FIRST, Exit(code=1), nc))) == ["server_exited"]
    assert life.error == "port 5000 is held by pid 7 (nc)"


def test_the_listener_is_verified_before_each_process_is_called_healthy_and_not_again() -> None:
    """Whatever an earlier look saw, none that could make it healthy goes without."""
    life = started()
    assert actions(life.handle(facts.Tick(0.01, "web"))) == [Look("web", FIRST, verify=True)]
    conflict = Outcome(ok=False, reason="held", verified=False, holder=Holder(7, "nc"))
    life.handle(facts.Probed(0.02, "web", FIRST, conflict))
    assert actions(life.handle(facts.Tick(0.05, "web"))) == [Look("web", FIRST, verify=True)]
    life.handle(facts.Probed(1.0, "web", FIRST, OK))
    assert actions(life.handle(facts.Tick(6.0, "web"))) == [Look("web", FIRST, verify=False)]


def test_an_operators_stop_wins_over_a_backoff() -> None:
    """Stop in backoff: stopped at once, and nothing comes of the attempt."""
    life = healthy()
    crash(life, 2.0, FIRST)
    crash(life, 2.1, respawn(life, 2.05))
    assert life.state is State.BACKOFF
    assert events(life.handle(facts.Stop(2.2, "web"))) == ["server_stopped"]
    assert (life.state, life.deadline()) == (State.STOPPED, None)


def test_a_stop_during_a_spawn_ends_what_comes_of_it() -> None:
    """The process is terminated as soon as it is known."""
    life = Lifecycle(system(), 0.0)
    life.handle(facts.Start(0.0, "web"))
    life.handle(facts.Opened(0.0, "web"))
    assert actions(life.handle(facts.Stop(0.1, "web"))) == []
    assert life.state is State.STOPPING
    assert actions(life.handle(facts.Spawned(0.2, "web", FIRST))) == [Terminate("web", FIRST)]
    crash(life, 0.3, FIRST)
    assert life.state is State.STOPPED


def test_a_start_during_a_stop_starts_again_when_the_stop_is_done() -> None:
    """The later wish wins, after the earlier one has come to its end."""
    life = healthy()
    life.handle(facts.Stop(2.0, "web"))
    life.handle(facts.Start(2.1, "web"))
    assert actions(crash(life, 2.2, FIRST))[-1] == Spawn("web")


def test_a_restart_uses_no_attempt() -> None:
    """An operator's restart is not a failure."""
    life = healthy()
    assert actions(life.handle(facts.Restart(2.0, "web"))) == [Terminate("web", FIRST)]
    crash(life, 2.1, FIRST)
    assert (life.state, life.attempt) == (State.STARTING, 0)


def test_a_manual_start_of_a_failed_system_begins_with_all_attempts() -> None:
    """failed is left by an operator, who has all attempts again."""
    life = healthy(max_retries=1)
    crash_until_failed(life, 2.0, FIRST)
    assert actions(life.handle(facts.Start(9.0, "web"))) == [Spawn("web")]
    assert life.attempt == 0


def test_what_circusd_stops_for_its_operator_is_not_signalled_twice_but_ended_in_time() -> None:
    """An outside stop sends no SIGTERM of ours; SIGKILL comes when the grace period is over."""
    life = healthy(graceful_timeout=5.0)
    assert actions(life.handle(facts.Stop(2.0, "web", external=True))) == []
    assert actions(life.handle(facts.Tick(7.0, "web"))) == [Kill("web", FIRST)]


def test_a_process_that_appears_by_itself_is_taken_over_when_wanted() -> None:
    """circusctl start on what was waiting: the process is ours now."""
    life = Lifecycle(system(), 0.0)
    life.handle(facts.Start(0.0, "web"))
    life.handle(facts.Spawned(1.0, "web", FIRST))
    assert (life.state, life.process) == (State.STARTING, FIRST)


def test_a_process_that_nobody_wants_is_brought_down() -> None:
    """What is not wanted does not run, whoever started it."""
    life = Lifecycle(system(), 0.0)
    assert actions(life.handle(facts.Spawned(1.0, "web", FIRST))) == [Terminate("web", FIRST)]
    crash(life, 1.1, FIRST)
    assert life.state is State.STOPPED


def test_a_spawn_that_circusd_had_no_time_for_uses_no_attempt() -> None:
    """Busy is not a failure: the same attempt, a second later."""
    life = Lifecycle(system(), 0.0)
    life.handle(facts.Start(0.0, "web"))
    life.handle(facts.Opened(0.0, "web"))
    life.handle(facts.SpawnFailed(1.0, "web", "already running watcher_stop", busy=True))
    assert (life.state, life.attempt, life.due) == (State.BACKOFF, 0, 1.0 + BUSY_RETRY)
    assert actions(life.handle(facts.Tick(1.0 + BUSY_RETRY, "web"))) == [Spawn("web")]


def test_a_spawn_that_nobody_answers_for_is_a_failed_one() -> None:
    """starting has an end even where circusd says nothing at all."""
    life = Lifecycle(system(), 0.0)
    life.handle(facts.Start(0.0, "web"))
    life.handle(facts.Opened(0.0, "web"))
    assert life.deadline() == SPAWN_PATIENCE
    answer = life.handle(facts.Tick(SPAWN_PATIENCE, "web"))
    assert "restart_scheduled" in events(answer)


def test_a_system_that_is_not_autonomous_is_never_restarted_by_itself() -> None:
    """It has failed when it exits, without a next time; while it hangs it is left alone and may come back."""
    life = healthy(autonomous=False, failure_threshold=1)
    assert actions(life.handle(facts.Probed(6.0, "web", FIRST, SILENT))) == []
    assert life.state is State.UNHEALTHY
    assert "server_recovered" in events(life.handle(facts.Probed(11.0, "web", FIRST, OK)))
    crash(life, 12.0, FIRST)
    assert (life.state, life.deadline()) == (State.FAILED, None)


def test_what_is_left_over_serves_until_its_turn_and_is_then_replaced() -> None:
    """A process of an earlier circusd goes on while its system waits; the gate's opening ends and replaces it."""
    life = Lifecycle(system(), 0.0)
    life.resume(0.0, State.WAITING, None)
    life.wanted, life.process = True, FIRST
    assert actions(life.handle(facts.Opened(1.0, "web"))) == [Terminate("web", FIRST)]
    assert actions(crash(life, 1.1, FIRST))[-1] == Spawn("web")


def test_an_adopted_process_is_disturbed_by_nothing_and_not_called_started() -> None:
    """A plugin that comes back probes what runs and says what it is."""
    life = Lifecycle(system(), 0.0)
    life.wanted = True
    life.adopt(5.0, FIRST)
    assert actions(life.handle(facts.Tick(5.0, "web"))) == [Look("web", FIRST, verify=True)]
    assert events(life.handle(facts.Probed(5.1, "web", FIRST, OK))) == ["health_check"]


def test_a_shutdown_by_circusd_starts_and_ends_nothing() -> None:
    """Drain: no action at all, stopped when it is gone."""
    life = healthy()
    assert actions(life.handle(facts.Drain(2.0, "web"))) == []
    answer = life.handle(facts.Exited(3.0, "web", FIRST, Exit(signal="SIGTERM")))
    assert State.STOPPING is life.state
    assert Spawn("web") not in actions(answer)
    assert events(life.handle(facts.Gone(3.1, "web", FIRST))) == ["server_stopped"]


def test_during_a_shutdown_by_circusd_nothing_of_ours_ends_or_starts_anybody() -> None:
    """Not a failed probe, not a deadline, not a spawn that circusd had no time for."""
    life = healthy(failure_threshold=1)
    life.handle(facts.Drain(2.0, "web"))
    assert life.handle(facts.Probed(3.0, "web", FIRST, SILENT)) == []
    assert life.deadline() is None
    spawning = Lifecycle(system(), 0.0)
    spawning.handle(facts.Start(0.0, "web"))
    spawning.handle(facts.Opened(0.0, "web"))
    spawning.handle(facts.Drain(1.0, "web"))
    assert events(spawning.handle(facts.SpawnFailed(2.0, "web", "busy", busy=True))) == ["server_stopped"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Exit(code=0), "exited with code 0"),
        (Exit(signal="SIGKILL"), "killed by SIGKILL"),
        (Exit(signal="SIGSEGV", last_line="loading"), "killed by SIGSEGV; its last output: loading"),
        (Exit(code=1, last_line="ImportError: no flask"), "exited with code 1: ImportError: no flask"),
        (Exit(), "ended, nobody saw how"),
    ],
)
def test_an_exit_is_said_in_words(how: Exit, words: str) -> None:
    """Code or signal, and the last line of its output."""
    assert str(how) == words
