"""What is said of a drill: beforehand what will be done and what is promised, afterwards what came of it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aurora_circus.drill_names import CONTROLLER, Fault
from aurora_circus.promises import Promise, Verdict
from aurora_circus.terminal import clean, duration

ABOUT = {
    Fault.KILL: "its process group is killed (SIGKILL)",
    Fault.HANG: "its process group is frozen (SIGSTOP): it takes connections and answers nobody",
    Fault.SLOW_HEALTH: "a stand-in answers for its health, too late; the program itself is not touched",
    Fault.HTTP_500: "a stand-in answers for its health, with status 500; the program itself is not touched",
    Fault.CRASH_LOOP: "its process and the next ones are killed as soon as they are there, {strikes} in all",
    Fault.PLUGIN_KILL: "the plugin, which watches and serves the API, is killed (SIGKILL); no system is touched",
}
"""What each fault does."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Which fault, and of whom: ``key`` is ``aurora`` for the plugin."""

    fault: Fault
    key: str

    def __str__(self) -> str:
        """Name it."""
        return str(self.fault) if self.key == CONTROLLER else f"{self.fault} of {self.key}"


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    verdicts: Sequence[Verdict] = ()
    spoilt: str | None = None
    """Why it did not come to its end."""
    before: int | None = None
    """The process that was struck."""
    after: int | None = None
    touched: list[str] = field(default_factory=list)
    """Other systems that did not keep their process."""
    findings: list[str] = field(default_factory=list)
    """What does not hold, and did before."""

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return self.spoilt is None and not self.touched and not self.findings and all(v.kept for v in self.verdicts)


def plan(subject: Subject, promises: Sequence[Promise], strikes: int, *, critical: bool) -> Iterator[str]:
    """Say what will be done, and what is promised."""
    yield f"drill {subject}: {ABOUT[subject.fault].format(strikes=strikes)}"
    for each in promises:
        yield f"  promised: {each.what} within {duration(each.within)} ({each.why})"
    yield "  promised: no other system gets a new process, and everything is as before when it is over"
    if critical:
        yield f"{subject.key} is critical: while it is down, so is what needs it"


def report(subject: Subject, outcome: Outcome) -> Iterator[str]:
    """Say of each promise whether it was kept, and what it comes to."""
    for each in outcome.verdicts:
        took = "never" if each.took is None else f"after {duration(each.took)}"
        yield f"{_word(kept=each.kept)}: {each.promise.what} {took} (promised: within {duration(each.promise.within)})"
    if outcome.spoilt is not None:
        yield f"{_word(kept=False)}: {clean(outcome.spoilt)}"
    if outcome.touched:
        yield f"{_word(kept=False)}: others got a new process: {clean('; '.join(outcome.touched))}"
    else:
        yield f"{_word(kept=True)}: no other system got a new process"
    yield from (f"{_word(kept=False)}: {clean(each)}" for each in outcome.findings)
    if not outcome.findings and outcome.spoilt is None:
        yield f"{_word(kept=True)}: everything is as before"
    if outcome.kept:
        yield f"drill {subject}: all is well; pid {outcome.before} is {outcome.after} now"
    else:
        yield f"drill {subject}: a promise was broken"


def as_json(subject: Subject, outcome: Outcome) -> Mapping[str, Any]:
    """Return the report as one object."""
    verdicts = [
        {
            "what": each.promise.what,
            "took": None if each.took is None else round(each.took, 3),
            "within": round(each.promise.within, 3),
            "why": each.promise.why,
            "kept": each.kept,
        }
        for each in outcome.verdicts
    ]
    return {
        "fault": str(subject.fault),
        "server": None if subject.key == CONTROLLER else subject.key,
        "kept": outcome.kept,
        "promises": verdicts,
        "spoilt": outcome.spoilt,
        "pid_before": outcome.before,
        "pid_after": outcome.after,
        "touched": outcome.touched,
        "findings": outcome.findings,
    }


def _word(*, kept: bool) -> str:
    return "kept" if kept else "BROKEN"
