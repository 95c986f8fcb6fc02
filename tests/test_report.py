"""What ``status`` and ``explain`` show."""

from typing import Any

import click

from aurora_circus import report, terminal
from aurora_circus.clock import parse_rfc3339, rfc3339
from aurora_circus.facts import State
from tests.fake_fleet import system

NOW = parse_rfc3339("2026-01-02T03:10:00Z")


def advice(*words: str) -> str:
    """Return a command."""
    return " ".join(("aurora-circus", *words))


def plain(text: str) -> list[str]:
    """Return the lines of a text without colours, and without what stands behind their end."""
    return [each.rstrip() for each in click.unstyle(text).split("\n")]


def test_a_table_says_of_everybody_what_counts() -> None:
    """State, port, pid, uptime, restarts, attempt, latency, and why not; criticals are marked."""
    status = {
        "brain": system(critical=True, pid=42, port=5020),
        "router": system(
            "backoff",
            port=5015,
            error="exited with code 1: boom",
            restarts=2,
            attempt=2,
            next_attempt_at=rfc3339(NOW + 3.9),
        ),
        "hub": system("stopped", error="stopped"),
    }
    assert plain(report.systems(status, NOW)) == [
        "SYSTEM   STATE    PORT  PID  UPTIME      RESTARTS  ATTEMPT  LATENCY",
        "brain *  healthy  5020  42   1 min 15 s  0         –        1.25 ms",
        (
            "router   backoff  5015  –    –           2         2/3      –        "
            "exited with code 1: boom; next attempt in 3.90 s"
        ),
        "hub      stopped  5000  –    –           0         –        –",
        "* critical",
    ]


def test_a_table_bears_what_a_system_says_of_itself() -> None:
    """Nothing in it is believed to be of the right kind, or to be harmless."""
    odd = {"state": "he\x1b[2Jalthy", "pid": 1, "uptime": "long", "port": None}
    assert "\x1b[2J" not in report.systems({"x": odd}, NOW)


def test_a_state_that_is_its_own_reason_is_told_once() -> None:
    """``starting: starting`` helps nobody."""
    assert report.note(system("starting", error="starting"), NOW) == ""


def test_a_drill_is_named_whatever_the_state() -> None:
    """Whoever is woken by it knows what it is."""
    assert report.note(system("healthy", drill="http-500"), NOW) == "a drill runs: http-500"
    assert report.note(system("unhealthy", drill="hang", error="boom"), NOW) == "a drill runs: hang; boom"
    assert report.note(system("healthy", drill=None), NOW) == ""
    drill = {"fault": "hang", "by": "api", "ends_at": "2026-01-02T03:10:12Z"}
    assert explained("healthy", drill=drill)[1] == "Drill: hang, asked for by api, for 12 s more at most."


def test_a_summary_of_health_is_one_line() -> None:
    """There is nothing to do."""
    assert report.summary({"a": system(), "b": system()}, advice) == ["2 of 2 systems healthy"]


def test_a_summary_of_trouble_says_what_to_ask() -> None:
    """What has failed comes first."""
    status = {"a": system("backoff"), "b": system("failed"), "c": system("stopped"), "d": system()}
    first, second = (click.unstyle(each) for each in report.summary(status, advice))
    assert first == "1 of 4 systems healthy; backoff: a; failed: b; stopped: c"
    assert second == "why, and what next: aurora-circus explain b"


def test_a_summary_of_what_is_wanted_down_says_how_to_start_it() -> None:
    """A stopped system is no trouble."""
    assert report.summary({"a": system("stopped")}, advice)[1] == "to start: aurora-circus start a"


def test_a_controller_that_is_well_is_not_mentioned() -> None:
    """It is when it is not, with each of its faults."""
    assert report.controller({"healthy": True}) == []
    health = {
        "healthy": False,
        "circusd": {"ok": False, "error": "no answer"},
        "journal": {"ok": True},
        "probes": {"ok": False, "late": ["a", "b"]},
    }
    (line,) = report.controller(health)
    assert click.unstyle(line) == (
        "unhealthy: the controller itself: circusd does not answer it: no answer; its probes are late: a, b"
    )
    assert "does not say why" in report.controller({"healthy": False})[0]


def test_every_state_has_its_words() -> None:
    """For ``explain``; and a colour, which never stands alone."""
    assert report.MEANING.keys() == {str(each) for each in State}
    assert terminal.COLOURS.keys() == report.MEANING.keys()


def explained(state: str, **more: Any) -> list[str]:
    """Return the lines of an explanation."""
    answer = {
        **system(state),
        "server": "web",
        "title": "The web",
        "since": rfc3339(NOW - 12),
        "cause": "exited with code 1: boom",
        "listener": "verified",
        "attempts_used": 2,
        "attempts_left": 1,
        "next": {"action": "attempt 3 of 3", "at": rfc3339(NOW + 3), "in_seconds": 3.0},
        "last_command": {"verb": "restart", "by": "cli", "at": rfc3339(NOW - 60)},
        "probes": [
            {"at": rfc3339(NOW - 20), "ok": True, "reason": None, "latency_ms": 1.5, "n": 1},
            {"at": rfc3339(NOW - 13), "ok": False, "reason": "connection refused", "latency_ms": None, "n": 4},
        ],
        "output": ["Traceback", "\x1b[31mboom"],
        **more,
    }
    return plain(report.explanation(answer, NOW, advice))


def test_an_explanation_says_what_why_what_next_and_what_to_do() -> None:
    """In this order, and with the last probes and lines."""
    lines = explained("backoff", critical=True)
    assert lines[0].startswith("web (The web, critical) is backoff since ")
    assert lines[0].endswith(", for 12 s: it is down, and the next attempt has a time.")
    assert lines[1] == "Why: exited with code 1: boom."
    assert lines[2].startswith("Next: attempt 3 of 3, in 3.00 s (at ")
    assert lines[3].startswith("Last command: restart, asked for by cli, ")
    assert lines[4:6] == ["Process: none; its port is 5000.", "Attempts: 2 of 3 used; restarts so far: 0."]
    assert "  aurora-circus start web            try again now" in lines
    assert [each[10:] for each in lines if "ok" in each or "refused" in each] == [
        "  ok  1.5 ms",
        "  failed  connection refused  (4 times in a row)",
    ]
    assert lines[-2:] == ["  Traceback", "  boom"]


def test_an_explanation_of_health_is_without_a_why() -> None:
    """And says whose process listens there."""
    lines = explained("healthy", cause=None, listener="unverified", output=[], last_command=None, title="web")
    assert lines[0].startswith("web is healthy since ")
    assert lines[2] == "Process: pid 42, up for 1 min 15 s, port 5000, who listens there cannot be seen."
    assert lines[-1] == "  (there are none)"


def test_an_explanation_of_waiting_offers_not_to_wait() -> None:
    """A restart of one system passes by the gate; a start does not."""
    text = "\n".join(explained("waiting"))
    assert "aurora-circus restart web          start it now, without what it waits for" in text
    assert "aurora-circus start web" not in text


def test_an_explanation_of_what_is_stopped_offers_to_start_it() -> None:
    """And not to stop it."""
    text = "\n".join(explained("stopped", next={"action": "nothing", "at": None}))
    assert "aurora-circus start web            start it" in text
    assert "aurora-circus stop" not in text
    assert "Next: nothing." in text


def test_an_answer_that_says_less_is_explained_as_far_as_it_goes() -> None:
    """Of an older or newer API, say."""
    assert "web is failed: all attempts are used up." in plain(
        report.explanation({"server": "web", "state": "failed"}, NOW, advice)
    )
