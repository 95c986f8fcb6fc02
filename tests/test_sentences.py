"""The journal's records in words."""

import re
from pathlib import Path
from typing import Any

import click
import pytest

from aurora_circus import sentences
from aurora_circus.clock import parse_rfc3339
from tests.fake_fleet import record

ROOT = Path(__file__).parent.parent
NOW = parse_rfc3339("2026-01-02T03:10:00Z")

TOLD: list[tuple[str, dict[str, Any], str]] = [
    (
        "circusd_replaced",
        {"why": "killed by SIGKILL", "old": 6, "new": 8, "attempt": 1},
        "circusd (pid 6) is replaced by pid 8: killed by SIGKILL",
    ),
    (
        "circusd_given_up",
        {"attempts": 8, "pid": 9, "why": "exited with code 1"},
        "circusd is given up after 8 attempts, the last one pid 9: exited with code 1",
    ),
    ("controller_started", {"pid": 7, "circusd": 6}, "the controller runs (pid 7, under circusd 6)"),
    ("controller_stopped", {"pid": 7, "why": "SIGTERM", "orderly": True}, "the controller (pid 7) ends: SIGTERM"),
    (
        "controller_stopped",
        {"pid": 7, "why": "circusd is gone", "orderly": False},
        "the controller (pid 7) ends: circusd is gone; the systems go on",
    ),
    (
        "controller_error",
        {"step": "probe of x", "error": "OSError: no"},
        "the controller failed at probe of x: OSError: no",
    ),
    ("config_loaded", {"systems": ["a", "b"], "missing": [], "faults": []}, "2 systems known"),
    (
        "config_loaded",
        {"systems": ["a"], "missing": ["b"], "faults": ["c: bad"], "new": ["a"]},
        "1 system known; new: a; circusd does not have b; c: bad",
    ),
    ("server_starting", {"cause": "start", "attempt": 0, "of": 3}, "starting"),
    ("server_starting", {"cause": "attempt", "attempt": 2, "of": 3}, "starting, attempt 2 of 3"),
    ("server_starting", {"cause": "retry", "attempt": 3, "of": 3}, "starting, one more attempt after it was given up"),
    ("server_starting", {"cause": "restart", "attempt": 0, "of": 3}, "starting (restart)"),
    (
        "server_starting",
        {"cause": "start", "attempt": 0, "of": 3, "missing": ["a"]},
        "starting, without a, not healthy yet",
    ),
    ("server_started", {"pid": 7, "took": 0.061, "latency_ms": 1.0}, "healthy after 0.06 s (pid 7)"),
    ("server_started", {"pid": 7, "took": None, "latency_ms": 1.0}, "healthy (pid 7)"),
    (
        "server_exited",
        {"pid": 7, "code": 1, "signal": None, "last_line": "boom", "after": 12.0},
        "pid 7 exited with code 1 after 12 s: boom",
    ),
    ("server_exited", {"pid": 7, "code": None, "signal": "SIGKILL", "after": None}, "pid 7 killed by SIGKILL"),
    ("server_exited", {"pid": 7, "code": 0, "signal": None, "last_line": "ready"}, "pid 7 exited with code 0"),
    ("health_check", {"state": "healthy", "latency_ms": 1.5, "error": None}, "healthy, 1.5 ms"),
    ("health_check", {"state": "healthy", "latency_ms": None, "error": "slow"}, "healthy: slow"),
    ("server_unhealthy", {"reason": "no answer", "failures": 2, "pid": 7}, "unhealthy: no answer"),
    ("restart_scheduled", {"attempt": 1, "of": 3, "delay": 0.0, "reason": "boom"}, "attempt 1 of 3 at once: boom"),
    ("restart_scheduled", {"attempt": 2, "of": 3, "delay": 1.1, "reason": None}, "attempt 2 of 3 in 1.10 s"),
    ("server_recovered", {"pid": 7, "downtime": 0.5, "attempt": 1}, "healthy again, after 0.50 s (pid 7)"),
    ("restart_failed", {"attempt": 1, "of": 3, "reason": "boom"}, "attempt 1 of 3 failed: boom"),
    (
        "server_failed",
        {"attempts": 1, "of": 3, "reason": "boom", "retry_in": 300.0},
        "failed, given up after 1 attempt: boom; one more attempt in 5 min",
    ),
    ("server_failed", {"attempts": 0, "of": 0, "reason": None, "retry_in": None}, "failed, given up after 0 attempts"),
    ("server_stopping", {"pid": 7, "why": "stop"}, "stopping: it is wanted down"),
    ("server_stopping", {"pid": 7, "why": "left over"}, "stopping: left over"),
    ("server_stopped", {}, "stopped"),
    ("port_conflict", {"port": 80, "pid": 9, "command": "nginx"}, "port 80 is held by pid 9 (nginx)"),
    ("port_conflict", {"port": 80, "pid": None, "command": None}, "port 80 is held by another user's process"),
    (
        "drill",
        {"fault": "hang", "phase": "begins", "by": "cli", "seconds": 25.0},
        "drill hang begins, for 25 s at most, asked for by cli",
    ),
    (
        "drill",
        {"fault": "hang", "phase": "over", "by": "cli", "why": "its process is gone"},
        "drill hang is over: its process is gone",
    ),
    ("command", {"verb": "stop", "by": "cli", "servers": ["a", "b"]}, "stop of a, b, asked for by cli"),
    (
        "command",
        {"verb": "reloadconfig", "by": "circusctl", "servers": []},
        "reloadconfig of the fleet, asked for by circusctl",
    ),
    ("journal_gap", {"first": 3, "last": 5}, "records 3 to 5 were lost"),
    ("log_dropped", {"file": "x.log", "bytes": 9}, "9 bytes of x.log were dropped, it grew too fast"),
    ("something_new", {"a": 1, "b": [2]}, "something_new a=1 b=[2]"),
    ("server_started", {"unexpected": True}, "server_started unexpected=True"),
]


@pytest.mark.parametrize(("event", "details", "words"), TOLD)
def test_an_event_is_told_in_words(event: str, details: dict[str, Any], words: str) -> None:
    """Also one of a newer version, and one whose details are not what they should be."""
    assert click.unstyle(sentences.told(record(1, event, "x", **details))) == words


def test_every_event_that_we_write_has_its_words() -> None:
    """Whatever the package and the plugin put into the journal."""
    sources = [*(ROOT / "aurora_circus").glob("*.py"), *(ROOT / "plugins").glob("*.py")]
    text = "\n".join(each.read_text(encoding="utf-8") for each in sources)
    written = set(re.findall(r'record\(\s*"(\w+)"', text)) | set(re.findall(r'Record\([\w.]+, "(\w+)"', text))
    assert written
    assert written <= set(sentences._SENTENCES)


def test_a_line_says_when_who_and_what() -> None:
    """In local time, to the millisecond."""
    line = click.unstyle(sentences.line(record(7, "server_stopped", "web"), NOW))
    assert re.fullmatch(r"\d\d:\d\d:07\.500  web {21}  stopped", line)


def test_a_line_whose_time_is_none_shows_what_is_there() -> None:
    """A journal is data, and may be anybody's."""
    assert sentences.line({**record(7, "x"), "timestamp": "soon"}, NOW).startswith("\x1b[2msoon")


def test_what_a_system_says_cannot_steer_the_terminal() -> None:
    """Its last line stands in the journal."""
    told = sentences.told(record(1, "server_exited", "x", pid=1, code=1, signal=None, last_line="\x1b[2Jgone"))
    assert told == "pid 1 exited with code 1: gone"


def test_checks_that_tell_no_change_are_left_out() -> None:
    """The first failure is told, each one after it, and the return to health."""
    fine, ill = {"failures": 0}, {"failures": 1}
    records = [
        record(1, "health_check", "a", **fine),
        record(2, "health_check", "a", **ill),
        record(3, "health_check", "b", **fine),
        record(4, "health_check", "a", **fine),
        record(5, "health_check", "a", **fine),
        record(6, "server_stopped", "a"),
    ]
    assert [each["seq"] for each in sentences.Changes().of(records)] == [2, 4, 6]


def test_a_finding_is_one_line() -> None:
    """How bad, about what, and what."""
    assert sentences.finding("error", "api.port", "a\nb") == "error: api.port: a b"
