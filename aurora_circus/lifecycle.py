"""The life of one system: a pure state machine that is told facts and answers with actions.

It reads no clock and touches nothing: time comes in with each fact, and :meth:`Lifecycle.deadline` says when it
wants to be called again. It must never import circus, zmq, requests, threads or a clock.

The policy
----------
A failure is an exit nobody asked for, ``failure_threshold`` failed probes in a row (the second look comes
:data:`SECOND_LOOK` after the first failure), or a start that is not healthy within ``start_timeout``.
What failed is brought down whole (SIGTERM to the group, ``graceful_timeout``, SIGKILL to the group) and started again
after 0, base, 2 base, 4 base, … seconds, at most ``backoff_cap``, each ± ``jitter``. An *attempt* is a spawn
after a failure; the first start is none. After ``max_retries`` attempts (twice as many for a critical system) it has
``failed``, and is given one more attempt each ``retry_failed_after``. ``stable_after`` seconds of health make the
attempts start again from none. A system that is not ``autonomous`` is never restarted: it has ``failed`` at once when
it exits, and is only called unhealthy while it hangs.

While it starts, it is probed often at first and ever less (a tenth of its age, within :data:`STARTING_LOOKS`), since
what counts then is the moment at which it becomes healthy. Where many start together, each is looked at less often: all
looks together are as many as those of :data:`CROWD` that start, and leave the machine to their start.
"""

from collections.abc import Callable
from typing import Literal

from aurora_circus.facts import (
    Action,
    Drain,
    Exit,
    Exited,
    Fact,
    Gone,
    Holder,
    Kill,
    Look,
    Opened,
    Outcome,
    Probed,
    Process,
    Record,
    Restart,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    Terminate,
    Tick,
)
from aurora_circus.settings import System

SECOND_LOOK = 1.0
"""Seconds after a failed probe until the next one, below the threshold."""
STARTING_LOOKS = (0.01, 0.25)
"""Least and most seconds between the probes of a starting system."""
CROWD = 8
"""Systems that start together and are each looked at as if they were alone."""
SPAWN_PATIENCE = 75.0
"""Seconds after which a spawn nobody answered for is a failed one; the adapter's own bounds are shorter."""
KILL_PATIENCE = 5.0
"""Seconds after which SIGKILL is sent again to what is still there."""
BUSY_RETRY = 1.0
"""Seconds until a spawn is asked for again when circusd had no time for it."""
EARLY = 0.1
"""The part of its interval by which a probe may be made earlier, together with others: waking up costs the most."""
PROBE_PATIENCE = 5.0
"""Seconds beyond its timeout after which a probe nobody answered for is made again."""

WITH_PROCESS = frozenset({State.STARTING, State.HEALTHY, State.UNHEALTHY, State.STOPPING})
"""The states in which there is, or may be, a process."""

Answer = list[Action | Record]


class Lifecycle:
    """One system. Feed :meth:`handle` with facts; do what it answers; call again at :meth:`deadline`."""

    def __init__(self, system: System, at: float, spread: Callable[[], float] = lambda: 0.0) -> None:
        """Begin as ``stopped``. ``spread`` draws from -1 to 1 and is asked once for each jittered wait."""
        self.system = system
        self.state = State.STOPPED
        self.since = at
        self.wanted = False
        self.process: Process | None = None
        self.spawned_at: float | None = None
        self.began: float | None = None
        """When it was first spawned since it was last asked to start; the gate's bound counts from here."""
        self.attempt = 0
        self.restarts = 0
        self.failures = 0
        self.last: Outcome | None = None
        self.last_at: float | None = None
        self.verified: bool | None = None
        self.error: str | None = None
        """Why it is not healthy, in words; None when it is, or is wanted down."""
        self.failure: tuple[float, str] | None = None
        """When and why it last failed, whatever became of it since."""
        self.down_since: float | None = None
        self.due: float | None = None
        """When something becomes of this state by itself; None where nothing does."""
        self._after: Literal["stop", "restart", "rejoin", "recover"] | None = None
        self._never_healthy = True
        self._adopted = False
        self._limit = 0.0
        """Seconds that one which was taken over has to be healthy."""
        self._leftover = False
        self._again = False
        self._holder: Holder | None = None
        self.external = False
        """True while circusd brings it down on somebody else's command."""
        self._probe_at: float | None = None
        self.early_at: float | None = None
        """From when on the next probe may be made where others are made; None where it is not to be made early."""
        self._stable_at: float | None = None
        self._spread = spread
        self.crowd: Callable[[], int] = lambda: 1
        """Returns how many systems are starting."""
        self.changes = 0
        """Is another number whenever something of it may have changed; its fleet counts."""
        self.touched: Callable[[Lifecycle], object] = lambda _: None
        """Is called after whatever may have changed anything, the deadline included."""

    def deadline(self) -> float | None:
        """Return the monotonic time at which a :class:`Tick` is wanted, or None."""
        return min((each for each in (self.due, self._probe_at, self._stable_at) if each is not None), default=None)

    def handle(self, fact: Fact) -> Answer:
        """Take ``fact`` and return what is to be done, in order. A fact about another process changes nothing."""
        answer = self._take(fact)
        self.touched(self)
        return answer

    def _take(self, fact: Fact) -> Answer:
        match fact:
            case Start():
                return self._start(fact.at)
            case Stop():
                return self._stop(fact.at, external=fact.external)
            case Restart():
                return self._restart(fact.at, external=fact.external, rejoin=fact.rejoin)
            case Drain():
                return self._drain(fact.at)
            case Opened():
                return self._open(fact.at, fact.missing)
            case Spawned():
                return self._spawned(fact.at, fact.process)
            case SpawnFailed():
                return self._spawn_failed(fact.at, fact.reason, busy=fact.busy)
            case Exited() if fact.process == self.process:
                return self._exited(fact.at, fact.how, fact.holder)
            case Gone() if fact.process == self.process:
                return self._gone(fact.at)
            case Probed() if fact.process == self.process:
                return self._probed(fact.at, fact.outcome)
            case Tick():
                return self._tick(fact.at)
            case _:
                return []

    # --- wishes ----------------------------------------------------------------------------------------------------

    def _start(self, at: float) -> Answer:
        self.wanted = True
        match self.state:
            case State.STOPPED:
                self._forget()
                self._enter(State.WAITING, at)
            case State.BACKOFF | State.FAILED:
                self._forget()
                return self._spawn(at, "start")
            case State.STOPPING | State.UNHEALTHY if self._after is not None:
                self._forget()
                self._after = "restart"
            case _:
                pass
        return []

    def _stop(self, at: float, *, external: bool) -> Answer:
        self.wanted = False
        if self.state is State.STOPPED:
            return []
        if self.state not in WITH_PROCESS and self.process is None:
            return self._stopped(at)
        return self._bring_down(at, "stop", external=external)

    def _restart(self, at: float, *, external: bool, rejoin: bool) -> Answer:
        self.wanted = True
        self._forget()
        if self.state is State.STOPPED or (rejoin and self.state not in WITH_PROCESS):
            self._enter(State.WAITING, at)
            return []
        if self.state not in WITH_PROCESS and self.process is None:
            return self._spawn(at, "restart")
        return self._bring_down(at, "rejoin" if rejoin else "restart", external=external)

    def _drain(self, at: float) -> Answer:
        self.wanted = False
        if self.state is not State.STOPPED and self.state not in WITH_PROCESS and self.process is None:
            return self._stopped(at)
        if self.state in {State.STOPPING, State.UNHEALTHY}:
            self._after = "stop"
        elif self.process is not None:  # its end is circusd's affair: no probe and no deadline of ours ends it earlier
            self.due = self._probe_at = self.early_at = self._stable_at = None
        return []

    def _open(self, at: float, missing: tuple[str, ...]) -> Answer:
        if self.state is not State.WAITING:
            return []
        if self.process is not None:  # left over from a circusd that was killed: replaced now that its turn has come
            return self._bring_down(at, "restart", external=False, why="left over from an earlier circusd")
        return self._spawn(at, "start", missing)

    # --- processes -------------------------------------------------------------------------------------------------

    def adopt(self, at: float, process: Process, *, healthy: bool = False) -> None:
        """Take over a process that ran before we did, and disturb nothing: it is probed and then called what it is.

        It has ``start_timeout`` to be healthy, as a new one; if it was ``healthy`` when it was last heard of, as long
        as so many probes in a row take to fail as make a healthy one unhealthy.
        """
        limit, probe = self.system.restart.start_timeout, self.system.probe
        self._limit = min(limit, probe.failure_threshold * (probe.timeout + SECOND_LOOK)) if healthy else limit
        self.process, self.spawned_at, self.began = process, at, at
        self._adopted = True
        self._enter(State.STARTING, at)
        self.due = at + self._limit
        self._probe_at, self.early_at = at, None
        self.touched(self)

    def leave(self, process: Process) -> None:
        """Take note of what an earlier circusd has left: it serves until its turn has come, and is replaced then."""
        self.process = process
        self._leftover = True
        self.touched(self)

    def resume(self, at: float, state: State, due: float | None) -> None:
        """Go on as ``waiting``, ``backoff`` or ``failed`` after everything that knew of it died."""
        policy = self.system.restart
        self._enter(state, at)
        if state is State.BACKOFF:  # the clock that said when may have been set since: no wait becomes longer by that
            self.due = at if due is None else min(due, at + policy.backoff_cap * (1 + policy.jitter))
        elif state is State.FAILED:
            self.due = due if due is None or not policy.retry_failed_after else min(due, at + policy.retry_failed_after)
        self.touched(self)

    def _spawn(self, at: float, cause: str, missing: tuple[str, ...] = ()) -> Answer:
        self._again = cause != "start"
        self.process = None
        self.external = False
        self.began = at if self.began is None else self.began
        self._never_healthy = True
        self._adopted = False
        self._leftover = False
        self._enter(State.STARTING, at)
        self.due = at + SPAWN_PATIENCE
        details: dict[str, object] = {"cause": cause, "attempt": self.attempt, "of": self.system.max_attempts}
        if missing:
            details["missing"] = list(missing)
        return [Record(self.system.key, "server_starting", details), Spawn(self.system.key)]

    def _spawned(self, at: float, process: Process) -> Answer:
        if process == self.process:
            return []
        if self.state is State.STOPPING and self.process is None:
            self.process, self.spawned_at = process, at
            self.due = at + self.system.graceful_timeout
            return [Terminate(self.system.key, process)]
        self.process, self.spawned_at = process, at
        self.failures, self.verified = 0, None
        self.restarts += self._again
        self._again = True
        if not self.wanted:
            return self._bring_down(at, "stop", external=False, why="started by nobody's wish")
        answer: Answer = []
        if self.state is not State.STARTING:  # somebody else had circusd start it
            self.began = at if self.began is None else self.began
            self._never_healthy = True
            self._adopted = False
            details = {"cause": "started outside", "attempt": self.attempt, "of": self.system.max_attempts}
            answer = [Record(self.system.key, "server_starting", details)]
            self._enter(State.STARTING, at)
        self._after = None
        self.external = False
        self.due = at + self.system.restart.start_timeout
        self._probe_at = at + STARTING_LOOKS[0]
        return answer

    def _spawn_failed(self, at: float, reason: str, *, busy: bool) -> Answer:
        if self.process is not None or self.state not in {State.STARTING, State.STOPPING}:
            return []
        if self.state is State.STOPPING:
            return self._down(at)
        if busy and self.wanted:
            self.error = reason
            self._enter(State.BACKOFF, at)
            self.due = at + BUSY_RETRY
            return []
        self.error = reason
        self._set_down(at)
        self._after = "recover"
        return self._down(at)

    def _exited(self, at: float, how: Exit, holder: Holder | None) -> Answer:
        process = self.process
        assert process is not None  # noqa: S101 - the caller compared it
        lived = None if self.spawned_at is None else round(at - self.spawned_at, 3)
        details = {"pid": process.pid, "code": how.code, "signal": how.signal, "last_line": how.last_line}
        ending = self.state in {State.STOPPING, State.UNHEALTHY} and self._after is not None
        asked = ending or not self.wanted
        answer: Answer = [Record(self.system.key, "server_exited", {**details, "after": lived, "asked": asked})]
        self._probe_at = self.early_at = self._stable_at = None
        if self.state is State.WAITING:
            self.process = None
            return answer if self.wanted else [*answer, *self._stopped(at)]
        if ending:
            return answer  # what is left of its group has the rest of the grace period
        self.error = str(how)
        if self.state is State.STARTING and holder is not None:
            answer += self._conflicts(holder)
        self._set_down(at)
        self._enter(State.UNHEALTHY if self.wanted else State.STOPPING, at)
        self._after = "recover" if self.wanted else "stop"
        self.due = at + KILL_PATIENCE
        return [*answer, Kill(self.system.key, process)]

    def _gone(self, at: float) -> Answer:
        if self.state not in {State.STOPPING, State.UNHEALTHY} or self._after is None:
            return []
        return self._down(at)

    def _down(self, at: float) -> Answer:
        """Nothing of it runs any more: go on to what was to come after."""
        after, self._after = self._after, None
        if self._leftover and self.process is not None:
            self._leftover = False
            ended = {"pids": [self.process.pid], "forced": False}
            return [Record(self.system.key, "leftover_ended", ended), *self._go_on(at, after)]
        return self._go_on(at, after)

    def _go_on(self, at: float, after: str | None) -> Answer:
        self.process = None
        self.external = False
        if after == "stop" or not self.wanted:
            return self._stopped(at)
        if after == "rejoin":
            self._enter(State.WAITING, at)
            return []
        if after == "restart":
            return self._spawn(at, "restart")
        return self._recover(at)

    def _recover(self, at: float) -> Answer:
        key, policy, of = self.system.key, self.system.restart, self.system.max_attempts
        self._fail(at)
        answer: Answer = []
        if self.attempt and self._never_healthy:
            answer.append(Record(key, "restart_failed", {"attempt": self.attempt, "of": of, "reason": self.error}))
        if self.attempt >= of or not self.system.autonomous:
            self._enter(State.FAILED, at)
            retries = self.system.autonomous and policy.retry_failed_after > 0
            self.due = at + policy.retry_failed_after if retries else None
            retry_in = policy.retry_failed_after if retries else None
            details = {"reason": self.error, "attempts": self.attempt, "of": of, "retry_in": retry_in}
            return [*answer, Record(key, "server_failed", details)]
        self.attempt += 1
        wait = 0.0 if self.attempt == 1 else policy.backoff_base * 2.0 ** min(self.attempt - 2, 64)
        delay = min(wait, policy.backoff_cap)
        if delay:
            delay *= 1 + policy.jitter * self._spread()
        scheduled = {"attempt": self.attempt, "of": of, "delay": round(delay, 3), "reason": self.error}
        answer.append(Record(key, "restart_scheduled", scheduled))
        if not delay:
            return [*answer, *self._spawn(at, "attempt")]
        self._enter(State.BACKOFF, at)
        self.due = at + delay
        return answer

    def _bring_down(
        self, at: float, after: Literal["stop", "restart", "rejoin"], *, external: bool, why: str | None = None
    ) -> Answer:
        """Go down by request. What is going down already keeps its grace period."""
        already = self.state in {State.STOPPING, State.UNHEALTHY} and self._after is not None
        due = self.due
        self._enter(State.STOPPING, at)
        self._after = after
        self.external = external
        if already:
            self.due = due
            return []
        if self.process is None:  # a spawn is under way: its answer decides
            self.due = at + SPAWN_PATIENCE
            return [Record(self.system.key, "server_stopping", {"pid": None, "why": why or after})]
        self.due = at + self.system.graceful_timeout
        answer: Answer = [Record(self.system.key, "server_stopping", {"pid": self.process.pid, "why": why or after})]
        return answer if external else [*answer, Terminate(self.system.key, self.process)]

    def _stopped(self, at: float) -> Answer:
        self.process = None
        self.began = None
        self.error = None
        self.down_since = None
        self._enter(State.STOPPED, at)
        return [Record(self.system.key, "server_stopped")]

    # --- health ----------------------------------------------------------------------------------------------------

    def _probed(self, at: float, outcome: Outcome) -> Answer:
        hanging = self.state is State.UNHEALTHY and self._after is None
        if not self.wanted or (self.state not in {State.STARTING, State.HEALTHY} and not hanging):
            return []
        self.early_at = None
        if not outcome.made:
            self._probe_at = at + SECOND_LOOK
            if self.state is State.STARTING and self.due is not None:  # who knows whether it is up
                self.due = max(self.due, at + SECOND_LOOK + self.system.probe.timeout)
            return []
        key = self.system.key
        self.last, self.last_at = outcome, at
        if outcome.verified is not None:
            self.verified = outcome.verified
        if outcome.ok:
            if self.state is not State.HEALTHY:
                return self._healthy(at, outcome)
            self._probe_later(at)
            recovered, self.failures, self.error = self.failures, 0, None
            return [Record(key, "health_check", self.check())] if recovered else []
        self.error = outcome.reason
        if self.state is State.STARTING:
            age = at - (self.spawned_at if self.spawned_at is not None else at)
            least, most = STARTING_LOOKS
            self._probe_at = at + min(max(age / 10, least * max(1.0, self.crowd() / CROWD)), most)
            return [] if outcome.holder is None else self._conflicts(outcome.holder)
        if hanging:
            self._probe_later(at)
            return []
        self.failures += 1
        if self.failures == 1:
            self.down_since = at
        answer: Answer = [Record(key, "health_check", self.check())]
        if self.failures < self.system.probe.failure_threshold:
            self._probe_at = at + SECOND_LOOK
            return answer
        unhealthy = {"reason": outcome.reason, "failures": self.failures, "pid": self.process and self.process.pid}
        answer.append(Record(key, "server_unhealthy", unhealthy))
        return [*answer, *self._unhealthy(at)]

    def _healthy(self, at: float, outcome: Outcome) -> Answer:
        downtime = None if self.down_since is None else round(at - self.down_since, 3)
        took = None if self.spawned_at is None else round(at - self.spawned_at, 3)
        self.failures, self.error, self.down_since = 0, None, None
        self._never_healthy = False
        self._holder = None
        adopted, self._adopted = self._adopted, False
        self._enter(State.HEALTHY, at)
        self._probe_later(at)
        self._stable_at = at + self.system.restart.stable_after
        answer: Answer = [Record(self.system.key, "health_check", self.check())]
        details: dict[str, object] = {"pid": self.process and self.process.pid, "took": took}
        details["latency_ms"] = None if outcome.latency is None else round(outcome.latency * 1000, 2)
        if downtime is not None:
            details |= {"downtime": downtime, "attempt": self.attempt}
            answer.append(Record(self.system.key, "server_recovered", details))
        elif not adopted:
            answer.append(Record(self.system.key, "server_started", details))
        return answer

    def _unhealthy(self, at: float) -> Answer:
        assert self.process is not None  # noqa: S101 - only what has a process is probed
        self._fail(at)
        self._enter(State.UNHEALTHY, at)
        if not self.system.autonomous:
            self._probe_later(at)
            return []
        self._after = "recover"
        self.due = at + self.system.graceful_timeout
        return [Terminate(self.system.key, self.process)]

    def _probe_later(self, at: float) -> None:
        """Have the next probe made in an interval, or a little earlier."""
        interval = self.system.probe.interval
        self._probe_at, self.early_at = at + interval, at + interval * (1.0 - EARLY)

    def check(self) -> dict[str, object]:
        """Return the details of a ``health_check`` record: what is known of its health now."""
        latency = self.last.latency if self.last else None
        return {
            "healthy": self.state is State.HEALTHY and not self.failures,
            "state": str(self.state),
            "error": self.error,
            "failures": self.failures,
            "latency_ms": None if latency is None else round(latency * 1000, 2),
        }

    def _conflicts(self, holder: Holder) -> Answer:
        """Take somebody else on its port for the reason of what is wrong; that is news once for each of them."""
        port = self.system.port
        self.error = f"port {port} is held by {holder}"
        known, self._holder = self._holder, holder
        if known == holder:
            return []
        return [Record(self.system.key, "port_conflict", {"port": port, "pid": holder.pid, "command": holder.command})]

    # --- time ------------------------------------------------------------------------------------------------------

    def _tick(self, at: float) -> Answer:
        answer: Answer = []
        if self._stable_at is not None and at >= self._stable_at:
            self._stable_at = None
            self.attempt = 0
        soonest = self._probe_at if self.early_at is None else self.early_at
        if soonest is not None and at >= soonest and self.process is not None:
            self._probe_at, self.early_at = at + self.system.probe.timeout + PROBE_PATIENCE, None
            answer.append(Look(self.system.key, self.process, verify=self.state is not State.HEALTHY))
        if self.due is not None and at >= self.due:
            answer += self._overdue(at)
        return answer

    def _overdue(self, at: float) -> Answer:
        self.due = None
        if self.state is State.BACKOFF:
            return self._spawn(at, "attempt" if self.attempt else "start")
        if self.state is State.FAILED:
            return self._spawn(at, "retry")
        if self.state is State.STARTING:
            if self.process is None:
                return self._spawn_failed(at, "circusd gave no answer to the start", busy=False)
            limit = self._limit if self._adopted else self.system.restart.start_timeout
            since = "being taken over" if self._adopted else "its start"
            self.error = f"not healthy within {limit:g} s of {since}: {self.error or 'no answer'}"
            self._set_down(at)
            unhealthy = {"reason": self.error, "failures": self.failures, "pid": self.process.pid}
            return [Record(self.system.key, "server_unhealthy", unhealthy), *self._unhealthy(at)]
        if self.process is None:
            return self._spawn_failed(at, "circusd gave no answer to the start", busy=False)
        self.due = at + KILL_PATIENCE
        return [Kill(self.system.key, self.process)]

    def away(self, seconds: float) -> None:
        """Take note that nobody could look or listen for so long: what has a process gets that time back."""
        if self.due is not None and self.state in WITH_PROCESS:
            self.due += seconds
            self.touched(self)

    # --- bookkeeping -----------------------------------------------------------------------------------------------

    def _enter(self, state: State, at: float) -> None:
        """Change state; whatever deadlines the old one had are over."""
        if state is not self.state:
            self.state, self.since = state, at
        self.due = self._probe_at = self.early_at = self._stable_at = None
        self._after = None
        if state is State.STARTING:
            self.failures, self.verified, self.last = 0, None, None

    def _set_down(self, at: float) -> None:
        self.down_since = at if self.down_since is None else self.down_since

    def _fail(self, at: float) -> None:
        self.failure = (at if self.down_since is None else self.down_since, self.error or "no answer")

    def _forget(self) -> None:
        """Start counting anew: an operator's word ends whatever went before."""
        self.attempt = 0
        self.error = None
        self.down_since = None
        self.began = None
