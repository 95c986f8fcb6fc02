"""How a fleet is taken down, and what is said of it."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from aurora_circus import kept, launch, leftovers, lookup, take_down
from aurora_circus.clock import Clock, parse_rfc3339
from aurora_circus.config import Config
from aurora_circus.context import Context
from aurora_circus.errors import NotRunningError
from aurora_circus.facts import Process
from aurora_circus.terminal import Terminal
from tests.fake_fleet import fleet, record, write_journal, write_state

CIRCUSD = Process(77, 1.0)


class Circusd(Clock):
    """A circusd that ends after so many looks at it, while the journal grows; each look takes half a second."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, looks: int, then: Callable[[int], object] = lambda _: None
    ) -> None:
        """``then`` is told how many looks there were."""
        self.now, self.looks, self.left, self.signals = 0.0, 0, looks, [0.0]
        self.signals.clear()
        self._then = then
        monkeypatch.setattr(lookup, "find", lambda _: CIRCUSD)
        monkeypatch.setattr(launch, "terminate", lambda *_: self.signals.append(self.now))
        monkeypatch.setattr(launch, "await_end", self.await_end)

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now

    def await_end(self, *_: object) -> bool:
        """Wait half a second."""
        self.now += 0.5
        self.looks += 1
        self._then(self.looks)
        return self.looks > self.left


@pytest.fixture
def around(tmp_path: Path) -> Config:
    """A fleet."""
    return fleet(tmp_path)


def test_systems_are_told_as_they_stop(
    around: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the journal's file, which is there until the very end; SIGTERM is repeated, as circusd may lose one."""
    write_journal(around, record(1, "server_stopped", "earlier"))
    steps = {1: record(2, "server_stopped", "router"), 3: record(3, "server_stopped", "brain")}
    circusd = Circusd(monkeypatch, 4, lambda look: write_journal(around, *([steps[look]] if look in steps else [])))
    assert take_down.down(Context(around, Terminal(), circusd)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Stopping the fleet aurora (circusd, pid 77) …"
    assert [each.split()[-2:] for each in lines[1:-1]] == [["router", "stopped"], ["brain", "stopped"]]
    assert lines[-1] == "The fleet aurora is down, after 2.50 s."
    assert circusd.signals == [0.0, 1.0, 2.0]


def test_a_circusd_that_does_not_end_is_exit_1(
    around: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After all grace periods and a margin; what still runs is named, and what to do."""
    write_state(around, {"brain": {"process": [9, 1.0]}})
    monkeypatch.setattr(leftovers, "surviving", lambda _, known: {key: [each] for key, each in known.items()})
    circusd = Circusd(monkeypatch, 10_000)
    monkeypatch.setattr(lookup, "ask_pid", lambda _: CIRCUSD.pid)
    assert take_down.down(Context(around, Terminal(), circusd)) == 1
    assert circusd.now == pytest.approx(2 * 5.0 + take_down.MARGIN, abs=1.0)
    said = capsys.readouterr().err
    assert "circusd (pid 77) is still there after 25 s; still running: brain (pid 9)" in said
    assert f"{Context.by_force(CIRCUSD.pid)}; aurora-circus down" in said


def test_a_circusd_that_neither_ends_nor_answers_is_ended_by_force(
    around: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody else will, since it is marked that the fleet is taken down."""
    Path(around.fleet.run_dir).mkdir(parents=True)
    killed: list[Process] = []
    circusd = Circusd(monkeypatch, 10_000)
    monkeypatch.setattr(lookup, "ask_pid", lambda _: None)

    def end(process: Process) -> bool:
        killed.append(process)
        circusd.left = 0
        return True

    monkeypatch.setattr(launch, "end", end)
    assert take_down.down(Context(around, Terminal(), circusd)) == 0
    assert killed == [CIRCUSD]
    assert "still there after 25 s, and does not answer: killed" in capsys.readouterr().err
    assert kept.marked(around.fleet.run_dir)


def test_what_circusd_leaves_is_ended_too(
    around: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped is proven: who was known before is looked for afterwards."""
    state = write_state(around, {"brain": {"process": [9, 1.0]}})
    alive = {"brain": [Process(9, 1.0)]}
    monkeypatch.setattr(leftovers, "surviving", lambda _, known: alive if "brain" in known else {})

    def end(
        _run_dir: str, leaders: dict[str, Process], order: object, graces: object, gone: Callable[..., None], _: object
    ) -> list[str]:
        assert leaders == {"brain": Process(9, 1.0)}
        gone("brain", 5.0, True)
        return []

    monkeypatch.setattr(leftovers, "end", end)
    assert take_down.down(Context(around, Terminal(), Circusd(monkeypatch, 0, lambda _: state.unlink()))) == 0
    assert "5.00 s  brain                     ended, by force (SIGKILL)" in capsys.readouterr().out


def test_left_overs_without_a_circusd_are_ended(
    around: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the wishes end with them; what cannot be ended is exit 1."""
    state = write_state(around, {"brain": {"process": [9, 1.0]}})
    monkeypatch.setattr(lookup, "find", lambda _: None)
    monkeypatch.setattr(leftovers, "surviving", lambda _, known: {key: [each] for key, each in known.items()})
    monkeypatch.setattr(leftovers, "end", lambda *_: ["brain"])
    assert take_down.down(Context(around)) == 1
    assert "still running, even after SIGKILL: brain (pid 9)" in capsys.readouterr().err
    assert state.exists()
    monkeypatch.setattr(leftovers, "end", lambda *_: [])
    assert take_down.down(Context(around)) == 0
    assert "There is no circusd any more" in capsys.readouterr().out
    assert not state.exists()


def test_nothing_at_all_is_a_fleet_that_does_not_run(around: Config) -> None:
    """Exit 3, by its error."""
    with pytest.raises(NotRunningError, match="nothing is left of it"):
        take_down.down(Context(around))


def test_ctrl_c_ends_the_watching_and_not_the_end(
    around: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """circusd has been told already."""

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    assert take_down.down(Context(around, Terminal(), Circusd(monkeypatch, 5, interrupted))) == 1
    assert "circusd was told to end, and goes on with that (pid 77)" in capsys.readouterr().err


def test_a_kill_is_told() -> None:
    """It explains why the fleet took so long; a time that is none costs the line nothing but the time."""
    began = parse_rfc3339("2026-01-02T03:04:00Z")
    lines = take_down.lines(
        [
            record(1, "server_exited", "mule", signal="SIGKILL", pid=1),
            record(2, "server_exited", "web", signal="SIGTERM", pid=2),
            {**record(3, "server_stopped", "mule"), "timestamp": "x"},
        ],
        began,
    )
    assert [click.unstyle(each).split() for each in lines] == [
        ["1.50", "s", "mule", "killed", "(SIGKILL),", "its", "grace", "period", "was", "over"],
        ["mule", "stopped"],
    ]
