"""What a record of the journal says, in words. Pure.

An event that is not known here is shown as it is: the journal may be of a newer version than its reader.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aurora_circus import terminal
from aurora_circus.clock import parse_rfc3339
from aurora_circus.facts import Exit, Holder
from aurora_circus.records import Record
from aurora_circus.terminal import clean, duration, one

Details = Mapping[str, Any]

QUIET = frozenset({"health_check", "config_loaded"})
"""Events that are no news to somebody who watches the fleet."""
_WHY = {"stop": "it is wanted down", "restart": "to be restarted", "rejoin": "to be restarted"}


class Changes:
    """Leaves out of records the health checks that tell no change; the journal has them all the same."""

    def __init__(self) -> None:
        """Take everybody for healthy."""
        self._ill: set[object] = set()

    def of(self, records: Sequence[Record]) -> list[Record]:
        """Return what is left of ``records``; call it with all of them, in their order."""
        found = []
        for record in records:
            server, details = record.get("server"), record.get("details") or {}
            if record.get("event") != "health_check":
                found.append(record)
            elif not details.get("failures") and server not in self._ill:
                continue
            else:
                found.append(record)
                (self._ill.add if details.get("failures") else self._ill.discard)(server)
        return found


def line(record: Record, now: float) -> str:
    """Return one record as one line: when (local time), who, what."""
    when = str(record.get("timestamp"))
    try:
        at = parse_rfc3339(when)
    except ValueError:
        pass
    else:
        when = f"{terminal.clock_time(at, now)}.{int(at * 1000) % 1000:03d}"
    return (
        f"{terminal.dim(clean(when))}  {clean(record.get('server') or record.get('system') or ''):<24}  {told(record)}"
    )


def told(record: Record) -> str:
    """Return what happened, without when and to whom."""
    event, details = str(record.get("event")), record.get("details")
    details = details if isinstance(details, Mapping) else {}
    try:
        text = _SENTENCES[event](details)
    except (KeyError, TypeError, ValueError):
        text = " ".join([event, *(f"{name}={value}" for name, value in details.items())])
    text = clean(text)
    word, _, rest = text.partition(" ")
    return f"{terminal.state(word)} {rest}".rstrip() if word in terminal.COLOURS else text


def finding(severity: str, key: str, message: str) -> str:
    """Return what a look at the machine has found."""
    return f"{severity}: {key}: {clean(message)}"


def _because(reason: object) -> str:
    return f": {reason}" if reason else ""


def _attempt(details: Details) -> str:
    return f"attempt {details['attempt']} of {details['of']}"


def _controller_stopped(details: Details) -> str:
    told = f"the controller (pid {details['pid']}) ends: {details['why']}"
    return told if details.get("orderly") else f"{told}; the systems go on"


def _config_loaded(details: Details) -> str:
    parts = [f"{one(len(details['systems']), 'system')} known"]
    parts += [f"{name}: {', '.join(details[name])}" for name in ("new", "changed", "removed") if details.get(name)]
    if details.get("missing"):
        parts.append(f"circusd does not have {', '.join(details['missing'])}")
    return "; ".join([*parts, *details.get("faults", ())])


def _starting(details: Details) -> str:
    cause = details["cause"]
    told = {"attempt": f"starting, {_attempt(details)}", "retry": "starting, one more attempt after it was given up"}
    missing = f", without {', '.join(details['missing'])}, not healthy yet" if details.get("missing") else ""
    return told.get(cause, "starting" if cause == "start" else f"starting ({cause})") + missing


def _started(details: Details) -> str:
    took = "" if details.get("took") is None else f" after {duration(details['took'])}"
    return f"healthy{took} (pid {details['pid']})"


def _exited(details: Details) -> str:
    how = Exit(details.get("code"), details.get("signal"), asked=bool(details.get("asked")))
    lived = "" if details.get("after") is None else f" after {duration(details['after'])}"
    peace = how.in_peace or details.get("code") == 0  # of who went in peace it explains nothing
    last = None if peace else details.get("last_line")
    return f"pid {details['pid']} {how}{lived}{_because(last)}"


def _checked(details: Details) -> str:
    latency = "" if details.get("latency_ms") is None else f", {details['latency_ms']} ms"
    return f"{details['state']}{latency}{_because(details.get('error'))}"


def _scheduled(details: Details) -> str:
    when = f"in {duration(details['delay'])}" if details["delay"] else "at once"
    return f"{_attempt(details)} {when}{_because(details.get('reason'))}"


def _recovered(details: Details) -> str:
    return f"healthy again, after {duration(details['downtime'])} (pid {details['pid']})"


def _failed(details: Details) -> str:
    again = "" if details.get("retry_in") is None else f"; one more attempt in {duration(details['retry_in'])}"
    return f"failed, given up after {one(details['attempts'], 'attempt')}{_because(details.get('reason'))}{again}"


def _conflict(details: Details) -> str:
    return f"port {details['port']} is held by {Holder(details.get('pid'), details.get('command'))}"


def _leftover(details: Details) -> str:
    pids = ", ".join(f"pid {each}" for each in details["pids"])
    return f"left over from an earlier life, and ended{' by force' if details.get('forced') else ''}: {pids}"


def _drill(details: Details) -> str:
    if details["phase"] == "over":
        return f"drill {details['fault']} is over: {details['why']}"
    return f"drill {details['fault']} begins, for {duration(details['seconds'])} at most, asked for by {details['by']}"


def _short(reason: object) -> str:
    return "can be made again" if reason is None else f"cannot be made, and nobody is judged by that: {reason}"


def _command(details: Details) -> str:
    whom = ", ".join(details.get("servers") or ()) or "the fleet"
    return f"{details['verb']} of {whom}, asked for by {details['by']}"


_SENTENCES: Mapping[str, Callable[[Details], str]] = {
    "controller_started": lambda of: f"the controller runs (pid {of['pid']}, under circusd {of['circusd']})",
    "controller_stopped": _controller_stopped,
    "controller_error": lambda of: f"the controller failed at {of['step']}: {of['error']}",
    "controller_short": lambda of: f"{of['of']} {_short(of['reason'])}",
    "controller_away": lambda of: f"nothing was looked at for {duration(of['seconds'])}: suspended, or out of time",
    "command_refused": lambda of: f"{of['verb']}, asked for by {of['by']}, was refused: {of['reason']}",
    "circusd_replaced": lambda of: f"circusd (pid {of['old']}) is replaced by pid {of['new']}{_because(of.get('why'))}",
    "circusd_given_up": lambda of: (
        f"circusd is given up after {one(of['attempts'], 'attempt')}, the last one pid {of['pid']}{_because(of['why'])}"
    ),
    "config_loaded": _config_loaded,
    "server_starting": _starting,
    "server_started": _started,
    "server_exited": _exited,
    "health_check": _checked,
    "server_unhealthy": lambda of: f"unhealthy{_because(of.get('reason'))}",
    "restart_scheduled": _scheduled,
    "server_recovered": _recovered,
    "restart_failed": lambda of: f"{_attempt(of)} failed{_because(of.get('reason'))}",
    "server_failed": _failed,
    "server_stopping": lambda of: f"stopping: {_WHY.get(of['why'], of['why'])}",
    "server_stopped": lambda _: "stopped",
    "leftover_ended": _leftover,
    "port_conflict": _conflict,
    "command": _command,
    "drill": _drill,
    "journal_gap": lambda of: f"records {of['first']} to {of['last']} were lost{_because(of.get('error'))}",
    "log_dropped": lambda of: f"{of['bytes']} bytes of {of['file']} were dropped, it grew too fast",
}
