"""One drill from the command line: says what it will do and what is promised, does it, watches, and reports.

The fault itself is the controller's to do, by its API, which bounds and journals it; here is what answers in a
system's place meanwhile, and who looks at the clock. Whatever ends it, the fault is ended first.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from aurora_circus import drills, lookup, operate, oracle, promises, reach, report, sentences, story, witness
from aurora_circus.client import ApiError, Client, LostError, RefusedError
from aurora_circus.clock import pause
from aurora_circus.context import Context
from aurora_circus.drills import CONTROLLER, STANDS_IN, Fault
from aurora_circus.errors import AuroraError
from aurora_circus.feed import ApiFeed
from aurora_circus.interrupts import Interrupts
from aurora_circus.promises import BACK, Course, Policy, Promise, Verdict
from aurora_circus.standin import StandIn
from aurora_circus.terminal import clean, duration

POLL = 2.0
"""Seconds that the API may keep us waiting for a record."""
LATE = 15.0
"""Seconds after which one that is late is waited for no longer."""
SETTLE = 15.0
"""Seconds for everything to be as before, when the drill is over."""
_AGAIN = 0.05
_LOOK = 0.5
_TOO_LATE = 1.0
"""Seconds after a probe's timeout at which a slow stand-in answers."""
HISTORY = frozenset({"seq", "order", "replay"})
"""Rules about what the journal tells of earlier days."""
ABOUT = {
    Fault.KILL: "its process group is killed (SIGKILL)",
    Fault.HANG: "its process group is frozen (SIGSTOP): it takes connections and answers nobody",
    Fault.SLOW_HEALTH: "a stand-in answers for its health, too late; the program itself is not touched",
    Fault.HTTP_500: "a stand-in answers for its health, with status 500; the program itself is not touched",
    Fault.CRASH_LOOP: "its process and the next ones are killed as soon as they are there, {strikes} in all",
    Fault.PLUGIN_KILL: "the plugin, which watches and serves the API, is killed (SIGKILL); no system is touched",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was typed."""

    fault: Fault
    key: str
    """``aurora`` for the plugin."""
    yes: bool = False
    force: bool = False
    as_json: bool = False
    slack: float = promises.SLACK
    """Seconds on top of each promise."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    verdicts: list[Verdict] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    """Other systems that did not keep their process."""
    findings: list[str] = field(default_factory=list)
    """What does not hold, and did before."""
    spoilt: str | None = None
    pids: tuple[int | None, int | None] = (None, None)

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return self.spoilt is None and not self.touched and not self.findings and all(v.kept for v in self.verdicts)


class NotWantedError(AuroraError):
    """Whoever was asked said no."""


def run(wish: Wish, context: Context) -> int:
    """Do a drill, and return the exit code."""
    return _Drill(wish, context).run()


class _Drill:
    """One drill."""

    def __init__(self, wish: Wish, context: Context) -> None:
        self.wish, self._context = wish, context
        self._terminal, self._clock = context.terminal, context.clock
        self._client, health = reach.connect(context)
        self._status = self._client.get("/status")
        if wish.key != CONTROLLER:
            operate.check_keys([wish.key], list(self._status))
        self._story: story.Story | None = None
        self._seen = self._look(self._client, health)
        self._wrong = oracle.judge(self._seen)
        self._plugin = _plugin(self._client)
        policy, strikes = None, 0
        if wish.key != CONTROLLER:
            policy = Policy.of(self._client.get(f"/explain/{wish.key}"))
            strikes = drills.strikes(wish.fault, drills.attempts_left(self._status[wish.key]))
        self._policy, self._strikes = policy, strikes
        self._promises: Sequence[Promise] = promises.of(wish.fault, policy, strikes)

    def run(self) -> int:
        """Ask, do, watch, report."""
        refused = self._refusal()
        if refused is not None:
            self._terminal.warn(f"no drill: {refused}")
            return 1
        for line in self._plan():
            (self._terminal.warn if self.wish.as_json else self._terminal.say)(line)
        self._ask()
        with Interrupts():
            try:
                outcome = self._do()
            except KeyboardInterrupt:  # from here on, others wait: what is left to be done takes a moment
                return self._interrupted()
        self._report(outcome)
        return 0 if outcome.kept else 1

    # --- before ----------------------------------------------------------------------------------------------------

    def _refusal(self) -> str | None:
        wish = self.wish
        reason = drills.refusal(wish.fault, wish.key, self._status, force=wish.force)
        if reason is not None:
            return reason
        if self._policy is not None and self._seconds > drills.LONGEST:
            return f"to notice it may take {duration(self._seconds)}, and no drill lasts longer than an hour"
        wrong = [str(each) for each in self._wrong if each.rule not in HISTORY]
        return None if wish.force or not wrong else f"the fleet is not all well already ({'; '.join(wrong)})"

    @property
    def _seconds(self) -> float:
        """How long the fault may last: until it must have been noticed; a crash loop until its last strike."""
        noticed = self._promises[0].within
        if self.wish.fault is Fault.CRASH_LOOP and self._policy is not None:
            noticed += self._policy.waits(self._strikes) + self._strikes * promises.TURN
        return max(1.0, round(noticed + self.wish.slack + LATE, 3))

    def _plan(self) -> Iterator[str]:
        wish = self.wish
        yield f"drill {self._name}: {ABOUT[wish.fault].format(strikes=self._strikes)}"
        for each in self._promises:
            yield f"  promised: {each.what} within {duration(each.within)} ({each.why})"
        yield "  promised: no other system gets a new process, and everything is as before when it is over"
        if self._status.get(wish.key, {}).get("critical"):
            yield f"{wish.key} is critical: while it is down, so is what needs it"

    def _ask(self) -> None:
        if self.wish.yes:
            return
        if not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here whether this is meant: say --yes")
        if not click.confirm("Do it?", err=True):
            raise NotWantedError("nothing was done")

    # --- meanwhile -------------------------------------------------------------------------------------------------

    def _do(self) -> Outcome:
        wish = self.wish
        since = int(self._client.get("/events", limit=1)["next"])
        began = self._clock.monotonic()
        if wish.key == CONTROLLER:
            self._begin(None)
            began = self._clock.monotonic()
            outcome = self._watch_plugin(began)
        else:
            with self._standin() as port:
                try:
                    pid = self._begin(port)["pid"]
                    began = self._clock.monotonic()
                    outcome = self._watch(Course(wish.key, int(pid)), since, began)
                except ApiError:  # it was not begun: what runs there is another's
                    raise
                except BaseException:
                    self._end()
                    raise
                self._end()  # while there still is who stands in
        self._settle(outcome)
        return outcome

    @contextlib.contextmanager
    def _standin(self) -> Iterator[int | None]:
        if self.wish.fault not in STANDS_IN or self._policy is None:
            yield None
            return
        slow = self.wish.fault is Fault.SLOW_HEALTH
        with StandIn(200 if slow else 500, self._policy.timeout + _TOO_LATE if slow else 0.0) as standin:
            yield standin.port

    def _begin(self, port: int | None) -> Mapping[str, Any]:
        wish = self.wish
        return self._client.post(
            f"/drill/{wish.key}",
            fault=str(wish.fault),
            seconds=self._seconds,
            port=port,
            force="true" if wish.force else None,
        ).body

    def _end(self) -> None:
        """End the fault, where it is not over already; say so where that cannot be said to anybody."""
        try:
            self._again().post(f"/drill/{self.wish.key}", fault="none")
        except AuroraError as error:
            self._terminal.warn(f"the controller could not be told to end the fault: {clean(error)}")
            self._terminal.warn(f"it ends by itself, {duration(self._seconds)} after its beginning at the latest")

    def _again(self) -> Client:
        """Return a client whose API answers, the plugin's own restart included."""
        self._client, _ = reach.connect(self._context)
        return self._client

    def _watch(self, course: Course, since: int, began: float) -> Outcome:
        """Show what comes of it, until it is healthy again or will not be."""
        until = began + promises.longest(self._promises) + self.wish.slack + LATE
        feed = ApiFeed(self._client, since)
        while not course.over and (left := until - self._clock.monotonic()) > 0:
            try:
                records = feed.read(min(left, POLL))
            except (RefusedError, LostError):
                pause(_AGAIN)
                feed = ApiFeed(self._again(), feed.since)
                continue
            at = self._clock.monotonic() - began
            course.take(records, at)
            for each in records:
                if each["event"] not in sentences.QUIET:
                    self._tell(f"{duration(at):>8}  {clean(each.get('server') or ''):<{self._longest}}  ", each)
        verdicts = promises.judge(self._promises, course.moments, self.wish.slack)
        return Outcome(verdicts, spoilt=course.spoilt, pids=(course.old, course.new))

    def _watch_plugin(self, began: float) -> Outcome:
        """Wait until another plugin answers."""
        until = began + promises.longest(self._promises) + self.wish.slack + LATE
        moments = {}
        pid = self._plugin
        while self._clock.monotonic() < until:
            with contextlib.suppress(RefusedError, LostError, ApiError, reach.Unreachable):
                found = _plugin(self._again())
                if found != self._plugin:
                    moments[BACK] = self._clock.monotonic() - began
                    pid = found
                    break
            pause(_AGAIN)
        return Outcome(promises.judge(self._promises, moments, self.wish.slack), pids=(self._plugin, pid))

    def _tell(self, begins: str, record: Mapping[str, Any]) -> None:
        line = begins + sentences.told(dict(record))
        (self._terminal.warn if self.wish.as_json else self._terminal.say)(line)

    @property
    def _name(self) -> str:
        fault, key = self.wish.fault, self.wish.key
        return str(fault) if key == CONTROLLER else f"{fault} of {key}"

    @property
    def _longest(self) -> int:
        return max(map(len, self._status), default=0)

    # --- afterwards ------------------------------------------------------------------------------------------------

    def _settle(self, outcome: Outcome) -> None:
        """Wait until all holds that held before, and see who else was touched."""
        before = {str(each) for each in self._wrong}
        until = self._clock.monotonic() + SETTLE + self.wish.slack
        while True:
            seen = self._look(*reach.connect(self._context))
            wrong = [str(each) for each in oracle.judge(seen, self._seen.own)]
            outcome.findings = [each for each in wrong if each not in before]
            outcome.touched = self._touched(seen.status or {})
            if not outcome.findings or outcome.spoilt is not None or self._clock.monotonic() >= until:
                return
            pause(_LOOK)

    def _touched(self, status: Mapping[str, Mapping[str, Any]]) -> list[str]:
        return [
            f"{key}: pid {each['pid']} → {status.get(key, {}).get('pid')}"
            for key, each in self._status.items()
            if key != self.wish.key and each["healthy"] and status.get(key, {}).get("pid") != each["pid"]
        ]

    def _look(self, client: Client, health: Mapping[str, Any]) -> oracle.Sight:
        fleet = self._context.fleet
        found = lookup.find(fleet)
        complaint = None if health.get("healthy") else "; ".join(map(click.unstyle, report.controller(health)))
        seen = witness.look(
            fleet,
            witness.Answers(client.get("/status"), complaint),
            circusd=None if found is None else found.pid,
            plugin=_plugin(client),
            so_far=self._story,
        )
        self._story = seen.told
        return seen

    def _interrupted(self) -> int:
        """Say what an interrupted drill leaves behind; its fault is ended already."""
        self._terminal.forgiving = True
        self._terminal.warn("\ninterrupted: the drill is ended")
        with contextlib.suppress(AuroraError):
            each = self._again().get("/status").get(self.wish.key)
            if each is not None and not each["healthy"]:
                self._terminal.warn(f"{self.wish.key} is {each['state']}, and is brought back without you")
        self._terminal.warn(f"how all are: {self._context.advice('status')}")
        return 1

    def _report(self, outcome: Outcome) -> None:
        if self.wish.as_json:
            self._terminal.say(json.dumps(self._as_json(outcome), indent=2, ensure_ascii=False))
        else:
            for each in self._told(outcome):
                self._terminal.say(each)

    def _told(self, outcome: Outcome) -> Iterator[str]:
        for each in outcome.verdicts:
            took = "never" if each.took is None else f"after {duration(each.took)}"
            word = "kept" if each.kept else "BROKEN"
            yield f"{word}: {each.promise.what} {took} (promised: within {duration(each.promise.within)})"
        if outcome.spoilt is not None:
            yield f"BROKEN: {clean(outcome.spoilt)}"
        if outcome.touched:
            yield f"BROKEN: others got a new process: {'; '.join(outcome.touched)}"
        else:
            yield "kept: no other system got a new process"
        if outcome.findings:
            yield from (f"BROKEN: {clean(each)}" for each in outcome.findings)
        else:
            yield "kept: everything is as before"
        old, new = outcome.pids
        if outcome.kept:
            yield f"drill {self._name}: all is well; pid {old} is {new} now"
        else:
            words = ("events",) if self.wish.key == CONTROLLER else ("explain", self.wish.key)
            yield f"why, and what next: {self._context.advice(*words)}"

    def _as_json(self, outcome: Outcome) -> Mapping[str, Any]:
        return {
            "fault": str(self.wish.fault),
            "server": None if self.wish.key == CONTROLLER else self.wish.key,
            "kept": outcome.kept,
            "promises": [
                {
                    "what": each.promise.what,
                    "took": None if each.took is None else round(each.took, 3),
                    "within": round(each.promise.within, 3),
                    "why": each.promise.why,
                    "kept": each.kept,
                }
                for each in outcome.verdicts
            ],
            "pid_before": outcome.pids[0],
            "pid_after": outcome.pids[1],
            "touched": outcome.touched,
            "findings": outcome.findings,
            "spoilt": outcome.spoilt,
        }


def _plugin(client: Client) -> int | None:
    """Return the pid of the plugin, by its own word."""
    found = client.get("/events", event="controller_started", limit=1)["events"]
    return int(found[-1]["details"]["pid"]) if found else None
