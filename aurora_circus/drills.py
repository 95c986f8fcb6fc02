"""Drills: the faults that an operator may have done to a running fleet, and when that is refused. Pure.

Both sides read it: the plugin, which does them, and the command line, which says beforehand what will be done. It must
never let a drill take a system's last attempt, nor strike where nobody would bring back what was struck.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aurora_circus.drill_names import Fault
from aurora_circus.errors import AuroraError
from aurora_circus.facts import State

MOST_STRIKES = 3
"""Processes in a row that a crash loop ends at most."""
LEAST_STRIKES = 2
LONGEST = 3600.0
"""Seconds that a drill may last; it ends by itself then."""

Status = Mapping[str, Mapping[str, Any]]


class RefusedDrillError(AuroraError):
    """A drill that is not begun: the message says why."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: ``port`` is the stand-in's on 127.0.0.1, ``seconds`` bound it all."""

    fault: Fault
    seconds: float
    port: int | None = None
    force: bool = False


def strikes(fault: Fault, left: int) -> int:
    """Return how many attempts a drill costs; ``left`` are there. A crash loop leaves one where it can."""
    if fault is Fault.CRASH_LOOP:
        return min(MOST_STRIKES, max(LEAST_STRIKES, left - 1))
    return 0 if fault is Fault.PLUGIN_KILL else 1


def attempts_left(each: Mapping[str, Any]) -> int:
    """Return how many attempts a system has, by its status."""
    return max(0, int(each["attempts"]) - int(each["attempt"]))


def refusal(fault: Fault, key: str, status: Status, *, force: bool = False) -> str | None:
    """Say why a drill is not begun on a fleet of this ``status``; None when it may be.

    ``force`` bears a fleet in which others are not well. Nothing bears a system that nobody would bring back.
    """
    running = next((name for name, each in status.items() if each.get("drill")), None)
    if running is not None:
        return f"a drill runs already: {status[running]['drill']} of {running}"
    if fault is not Fault.PLUGIN_KILL:
        reason = _unfit(fault, key, status[key])
        if reason is not None:
            return reason
    ill = [name for name, each in status.items() if each["state"] not in {State.HEALTHY, State.STOPPED}]
    if ill and not force:
        told = "; ".join(f"{name} is {status[name]['state']}: {status[name]['error']}" for name in ill)
        return f"the fleet is not all well already ({told})"
    return None


def _unfit(fault: Fault, key: str, each: Mapping[str, Any]) -> str | None:
    if each["state"] != State.HEALTHY:
        return f"{key} is {each['state']}, and a drill needs a healthy system"
    if not each["autonomous"]:
        return f"{key} is not autonomous: nobody would bring it back"
    left, needed = attempts_left(each), strikes(fault, attempts_left(each))
    if left < needed:
        return (
            f"{key} has {left} of {each['attempts']} attempts left, and {fault} takes {needed}; they count anew once "
            "it has been healthy for stable_after, or after a restart by hand"
        )
    return None
