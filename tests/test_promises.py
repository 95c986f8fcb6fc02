"""What is promised of a drill: that the state machine keeps it, and that a judgement says what came."""

import heapq
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aurora_circus import facts, promises
from aurora_circus.drill_names import Fault
from aurora_circus.facts import Exit, Fact, Look, Process, Record, Spawn, State, Terminate
from aurora_circus.lifecycle import Lifecycle
from aurora_circus.promises import NOTICED, RECOVERED, STRUCK, Course, Policy, Promise
from aurora_circus.settings import System
from tests.world import OK, SILENT, system

QUICK = 0.01
"""Seconds that a good probe takes, and an end by force."""
LATENCIES = 0.05
FAULTS = [each for each in Fault if each is not Fault.PLUGIN_KILL]


def policy(life: Lifecycle) -> Policy:
    """Return what the API would explain of a system."""
    probe, restart = life.system.probe, life.system.restart
    told = {
        "interval": probe.interval,
        "timeout": probe.timeout,
        "failure_threshold": probe.failure_threshold,
        "graceful_timeout": life.system.graceful_timeout,
        "start_timeout": restart.start_timeout,
        "backoff_base": restart.backoff_base,
        "backoff_cap": restart.backoff_cap,
        "jitter": restart.jitter,
    }
    return Policy.of({"policy": {**told, "stable_after": 1.0}, "attempts_used": life.attempt})


class Drilled:
    """One real state machine and a world that strikes it at a time; ``course`` is told what it writes."""

    def __init__(
        self, made: System, fault: Fault, *, at: float, starts: float, strikes: int, spread: float, used: int
    ) -> None:
        """``starts`` are the seconds that it takes to become healthy, ``used`` its attempts before."""
        self.life = Lifecycle(made, 0.0, lambda: spread)
        self._fault, self._at, self._starts = fault, at, starts
        self._left, self._used = strikes, used
        self._number, self._pid = count(), 1
        self._coming: list[tuple[float, int, Fact]] = []
        self._struck = False
        self.course: Course | None = None
        self.promised: list[Promise] = []

    def run(self) -> dict[str, float]:
        """Play it until the end, and return the moments."""
        self._take(0.0, facts.Start(0.0, "web"))
        self._take(0.0, facts.Opened(0.0, "web"))
        for _ in range(100_000):
            due = self.life.deadline()
            now = min(each for each in (due, self._coming[0][0] if self._coming else None) if each is not None)
            if not self._struck and now >= self._at:
                self._strike(self._at)
            elif self._coming and self._coming[0][0] <= now:
                self._take(now, heapq.heappop(self._coming)[2])
            else:
                self._take(now, facts.Tick(now, "web"))
            if self.course is not None and self.course.over:
                return self.course.moments
        message = "it never came to an end"
        raise AssertionError(message)

    def _strike(self, now: float) -> None:
        assert self.life.state is State.HEALTHY
        assert self.life.process is not None
        self._struck = True
        self.life.attempt = self._used
        self.course = Course("web", self.life.process.pid)
        self.promised = promises.of(self._fault, policy(self.life), self._left)
        if self._fault in {Fault.KILL, Fault.CRASH_LOOP}:
            self._end(now, self.life.process)

    def _end(self, now: float, process: Process) -> None:
        self._left -= 1
        self._soon(facts.Exited(now + QUICK, "web", process, Exit(signal="SIGKILL")))
        self._soon(facts.Gone(now + QUICK, "web", process))

    def _soon(self, fact: Fact) -> None:
        heapq.heappush(self._coming, (fact.at, next(self._number), fact))

    def _take(self, now: float, fact: Fact) -> None:
        for each in self.life.handle(fact):
            match each:
                case Record(_, event, details) if self.course is not None:
                    self.course.take([{"event": event, "server": "web", "details": details}], now - self._at)
                case Spawn():
                    self._pid += 1
                    process = Process(self._pid, now)
                    self._soon(facts.Spawned(now + QUICK, "web", process))
                    if self._struck and self._fault is Fault.CRASH_LOOP and self._left > 0:
                        self._end(now + QUICK, process)
                case Look(_, process):
                    self._look(now, process)
                case facts.Kill(_, process) | Terminate(_, process) if self._goes(each):
                    self._soon(facts.Exited(now + QUICK, "web", process, Exit(code=0)))
                    self._soon(facts.Gone(now + QUICK, "web", process))

    def _goes(self, action: object) -> bool:
        """Say whether it ends on that: what is frozen, and what is stubborn, goes by force alone."""
        return isinstance(action, facts.Kill) and self._fault not in {Fault.KILL, Fault.CRASH_LOOP}

    def _look(self, now: float, process: Process) -> None:
        ill = self._struck and self.course is not None and process.pid == self.course.old
        if ill and self._fault is Fault.HTTP_500:
            self._soon(facts.Probed(now + QUICK, "web", process, SILENT))
        elif ill or now - process.started < self._starts:
            wait = self.life.system.probe.timeout if ill else QUICK
            self._soon(facts.Probed(now + wait, "web", process, SILENT))
        else:
            self._soon(facts.Probed(now + QUICK, "web", process, OK))


SECONDS = st.floats(0.1, 20.0, allow_nan=False)


@given(
    fault=st.sampled_from(FAULTS),
    interval=SECONDS,
    timeout=SECONDS,
    threshold=st.integers(1, 4),
    grace=st.floats(0.0, 10.0),
    base=st.floats(0.0, 5.0),
    cap=st.floats(0.0, 8.0),
    jitter=st.floats(0.0, 1.0),
    spread=st.floats(-1.0, 1.0),
    start=st.floats(2.0, 30.0),
    phase=st.floats(0.0, 1.0),
    attempt=st.integers(0, 2),
    strikes=st.integers(2, 3),
)
@example(  # the longest waits that there are
    fault=Fault.CRASH_LOOP,
    interval=1.0,
    timeout=1.0,
    threshold=1,
    grace=1.0,
    base=5.0,
    cap=8.0,
    jitter=1.0,
    spread=1.0,
    start=10.0,
    phase=0.5,
    attempt=2,
    strikes=3,
)
def test_the_state_machine_keeps_what_is_promised_of_it(
    *,
    fault: Fault,
    interval: float,
    timeout: float,
    threshold: int,
    grace: float,
    base: float,
    cap: float,
    jitter: float,
    spread: float,
    start: float,
    phase: float,
    attempt: int,
    strikes: int,
) -> None:
    """Under any policy, whenever it is struck, with any number of attempts used, as slowly as it may just start."""
    made = system(
        interval=interval,
        timeout=timeout,
        failure_threshold=threshold,
        graceful_timeout=grace,
        backoff_base=base,
        backoff_cap=cap,
        jitter=jitter,
        start_timeout=start,
        stable_after=1e9,
        max_retries=5,
    )
    drilled = Drilled(
        made,
        fault,
        at=100.0 + phase * interval,
        starts=start - 0.5,
        strikes=strikes if fault is Fault.CRASH_LOOP else 1,
        spread=spread,
        used=attempt,
    )
    moments = drilled.run()
    assert drilled.course is not None
    assert drilled.course.spoilt is None
    for each in promises.judge(drilled.promised, moments, LATENCIES):
        assert each.kept, f"{each.promise} took {each.took}"


@given(within=SECONDS, slack=st.floats(0.0, 5.0), begins=st.floats(0.0, 100.0), took=st.floats(0.0, 100.0))
def test_in_time_is_within_what_was_promised_and_the_slack(
    within: float, slack: float, begins: float, took: float
) -> None:
    """From its own first moment on, not from the fault's."""
    each = Promise("healthy again", NOTICED, RECOVERED, within, "")
    (verdict,) = promises.judge([each], {NOTICED: begins, RECOVERED: begins + took}, slack)
    assert verdict.took == pytest.approx(took)
    assert verdict.kept == (verdict.took is not None and verdict.took <= within + slack)


@pytest.mark.parametrize("moments", [{}, {NOTICED: 1.0}, {RECOVERED: 1.0}])
def test_what_never_came_was_not_kept(moments: dict[str, float]) -> None:
    """However much slack there is."""
    (verdict,) = promises.judge([Promise("healthy again", NOTICED, RECOVERED, 1e9, "")], moments, 1e9)
    assert (verdict.took, verdict.kept) == (None, False)


def explained(**changes: Any) -> dict[str, Any]:
    """Return what the API explains of a system with the default settings."""
    made = Lifecycle(system(**changes), 0.0)
    return {"policy": {name: getattr(policy(made), name) for name in Policy.__dataclass_fields__}, "attempts_used": 0}


def test_the_default_settings_promise_what_the_design_asks_for() -> None:
    """Hung: noticed in less than 30 s. Killed: healthy again in less than 60 s."""
    default = Policy.of(explained(jitter=0.1))
    hung, killed = promises.of(Fault.HANG, default, 1), promises.of(Fault.KILL, default, 1)
    assert hung[0].within == 10.0
    assert hung[0].why == "interval 5 s + timeout 2 s + 1 × (1 s + 2 s)"
    assert [(each.since, each.until) for each in killed] == [
        (STRUCK, NOTICED),
        (NOTICED, RECOVERED),
        (STRUCK, RECOVERED),
    ]
    assert killed[2].within == 60.0
    assert promises.longest(killed) < 60.0


def test_what_the_settings_ask_for_is_no_broken_promise() -> None:
    """A system that may take two minutes to start may take them."""
    slow = Policy.of(explained(start_timeout=120.0))
    killed = promises.of(Fault.KILL, slow, 1)
    assert killed[2].within == killed[0].within + killed[1].within > 120.0


def test_the_plugin_has_a_promise_of_its_own() -> None:
    """circusd is told of its end."""
    (each,) = promises.of(Fault.PLUGIN_KILL, None, 0)
    assert (each.since, each.until, each.within) == (STRUCK, promises.BACK, 2.0)
    assert promises.longest([each]) == 2.0


def record(event: str, server: str | None = "web", **details: object) -> dict[str, Any]:
    """Return a record."""
    return {"event": event, "server": server, "details": details}


def test_a_course_is_read_from_the_records_of_its_own_system() -> None:
    """The end of the old process and the health of another one; nobody else's, and no other process's."""
    course = Course("web", 7)
    course.take([record("server_exited", "other", pid=7), record("server_exited", pid=6)], 1.0)
    course.take([record("server_recovered", "other", pid=8), record("server_started", pid=7)], 2.0)
    assert (course.moments, course.over) == ({}, False)
    course.take([record("server_unhealthy", pid=7)], 3.0)
    course.take([record("server_exited", pid=7)], 4.0)
    course.take([record("server_recovered", pid=8), record("server_exited", pid=8)], 5.0)
    assert (course.moments, course.new, course.spoilt) == ({NOTICED: 3.0, RECOVERED: 5.0}, 8, None)
    assert course.over


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (record("server_failed", reason="exited with code 1"), "it was given up: exited with code 1"),
        (record("command", verb="stop", by="api", servers=["web"]), "another command: stop, by api"),
        (record("command", None, verb="stop", by="cli", servers=["web", "b"]), "another command: stop, by cli"),
    ],
)
def test_a_course_that_cannot_come_to_its_end_says_why(found: dict[str, Any], words: str) -> None:
    """Given up, or disturbed by somebody."""
    course = Course("web", 7)
    course.take([found, record("server_recovered", pid=8)], 1.0)
    assert course.over
    assert words in str(course.spoilt)
    assert RECOVERED not in course.moments
