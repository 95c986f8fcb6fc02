"""What the API says of a system: one object for its status, and the longer answer of ``explain``. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aurora_circus.facts import State
from aurora_circus.fleet import Fleet
from aurora_circus.lifecycle import Lifecycle

METRICS: Mapping[str, object] = {
    "autonomous_mode": False,
    "tasks_processed": 0,
    "decisions_made": 0,
    "systems_healed": 0,
    "uptime": 0.0,
    "last_activity": "unknown",
}
"""The metrics a system may report, and what stands for those it does not."""


def status(fleet: Fleet, life: Lifecycle, now: float, stamp: Callable[[float], str]) -> dict[str, Any]:
    """Return the status object of one system. ``stamp`` makes a timestamp of a monotonic time."""
    system = life.system
    reported = _reported(life)
    up_since = began(life)
    latency = None if life.last is None or life.last.latency is None else round(life.last.latency * 1000, 2)
    scheduled = life.due is not None and life.state in {State.BACKOFF, State.FAILED}
    return {
        "title": system.title,
        "healthy": life.state is State.HEALTHY,
        "state": str(life.state),
        "since": stamp(life.since),
        "error": error(fleet, life),
        "port": system.port,
        "pid": life.process and life.process.pid,
        "critical": system.critical,
        "autonomous": system.autonomous,
        **METRICS,
        **reported,
        "uptime": 0.0 if up_since is None else uptime(now, up_since),
        "reported": sorted(reported),
        "last_check": None if life.last_at is None else stamp(life.last_at),
        "latency_ms": latency,
        "restarts": life.restarts,
        "attempt": life.attempt,
        "attempts": system.max_attempts,
        "next_attempt_at": stamp(life.due) if scheduled and life.due is not None else None,
        "depends_on": list(system.depends_on),
    }


def began(life: Lifecycle) -> float | None:
    """Return the monotonic time from which its uptime counts, by its own word or by the spawn; None: it is not up."""
    if life.process is None:
        return None
    own = _reported(life).get("uptime")
    return life.spawned_at if own is None or life.last_at is None else life.last_at - own


def uptime(now: float, since: float) -> float:
    """Return the seconds between two monotonic times, as they are shown."""
    return round(now - since, 3)


def _reported(life: Lifecycle) -> Mapping[str, Any]:
    return {} if life.last is None or life.process is None else life.last.metrics


def error(fleet: Fleet, life: Lifecycle) -> str | None:
    """Say in words why a system is not healthy; None when it is."""
    match life.state:
        case State.HEALTHY:
            return None
        case State.STOPPED:
            return "stopped"
        case State.WAITING:
            return f"waiting for {', '.join(fleet.waits_for(life.system.key)) or 'its turn'}"
        case State.STOPPING:
            return "stopping"
        case _:
            return life.error or str(life.state)


def explain(  # noqa: PLR0913 - what is known, each from where it is
    fleet: Fleet,
    life: Lifecycle,
    now: float,
    stamp: Callable[[float], str],
    *,
    probes: Sequence[Mapping[str, Any]],
    asked: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return all that is known of one system: why it is as it is, and what happens next and when."""
    key, policy = life.system.key, life.system.restart
    what, when = _next(fleet, life)
    identity = {True: "verified", False: "not ours", None: "unverified"}[life.verified]
    return {
        **status(fleet, life, now, stamp),
        "server": key,
        "for_seconds": round(now - life.since, 3),
        "wanted": life.wanted,
        "cause": error(fleet, life),
        "last_failure": life.failure and {"at": stamp(life.failure[0]), "reason": life.failure[1]},
        "listener": identity if life.process is not None else None,
        "attempts_used": life.attempt,
        "attempts_left": max(0, life.system.max_attempts - life.attempt),
        "next": {
            "action": what,
            "at": None if when is None else stamp(when),
            "in_seconds": None if when is None else round(max(0.0, when - now), 3),
        },
        "waiting_for": fleet.waits_for(key),
        "last_command": asked,
        "probes": list(probes),
        "policy": {
            "failure_threshold": life.system.probe.failure_threshold,
            "interval": life.system.probe.interval,
            "timeout": life.system.probe.timeout,
            "start_timeout": policy.start_timeout,
            "backoff_base": policy.backoff_base,
            "backoff_cap": policy.backoff_cap,
            "jitter": policy.jitter,
            "stable_after": policy.stable_after,
            "retry_failed_after": policy.retry_failed_after,
            "graceful_timeout": life.system.graceful_timeout,
        },
    }


def _next(fleet: Fleet, life: Lifecycle) -> tuple[str, float | None]:
    key, when = life.system.key, life.due
    match life.state:
        case State.STOPPED:
            return f"nothing, until it is started: aurora-circus start {key}", None
        case State.WAITING:
            return "it is started when its dependencies are healthy", fleet.gate_opens(life)
        case State.STARTING:
            return "it is brought down and counted as failed unless it is healthy by then", when
        case State.HEALTHY:
            return "the next probe", life.deadline()
        case State.UNHEALTHY if when is None:
            return f"nothing, it is not autonomous: aurora-circus restart {key}", None
        case State.UNHEALTHY | State.STOPPING:
            return "SIGKILL to what is left of it", when
        case State.BACKOFF:
            return f"attempt {life.attempt} of {life.system.max_attempts}", when
        case State.FAILED if when is None:
            return f"nothing, until it is started: aurora-circus start {key}", None
        case State.FAILED:
            return "one more attempt by itself", when
