"""The journal as a story: what it leaves each system in, and which contradictions it sees."""

from typing import Any

import pytest

from aurora_circus.facts import State
from aurora_circus.story import replay

Json = dict[str, Any]
HEALTHY = {"healthy": True, "state": "healthy", "error": None, "failures": 0, "latency_ms": 1.0}


def told(*events: tuple[str, str | None, Json]) -> list[Json]:
    """Number events as a journal does."""
    return [
        {"seq": number, "event": event, "server": key, "details": details}
        for number, (event, key, details) in enumerate(events, 1)
    ]


def starting(cause: str = "start") -> tuple[str, str, Json]:
    """Begin a start of ``web``."""
    return "server_starting", "web", {"cause": cause, "attempt": 0, "of": 3}


def started(pid: int) -> tuple[str, str, Json]:
    """Come up for the first time as ``pid``."""
    return "server_started", "web", {"pid": pid, "took": 0.1}


def exited(pid: int) -> tuple[str, str, Json]:
    """End."""
    return "server_exited", "web", {"pid": pid, "code": 1, "signal": None}


def scheduled(attempt: int, of: int = 3) -> tuple[str, str, Json]:
    """Have an attempt before it."""
    return "restart_scheduled", "web", {"attempt": attempt, "of": of, "delay": 0.0}


def recovered(pid: int) -> tuple[str, str, Json]:
    """Be back."""
    return "server_recovered", "web", {"pid": pid, "downtime": 0.1, "attempt": 1}


def check(state: str) -> tuple[str, str, Json]:
    """Have its health said."""
    return "health_check", "web", {**HEALTHY, "state": state, "healthy": state == "healthy"}


PLUGIN = ("controller_started", None, {"pid": 1})
STOPPED: tuple[str, str, Json] = ("server_stopped", "web", {})
UP = (PLUGIN, starting(), check("healthy"), started(10))


@pytest.mark.parametrize(
    ("events", "state"),
    [
        pytest.param([starting()], State.STARTING, id="starting"),
        pytest.param(UP, State.HEALTHY, id="healthy"),
        pytest.param([*UP, exited(10)], State.UNHEALTHY, id="dead"),
        pytest.param([*UP, exited(10), scheduled(1)], State.BACKOFF, id="backoff"),
        pytest.param([*UP, exited(10), scheduled(1), starting("attempt"), recovered(11)], State.HEALTHY, id="back"),
        pytest.param([*UP, ("server_failed", "web", {})], State.FAILED, id="failed"),
        pytest.param([*UP, ("server_stopping", "web", {}), exited(10)], State.STOPPING, id="going"),
        pytest.param(
            [*UP, ("server_stopping", "web", {}), exited(10), ("server_stopped", "web", {})], State.STOPPED, id="gone"
        ),
        pytest.param([*UP, ("server_failed", "web", {}), PLUGIN, check("failed")], State.FAILED, id="still failed"),
        pytest.param([*UP, PLUGIN, check("healthy")], State.HEALTHY, id="taken over"),
    ],
)
def test_what_the_records_leave(events: list[tuple[str, str | None, Json]], state: State) -> None:
    """The last record of a system says its state, and a story that is right has no faults."""
    story = replay(told(*events))
    assert story.chapters["web"].state is state
    assert (story.holes, story.faults) == ([], [])


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        pytest.param([*UP, starting("attempt"), recovered(11)], "process 10 has not ended", id="two of one"),
        pytest.param([*UP, exited(10), STOPPED, started(11)], "and before that stopped", id="no start"),
        pytest.param([*UP, exited(10), STOPPED, check("healthy")], "and before that stopped", id="no start, checked"),
        pytest.param([*UP, exited(10), scheduled(2)], "attempt 2 follows attempt 0", id="an attempt is skipped"),
        pytest.param([*UP, exited(10), scheduled(1, of=0)], "attempt 1 of 0", id="one too many"),
        pytest.param([*UP, check("failed")], "failed, but the records before say healthy", id="a check disagrees"),
    ],
)
def test_contradictions(events: list[tuple[str, str | None, Json]], fault: str) -> None:
    """Each is named with the number of its record."""
    [found] = replay(told(*events)).faults
    assert fault in found
    assert found.startswith(f"seq {len(events)}: web: ")


def test_numbers_that_are_missing() -> None:
    """A hole is one unless a gap says so, and a number may not come twice."""
    records = told(*UP, exited(10), scheduled(1))
    assert replay([*records[:3], *records[4:]]).holes == ["number 5 follows 3"]
    assert replay([*records[:3], *records[2:]]).holes == ["number 3 follows 3"]
    gap = {"seq": 5, "event": "journal_gap", "server": None, "details": {"first": 4, "last": 5}}
    assert replay([*records[:3], gap, records[5]]).holes == []


def test_a_journal_may_begin_anywhere() -> None:
    """What was rotated away is nobody's fault."""
    records = told(*UP, exited(10), scheduled(1), starting("attempt"), recovered(11))
    for begin in range(len(records)):
        story = replay(records[begin:])
        assert (story.holes, story.faults) == ([], [])


def test_after_a_gap_nothing_is_held_against_anybody() -> None:
    """The records that are lost may have been about anything."""
    gap = ("journal_gap", None, {"first": 5, "last": 5})
    assert replay(told(*UP, gap, recovered(12))).faults == []


def test_after_the_plugin_died_the_last_attempt_may_be_told_again() -> None:
    """What it had not yet saved is not held against it."""
    events = (*UP, exited(10), scheduled(1), starting("attempt"), exited(11), scheduled(2), PLUGIN, scheduled(2))
    assert replay(told(*events)).faults == []
