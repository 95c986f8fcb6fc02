"""One drill from the command line: says what it will do and what is promised, does it, watches, and reports.

The fault itself is the controller's to do, by its API, which bounds and journals it; here is what answers in a
system's place meanwhile, and who looks at the clock. Whatever ends it, the fault is ended first.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from aurora_circus import (
    drill_words,
    drills,
    lookup,
    operate,
    oracle,
    promises,
    reach,
    report,
    sentences,
    story,
    witness,
)
from aurora_circus.client import ApiError, Client, ForeignError, LostError, RefusedError
from aurora_circus.clock import pause
from aurora_circus.context import Context
from aurora_circus.drill_names import CONTROLLER, STANDS_IN, Fault
from aurora_circus.drill_words import Outcome, Subject
from aurora_circus.errors import AuroraError
from aurora_circus.feed import ApiFeed
from aurora_circus.interrupts import Interrupts
from aurora_circus.promises import BACK, Course, Policy, Promise
from aurora_circus.standin import StandIn
from aurora_circus.terminal import clean, duration

POLL = 2.0
"""Seconds that the API may keep us waiting for a record."""
LATE = 15.0
"""Seconds after which one that is late is waited for no longer."""
TOO_LATE = 1.0
"""Seconds after a probe's timeout at which a slow stand-in answers."""
HISTORY = frozenset({"seq", "order", "replay"})
"""Rules of the oracle's about what the journal tells of earlier days: no reason not to begin."""
_AGAIN = 0.05
_LOOK = 0.5


class NotWantedError(AuroraError):
    """Whoever was asked said no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was typed."""

    subject: Subject
    yes: bool = False
    force: bool = False
    as_json: bool = False
    slack: float = promises.SLACK
    """Seconds on top of each promise."""


def run(wish: Wish, context: Context) -> int:
    """Do a drill, and return the exit code."""
    return _Drill(wish, context).run()


class _Drill:
    """One drill."""

    def __init__(self, wish: Wish, context: Context) -> None:
        self._wish, self._context = wish, context
        self._fault, self._key = wish.subject.fault, wish.subject.key
        self._terminal, self._clock = context.terminal, context.clock
        self._say = self._terminal.warn if wish.as_json else self._terminal.say
        self._story: story.Story | None = None
        self._client, _ = reach.connect(context)

    def run(self) -> int:
        """Ask, do, watch, report."""
        self._prepare()
        for line in drill_words.plan(
            self._wish.subject, self._promises, self._strikes, critical=bool(self._before.get("critical"))
        ):
            self._say(line)
        if not self._wish.yes:
            self._ask()
            self._prepare()  # that took its time
        with Interrupts():
            try:
                outcome = self._do()
            except KeyboardInterrupt:  # from here on, others wait: what is left to be done takes a moment
                return self._interrupted()
        if self._wish.as_json:
            found = drill_words.as_json(self._wish.subject, outcome)
            self._terminal.say(json.dumps(found, indent=2, ensure_ascii=False))
        else:
            for line in drill_words.report(self._wish.subject, outcome):
                self._terminal.say(line)
        if not outcome.kept:
            words = ("events",) if self._key == CONTROLLER else ("explain", self._key)
            self._terminal.warn(f"why, and what next: {self._context.advice(*words)}")
        return 0 if outcome.kept else 1

    # --- before ----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Look at how all are, and what is promised; refuse what must not be begun."""
        self._status = self._client.get("/status")
        if self._key != CONTROLLER:
            operate.check_keys([self._key], list(self._status))
        self._before: Mapping[str, Any] = self._status.get(self._key, {})
        self._refuse(drills.refusal(self._fault, self._key, self._status, force=self._wish.force))
        seen = self._look()
        wrong = oracle.judge(seen)
        self._own, self._known = seen.own, {str(each) for each in wrong}
        now = [str(each) for each in wrong if each.rule not in HISTORY]
        if now and not self._wish.force:
            self._refuse(f"the fleet is not all well already ({'; '.join(now)})")
        self._plugin = _plugin(self._client)
        self._policy, self._strikes = None, 0
        if self._before:
            self._policy = self._explained()
            self._strikes = drills.strikes(self._fault, drills.attempts_left(self._before))
        self._promises: Sequence[Promise] = promises.of(self._fault, self._policy, self._strikes)
        self._seconds = max(1.0, round(self._lasting() + self._wish.slack + LATE, 3))
        if self._seconds > drills.LONGEST:
            self._refuse(f"it may take {duration(self._seconds)}, and no drill lasts longer than an hour")

    def _explained(self) -> Policy:
        try:
            return Policy.of(self._client.get(f"/explain/{self._key}"))
        except KeyError as error:
            told = f"no drill: the controller that runs does not say its {error}: it is of an earlier version"
            raise drills.RefusedDrillError(told) from error

    @staticmethod
    def _refuse(why: str | None) -> None:
        if why is not None:
            raise drills.RefusedDrillError(f"no drill: {why}")

    def _lasting(self) -> float:
        """Return the seconds that the fault is needed: until it must have been noticed, or the last strike."""
        noticed = self._promises[0].within
        if self._fault is Fault.CRASH_LOOP and self._policy is not None:
            noticed += self._policy.waits(self._strikes) + self._strikes * promises.TURN
        return noticed

    @staticmethod
    def _ask() -> None:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here whether this is meant: say --yes")
        if not click.confirm("Do it?", err=True):
            raise NotWantedError("nothing was done")

    # --- meanwhile -------------------------------------------------------------------------------------------------

    def _do(self) -> Outcome:
        since = int(self._client.get("/events", limit=1)["next"])
        if self._key == CONTROLLER:
            began = self._clock.monotonic()
            self._begin(None)
            outcome = self._watch_plugin(began)
        else:
            with self._standin() as port:
                outcome = self._strike(port, since)
        self._settle(outcome)
        return outcome

    def _strike(self, port: int | None, since: int) -> Outcome:
        began = self._clock.monotonic()
        try:
            pid = int(self._begin(port)["pid"])
        except ApiError:  # it was not begun: what runs there is another's
            raise
        except BaseException:
            self._end()
            raise
        try:
            return self._watch(Course(self._key, pid), since, began)
        finally:
            self._end()  # while there still is who stands in

    @contextlib.contextmanager
    def _standin(self) -> Iterator[int | None]:
        if self._fault not in STANDS_IN or self._policy is None:
            yield None
            return
        slow = self._fault is Fault.SLOW_HEALTH
        with StandIn(200 if slow else 500, self._policy.timeout + TOO_LATE if slow else 0.0) as standin:
            yield standin.port

    def _begin(self, port: int | None) -> Mapping[str, Any]:
        force = "true" if self._wish.force else None
        path = f"/drill/{self._key}"
        return self._client.post(path, fault=str(self._fault), seconds=self._seconds, port=port, force=force).body

    def _end(self) -> None:
        """End the fault, where it is not over already; say so where that cannot be said to anybody."""
        try:
            self._again().post(f"/drill/{self._key}", fault="none")
        except AuroraError as error:
            self._terminal.warn(f"the controller could not be told to end the fault: {clean(error)}")
            self._terminal.warn(f"it ends by itself, {duration(self._seconds)} after its beginning at the latest")

    def _again(self) -> Client:
        """Return a client whose API answers; a plugin that is just being restarted gets its time."""
        self._client, _ = reach.connect(self._context)
        return self._client

    def _watch(self, course: Course, since: int, began: float) -> Outcome:
        """Show what comes of it, until it is healthy again or will not be."""
        until = began + promises.longest(self._promises) + self._wish.slack + LATE
        longest = max(map(len, self._status))
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
                    who = clean(each.get("server") or "")
                    self._say(f"{duration(at):>8}  {who:<{longest}}  {sentences.told(each)}")
        verdicts = promises.judge(self._promises, course.moments, self._wish.slack)
        return Outcome(verdicts, course.spoilt, course.old, course.new)

    def _watch_plugin(self, began: float) -> Outcome:
        """Wait until another plugin answers."""
        until = began + promises.longest(self._promises) + self._wish.slack + LATE
        moments: dict[str, float] = {}
        found = self._plugin
        while not moments and self._clock.monotonic() < until:
            with contextlib.suppress(RefusedError, LostError, ForeignError):
                found = _plugin(self._client)  # asked plainly: to look for circusd each time would delay its start
            if found == self._plugin:
                pause(_AGAIN)
            else:
                moments[BACK] = self._clock.monotonic() - began
        return Outcome(promises.judge(self._promises, moments, self._wish.slack), None, self._plugin, found)

    # --- afterwards ------------------------------------------------------------------------------------------------

    def _settle(self, outcome: Outcome) -> None:
        """Wait until all holds that held before, and see who else was touched."""
        until = self._clock.monotonic() + self._wish.slack + LATE
        while True:
            try:
                self._again()
                seen = self._look()
            except (RefusedError, LostError, reach.Unreachable) as error:
                outcome.findings = [f"api: {error}"]
            else:
                found = (str(each) for each in oracle.judge(seen, self._own))
                outcome.findings = [each for each in found if each not in self._known]
                outcome.touched = self._touched(seen.status or {})
            if not outcome.findings or outcome.spoilt is not None or self._clock.monotonic() >= until:
                return
            pause(_LOOK)

    def _touched(self, status: Mapping[str, Mapping[str, Any]]) -> list[str]:
        return [
            f"{key}: pid {each['pid']} → {status.get(key, {}).get('pid')}"
            for key, each in self._status.items()
            if key != self._key and each["healthy"] and status.get(key, {}).get("pid") != each["pid"]
        ]

    def _look(self) -> oracle.Sight:
        """Look at the fleet from outside."""
        _, health = reach.connect(self._context)
        circusd = lookup.find(self._context.fleet)
        complaint = None if health.get("healthy") else "; ".join(map(click.unstyle, report.controller(health)))
        seen = witness.look(
            self._context.fleet,
            witness.Answers(self._client.get("/status"), complaint),
            circusd=None if circusd is None else circusd.pid,
            plugin=_plugin(self._client),
            so_far=self._story,
        )
        self._story = seen.told
        return seen

    def _interrupted(self) -> int:
        """Say what an interrupted drill leaves behind; its fault is ended already."""
        self._terminal.forgiving = True
        self._terminal.warn("\ninterrupted: the fault is ended, and no promise was judged")
        with contextlib.suppress(AuroraError):
            each = self._again().get("/status").get(self._key)
            if each is not None and not each["healthy"]:
                self._terminal.warn(f"{self._key} is {each['state']}, and is brought back without you")
        self._terminal.warn(f"how all are: {self._context.advice('status')}")
        return 1


def _plugin(client: Client) -> int | None:
    """Return the pid of the plugin, by its own word."""
    found = client.get("/events", event="controller_started", limit=1)["events"]
    return int(found[-1]["details"]["pid"]) if found else None
