"""``check``: findings and trials, in words and exit codes."""

from pathlib import Path

import click
import pytest

from aurora_circus import checks, leftovers, lookup, preflight, trial
from aurora_circus.config import Config
from aurora_circus.facts import Process
from aurora_circus.interrupts import Interrupted
from aurora_circus.preflight import Finding
from aurora_circus.probe import METRICS
from aurora_circus.trial import Trial
from tests.fake_fleet import context, fleet


@pytest.fixture
def around(tmp_path: Path) -> Config:
    """A fleet."""
    return fleet(tmp_path)


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the machine has to say."""
    found: list[Finding] = []
    monkeypatch.setattr(preflight, "inspect", lambda *_, **__: found)
    return found


def test_errors_are_exit_2(around: Config, findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    """Errors go to standard error, and the rest is said all the same."""
    findings += [Finding("error", "a", "bad"), Finding("warning", "b", "odd"), Finding("note", "c", "so")]
    assert checks.run(context(around), live=True) == 2
    assert capsys.readouterr() == ("warning: b: odd\nnote: c: so\n", "error: a: bad\n1 error: the fleet cannot start\n")


def test_anything_else_is_exit_0(around: Config, findings: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    """A warning keeps nothing from starting."""
    findings.append(Finding("warning", "b", "odd"))
    assert checks.run(context(around), live=False) == 0
    assert "2 systems, from fleet.toml: nothing keeps them from starting" in capsys.readouterr().out


@pytest.mark.usefixtures("findings")
@pytest.mark.parametrize("circusd", [True, False])
def test_trials_need_a_stopped_fleet(
    around: Config, circusd: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that was left over holds the ports."""
    monkeypatch.setattr(lookup, "find", lambda _: Process(2**22 + 1, 1.0) if circusd else None)
    monkeypatch.setattr(leftovers, "surviving", lambda *_: {} if circusd else {"brain": [Process(9, 1.0)]})
    assert checks.run(context(around), live=True) == 1
    said = capsys.readouterr().err
    assert "check --live needs a stopped fleet" in said
    assert ("circusd, pid 4194305" if circusd else "left over: brain") in said


def test_the_fleets_own_processes_are_no_strangers(around: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ports are no news."""
    own: list[object] = []

    def inspect(_: object, **more: object) -> list[Finding]:
        own.append(more["own"])
        return []

    monkeypatch.setattr(preflight, "inspect", inspect)
    monkeypatch.setattr(lookup, "find", lambda _: None)
    monkeypatch.setattr(leftovers, "surviving", lambda *_: {"brain": [Process(9, 1.0)]})
    checks.run(context(around), live=False)
    assert own == [[9]]


@pytest.mark.usefixtures("findings")
@pytest.mark.parametrize(("healthy", "code"), [(True, 0), (False, 1)])
def test_every_system_is_tried(
    around: Config, healthy: bool, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is not healthy is exit 1, and keeps nobody else from being tried."""
    monkeypatch.setattr(
        trial,
        "attempt",
        lambda _, system, *__: Trial(system.key, 1, healthy=healthy or system.key == "router", reason="x"),
    )
    assert checks.run(context(around), live=True) == code
    said = capsys.readouterr()
    assert "router                    healthy" in said.out
    assert ("1 of 2 systems not healthy: brain" in said.err) is bool(code)


@pytest.mark.usefixtures("findings")
def test_a_signal_ends_the_trials(
    around: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a traceback."""

    def attempt(*_: object) -> Trial:
        raise Interrupted(2)

    monkeypatch.setattr(trial, "attempt", attempt)
    assert checks.run(context(around), live=True) == 1
    assert "what was started is ended again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (
            Trial("web", 1, healthy=True, took=0.5, latency=0.0012, given=frozenset(METRICS)),
            ["web                       healthy  after 0.50 s, HTTP 200 in 1.2 ms; all six metrics"],
        ),
        (
            Trial("web", 1, healthy=True, took=0.5, given=frozenset({"uptime", "last_activity"})),
            [
                "web                       healthy  after 0.50 s, HTTP 200; metrics: last_activity, uptime; not: "
                + ", ".join(each for each in METRICS if each not in {"last_activity", "uptime"}),
            ],
        ),
        (
            Trial("web", 1, healthy=True, took=0.5),
            ["web                       healthy  after 0.50 s, HTTP 200; metrics: none"],
        ),
        (
            Trial("web", 1, healthy=False, reason="it ended", output=("a\x1b[2J", "b"), left=True),
            [
                "web                       failed   it ended",
                "                          | a",
                "                          | b",
                "                          something of it goes on, even after SIGKILL (port 1)",
            ],
        ),
    ],
)
def test_a_trial_is_told_in_words(found: Trial, lines: list[str]) -> None:
    """Status, latency, which of the six metrics it gave and which not; of a failure, why and its last words."""
    assert click.unstyle(trial.sentence(found)).split("\n") == lines
