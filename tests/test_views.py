"""What the API says of a system in each of its states: the status object and the answer of ``explain``."""

from typing import Any

import pytest

from aurora_circus import facts, views
from aurora_circus.facts import Outcome, Process, State
from aurora_circus.fleet import Fleet, Memory
from tests.world import OK, REFUSED, SILENT, system

FIRST = Process(101, 1.0)


def stamp(at: float) -> str:
    """Make a timestamp that shows its time."""
    return f"T{at:g}"


def fleet(**changes: Any) -> Fleet:
    """Return ``db`` and ``web``, which depends on it; ``changes`` are web's. web is spawned at 0 as FIRST."""
    made = Fleet([system("db"), system("web", depends_on=("db",), **changes)], 0.0)
    made.command(0.0, "op", "start", ["web"], "api")
    made.handle(facts.Spawned(0.0, "web", FIRST))
    return made


def probed(made: Fleet, at: float, outcome: Outcome = OK) -> Fleet:
    """Let a probe of web end."""
    made.handle(facts.Probed(at, "web", FIRST, outcome))
    return made


def crashed(made: Fleet, at: float) -> Fleet:
    """Let web's process die and its group be gone."""
    process = made.lives["web"].process
    assert process is not None
    made.handle(facts.Exited(at, "web", process, facts.Exit(code=1, last_line="boom")))
    made.handle(facts.Gone(at, "web", process))
    return made


def status(made: Fleet, now: float) -> dict[str, Any]:
    """Return web's status."""
    return views.status(made, made.lives["web"], now, stamp)


def explained(made: Fleet, now: float, key: str = "web") -> dict[str, Any]:
    """Return all that is said of a system."""
    return views.explain(made, made.lives[key], now, stamp, probes=[{"ok": True}], asked={"verb": "start"})


def test_a_healthy_system_is_said_whole() -> None:
    """Every field of the contract, with what it did not report at its default and the uptime of its process."""
    assert status(probed(fleet(critical=True), 1.0), 4.25) == {
        "title": "web",
        "healthy": True,
        "state": "healthy",
        "since": "T1",
        "error": None,
        "port": 5000,
        "pid": 101,
        "critical": True,
        "autonomous": True,
        "autonomous_mode": False,
        "tasks_processed": 0,
        "decisions_made": 0,
        "systems_healed": 0,
        "uptime": 4.25,
        "last_activity": "unknown",
        "reported": [],
        "last_check": "T1",
        "latency_ms": 2.0,
        "restarts": 0,
        "attempt": 0,
        "attempts": 6,
        "next_attempt_at": None,
        "depends_on": ["db"],
    }


def test_what_a_system_reports_stands_for_itself_and_its_uptime_goes_on() -> None:
    """Reported metrics are named; the reported uptime is that of the last probe and what has passed since."""
    outcome = Outcome(ok=True, metrics={"uptime": 10.5, "tasks_processed": 7})
    said = status(probed(fleet(), 1.0, outcome), 3.25)
    assert (said["uptime"], said["tasks_processed"], said["decisions_made"]) == (12.75, 7, 0)
    assert said["reported"] == ["tasks_processed", "uptime"]
    assert said["latency_ms"] is None


def test_the_metrics_of_a_dead_process_are_nobodys() -> None:
    """Down: no pid, no uptime, nothing reported; the last check keeps its time."""
    made = crashed(probed(fleet(max_retries=0), 1.0, Outcome(ok=True, metrics={"tasks_processed": 7})), 2.0)
    said = status(made, 5.0)
    assert (said["pid"], said["uptime"], said["tasks_processed"], said["reported"]) == (None, 0.0, 0, [])
    assert (said["state"], said["healthy"], said["last_check"]) == ("failed", False, "T1")


def test_a_system_never_probed_has_no_check_and_no_latency() -> None:
    """None, not a time that means nothing."""
    said = status(fleet(), 0.5)
    assert (said["last_check"], said["latency_ms"], said["healthy"]) == (None, None, False)


def test_only_what_waits_for_its_next_attempt_says_when_that_is() -> None:
    """Backoff and failed; the deadline of a start or a stop is no attempt."""
    made = fleet(max_retries=2)
    assert status(made, 0.5)["next_attempt_at"] is None
    crashed(made, 1.0)
    made.handle(facts.Spawned(1.0, "web", Process(102, 1.0)))
    crashed(made, 2.0)
    assert (status(made, 2.0)["state"], status(made, 2.0)["next_attempt_at"]) == ("backoff", "T3")
    assert (status(made, 2.0)["attempt"], status(made, 2.0)["attempts"], status(made, 2.0)["restarts"]) == (2, 2, 1)
    made = crashed(fleet(max_retries=0, retry_failed_after=100.0), 2.0)
    assert status(made, 2.0)["next_attempt_at"] == "T102"
    made = crashed(fleet(max_retries=0, retry_failed_after=0.0), 2.0)
    assert status(made, 2.0)["next_attempt_at"] is None


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (State.HEALTHY, "an old one", None),
        (State.STOPPED, "an old one", "stopped"),
        (State.STOPPING, "an old one", "stopping"),
        (State.STARTING, None, "starting"),
        (State.STARTING, "connection refused", "connection refused"),
        (State.UNHEALTHY, "no answer within 2 s", "no answer within 2 s"),
        (State.BACKOFF, "boom", "boom"),
        (State.FAILED, None, "failed"),
    ],
)
def test_why_it_is_not_healthy_is_said_in_words(state: State, reason: str | None, words: str | None) -> None:
    """Its own reason where there is one, its state where there is none; nothing when healthy."""
    made = fleet()
    life = made.lives["web"]
    life.state, life.error = state, reason
    assert views.error(made, life) == words


def test_a_waiting_system_says_whom_it_waits_for() -> None:
    """Its dependencies that are not healthy, or its turn."""
    made = Fleet([system("db"), system("web", depends_on=("db",))], 0.0)
    made.command(0.0, "op", "start", ["db", "web"], "api")
    assert views.error(made, made.lives["web"]) == "waiting for db"
    made.lives["db"].state = State.HEALTHY
    assert views.error(made, made.lives["web"]) == "waiting for its turn"


def test_explain_says_what_is_known_and_what_happens_next() -> None:
    """The status, and beside it the cause, the wish, what is left, the policy, and what was handed in."""
    made = probed(fleet(graceful_timeout=7.0, interval=3.0), 1.0)
    said = explained(made, 2.5)
    assert said.items() >= status(made, 2.5).items()
    assert {name: value for name, value in said.items() if name not in status(made, 2.5)} == {
        "server": "web",
        "for_seconds": 1.5,
        "wanted": True,
        "cause": None,
        "last_failure": None,
        "listener": "verified",
        "attempts_used": 0,
        "attempts_left": 3,
        "next": {"action": "the next probe", "at": "T4", "in_seconds": 1.5},
        "waiting_for": [],
        "last_command": {"verb": "start"},
        "probes": [{"ok": True}],
        "policy": {
            "failure_threshold": 2,
            "interval": 3.0,
            "timeout": 2.0,
            "start_timeout": 15.0,
            "backoff_base": 1.0,
            "backoff_cap": 60.0,
            "jitter": 0.0,
            "stable_after": 60.0,
            "retry_failed_after": 300.0,
            "graceful_timeout": 7.0,
        },
    }


@pytest.mark.parametrize(("seen", "words"), [(True, "verified"), (False, "not ours"), (None, "unverified")])
def test_whose_listener_it_is_is_said_of_a_process_only(seen: bool | None, words: str) -> None:
    """Three answers while there is a process, none when there is not."""
    made = probed(fleet(max_retries=0), 1.0, Outcome(ok=False, reason="held", verified=seen))
    assert explained(made, 1.0)["listener"] == words
    assert explained(crashed(made, 2.0), 2.0)["listener"] is None


def test_attempts_left_are_never_fewer_than_none() -> None:
    """Settings may have been changed to fewer than were used."""
    made = crashed(probed(fleet(max_retries=3), 1.0), 2.0)
    assert (explained(made, 2.0)["attempts_used"], explained(made, 2.0)["attempts_left"]) == (1, 2)
    made.update(2.0, [system("web", max_retries=0)])
    assert explained(made, 2.0)["attempts_left"] == 0


def following(made: Fleet, now: float) -> tuple[str, str | None, float | None]:
    """Return what is said to happen next to web."""
    said = explained(made, now)["next"]
    return said["action"], said["at"], said["in_seconds"]


def test_what_happens_next_to_what_starts_runs_and_is_ended() -> None:
    """starting, unhealthy, stopping: the action, and the deadline it has."""
    made = probed(fleet(failure_threshold=1), 0.5, REFUSED)
    assert following(made, 1.0) == (
        "it is brought down and counted as failed unless it is healthy by then",
        "T15",
        14.0,
    )
    probed(probed(made, 1.0), 6.0, SILENT)
    kill = "SIGKILL to what is left of it"
    assert following(made, 7.0) == (kill, "T11", 4.0)
    made = probed(fleet(), 1.0)
    made.command(2.0, "down", "stop", ["web"], "api")
    assert following(made, 2.0) == (kill, "T7", 5.0)
    assert following(made, 9.0) == (kill, "T7", 0.0)


def test_what_happens_next_to_what_is_down() -> None:
    """backoff, failed, stopped: an attempt with its number and time, or who has to start it."""
    made = fleet()
    life = made.lives["web"]
    life.process, life.attempt = None, 2
    life.resume(2.0, State.BACKOFF, 5.0)
    assert following(made, 3.0) == ("attempt 2 of 3", "T5", 2.0)
    life.resume(2.0, State.FAILED, 100.0)
    assert following(made, 10.0) == ("one more attempt by itself", "T100", 90.0)
    by_hand = "nothing, until it is started: aurora-circus start web"
    life.resume(2.0, State.FAILED, None)
    assert following(made, 10.0) == (by_hand, None, None)
    made.command(3.0, "down", "stop", ["web"], "api")
    assert following(made, 10.0) == (by_hand, None, None)


def test_what_hangs_and_is_not_autonomous_is_its_operators_affair() -> None:
    """Nothing happens by itself; the command that helps is named."""
    made = probed(probed(fleet(autonomous=False, failure_threshold=1), 1.0), 6.0, SILENT)
    assert following(made, 7.0) == ("nothing, it is not autonomous: aurora-circus restart web", None, None)


def test_what_waits_says_when_its_gate_opens() -> None:
    """The bound where there is one; without one only an event can open it."""
    made = Fleet([system("db", start_timeout=15.0), system("web", depends_on=("db",))], 0.0)
    made.remember({"db": Memory(), "web": Memory()}, 0.0)
    words = "it is started when its dependencies are healthy"
    assert following(made, 0.0) == (words, None, None)
    made.tick(1.0)
    assert following(made, 2.0) == (words, "T16", 14.0)
    assert explained(made, 2.0)["waiting_for"] == ["db"]
