"""How the fleet is, and why: what ``status`` and ``explain`` show. Pure: the API's answers in, text out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aurora_circus import terminal
from aurora_circus.clock import parse_rfc3339
from aurora_circus.terminal import NOTHING, clean, duration, one

Status = Mapping[str, Any]
Advice = Callable[..., str]
"""Makes a command to type of its words."""

HEAD = ("SYSTEM", "STATE", "PORT", "PID", "UPTIME", "RESTARTS", "ATTEMPT", "LATENCY", "")
WITHOUT_NOTE = frozenset({"healthy", "stopped", "stopping"})
"""States that say all there is to say."""
BUNDLED = "The bundled reference systems run here, no scripts of your own (fleet.project_root says where those are)."
MEANING = {
    "stopped": "it is wanted down",
    "waiting": "it waits for its dependencies",
    "starting": "it is being started, and is not healthy yet",
    "healthy": "it does its work",
    "unhealthy": "it is not well, and is being brought down",
    "backoff": "it is down, and the next attempt has a time",
    "stopping": "it is being brought down",
    "failed": "all attempts are used up",
}
"""Each state in a few words."""


def systems(status: Mapping[str, Status], now: float, width: int | None = None) -> str:
    """Return the table of all systems. ``now`` is the time of day in seconds since 1970."""
    rows = [_row(key, each, now) for key, each in status.items()]
    text = terminal.table(HEAD, rows, width)
    critical = any(each.get("critical") for each in status.values())
    return f"{text}\n{terminal.dim('* critical')}" if critical else text


def summary(status: Mapping[str, Status], advice: Advice) -> list[str]:
    """Return how many are healthy, what the others are, and what to ask next."""
    by_state: dict[str, list[str]] = {}
    for key, each in status.items():
        by_state.setdefault(str(each.get("state")), []).append(key)
    healthy = len(by_state.pop("healthy", []))
    others = [f"{terminal.state(word)}: {', '.join(keys)}" for word, keys in by_state.items()]
    lines = [f"{healthy} of {one(len(status), 'system')} healthy" + "".join(f"; {each}" for each in others)]
    ill = [key for key, each in status.items() if each.get("state") not in {"healthy", "stopped"}]
    if ill:
        worst = next((key for key in ill if status[key].get("state") == "failed"), ill[0])
        lines.append(f"why, and what next: {advice('explain', worst)}")
    elif by_state:
        lines.append(f"to start: {advice('start', by_state.popitem()[1][0])}")
    return lines


def controller(health: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the controller itself; nothing when it is well."""
    if health.get("healthy"):
        return []
    faults = []
    for name, words in (
        ("circusd", "circusd does not answer it"),
        ("journal", "its journal cannot be written"),
        ("probes", "its probes are late"),
    ):
        part = health.get(name)
        if isinstance(part, Mapping) and not part.get("ok"):
            detail = part.get("error") or ", ".join(part.get("late", ()))
            faults.append(f"{words}: {clean(detail)}" if detail else words)
    return [f"{terminal.state('unhealthy')}: the controller itself: " + "; ".join(faults or ["it does not say why"])]


def note(status: Status, now: float) -> str:
    """Return why a system is not well, and when the next attempt is."""
    state, drill = status.get("state"), status.get("drill")
    parts = [f"a drill runs: {clean(drill)}"] if isinstance(drill, str) else []
    if state in WITHOUT_NOTE:
        return "".join(parts)
    error = status.get("error")
    parts += [clean(error)] if error and error != state else []
    due = moment(status.get("next_attempt_at"))
    if due is not None:
        parts.append(f"next attempt in {duration(due - now)}")
    return "; ".join(parts)


def moment(text: object) -> float | None:
    """Return the seconds since 1970 that a timestamp stands for, None where it is none."""
    try:
        return parse_rfc3339(text) if isinstance(text, str) else None
    except ValueError:
        return None


def explanation(answer: Status, now: float, advice: Advice) -> str:
    """Return what is known of one system in sentences: what, since when, why, what next, and what you can do."""
    key, state = clean(answer.get("server")), str(answer.get("state"))
    since = moment(answer.get("since"))
    age = "" if since is None else f" since {terminal.clock_time(since, now)}, for {duration(now - since)}"
    also = [
        each
        for each in (clean(answer.get("title") or key), "critical" if answer.get("critical") else key)
        if each != key
    ]
    who = f"{terminal.strong(key)} ({', '.join(also)})" if also else terminal.strong(key)
    what = f"{who} is {terminal.state(state)}{age}: {MEANING.get(state, state)}."
    facts = [
        what,
        *_drilled(answer, now),
        *_why(answer, state),
        *_failed(answer, now),
        *_next(answer, now),
        *_asked(answer, now),
        *_who(answer),
        *_tries(answer),
    ]
    parts = ["\n".join(facts), "You can:\n" + "\n".join(f"  {each}" for each in _remedies(key, state, advice))]
    probes = [_probe(each, now) for each in _list(answer, "probes")[-5:]]
    if probes:
        parts.append("\n".join(["Last probes:", *(f"  {each}" for each in probes)]))
    lines = [clean(each) for each in _list(answer, "output")[-10:]]
    parts.append("\n".join(["Last lines of its output:", *(f"  {each}" for each in lines or ["(there are none)"])]))
    return "\n\n".join(parts)


def _row(key: str, status: Status, now: float) -> Sequence[str]:
    alive = status.get("pid") is not None
    attempt, latency = status.get("attempt"), status.get("latency_ms")
    return (
        f"{clean(key)} *" if status.get("critical") else clean(key),
        terminal.state(clean(status.get("state"))),
        clean(status.get("port")),
        clean(status["pid"]) if alive else NOTHING,
        _uptime(status) if alive else NOTHING,
        clean(status.get("restarts", NOTHING)),
        f"{attempt}/{status.get('attempts', '?')}" if attempt else NOTHING,
        f"{latency} ms" if alive and latency is not None else NOTHING,
        note(status, now),
    )


def _uptime(status: Status) -> str:
    uptime = status.get("uptime")
    return duration(uptime) if isinstance(uptime, (int, float)) else NOTHING


def _drilled(answer: Status, now: float) -> list[str]:
    drill = answer.get("drill")
    if not isinstance(drill, Mapping):
        return []
    until = moment(drill.get("ends_at"))
    when = "" if until is None else f", for {duration(until - now)} more at most"
    return [f"Drill: {clean(drill.get('fault'))}, asked for by {clean(drill.get('by'))}{when}."]


def _why(answer: Status, state: str) -> list[str]:
    cause = answer.get("cause")
    if not cause or state in WITHOUT_NOTE:
        return []
    return [f"Why: {clean(cause)}."]


def _failed(answer: Status, now: float) -> list[str]:
    """Return what went wrong last, where that is not what is wrong now."""
    last = answer.get("last_failure")
    if not isinstance(last, Mapping) or last.get("reason") == answer.get("cause"):
        return []
    at = moment(last.get("at"))
    when = "" if at is None else f" at {terminal.clock_time(at, now)}"
    return [f"Last failure{when}: {clean(last.get('reason'))}."]


def _next(answer: Status, now: float) -> list[str]:
    step = answer.get("next")
    if not isinstance(step, Mapping):
        return []
    due = moment(step.get("at"))
    when = "" if due is None else f", in {duration(due - now)} (at {terminal.clock_time(due, now)})"
    return [f"Next: {clean(step.get('action'))}{when}."]


def _asked(answer: Status, now: float) -> list[str]:
    last = answer.get("last_command")
    if not isinstance(last, Mapping):
        return []
    at = moment(last.get("at"))
    when = "" if at is None else f", {terminal.clock_time(at, now)}"
    return [f"Last command: {clean(last.get('verb'))}, asked for by {clean(last.get('by'))}{when}."]


def _who(answer: Status) -> list[str]:
    pid, port = answer.get("pid"), answer.get("port")
    if pid is None:
        return [f"Process: none; its port is {port}."]
    listener = {
        "verified": "and it is this process that listens there",
        "unverified": "who listens there cannot be seen",
        "not ours": "where somebody else listens",
    }.get(str(answer.get("listener")), "")
    return [f"Process: pid {pid}, up for {_uptime(answer)}, port {port}{', ' + listener if listener else ''}."]


def _tries(answer: Status) -> list[str]:
    used, left, restarts = (answer.get(name) for name in ("attempts_used", "attempts_left", "restarts"))
    if not isinstance(used, int) or not isinstance(left, int):
        return []
    return [f"Attempts: {used} of {used + left} used; restarts so far: {restarts}."]


def _remedies(key: str, state: str, advice: Advice) -> list[str]:
    start = "start" if state in {"stopped", "failed", "backoff", "waiting"} else "restart"
    word = {
        "stopped": "start it",
        "failed": "try again now, with all attempts anew",
        "backoff": "try again now",
        "waiting": "go on waiting",
    }.get(state, "replace its process")
    commands = [] if state == "waiting" else [(advice(start, key), word)]
    if state == "waiting":
        commands.append((advice("restart", key), "start it now, without what it waits for"))
    if state != "stopped":
        commands.append((advice("stop", key), "take it down, until somebody starts it"))
    commands.append((advice("logs", key), "see more of its output"))
    commands.append((advice("events", "--server", key), "see what happened to it"))
    size = max(len(text) for text, _ in commands)
    return [f"{text:<{size}}  {about}" for text, about in commands]


def _probe(probe: Mapping[str, Any], now: float) -> str:
    at = moment(probe.get("at"))
    when = NOTHING if at is None else terminal.clock_time(at, now)
    latency = "" if probe.get("latency_ms") is None else f"  {probe['latency_ms']} ms"
    times = probe.get("n", 1)
    repeated = f"  ({times} times in a row)" if isinstance(times, int) and times > 1 else ""
    outcome = "ok" if probe.get("ok") else f"failed  {clean(probe.get('reason'))}"
    return f"{when}  {outcome}{latency}{repeated}"


def _list(answer: Status, name: str) -> list[Any]:
    value = answer.get(name)
    return value if isinstance(value, list) else []
