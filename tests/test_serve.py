"""What a service manager runs, and what it does about what an earlier one has left."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aurora_circus import bring_up, launch, lookup, processes, serve
from aurora_circus.bring_up import Order
from aurora_circus.errors import MachineError
from aurora_circus.facts import Process
from aurora_circus.notify import SERVED_BY
from tests.fake_fleet import context, fleet

SLEEP = [sys.executable, "-c", "print(flush=True); import threading; threading.Event().wait()"]


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """Serve the fleet in ``tmp_path``; nothing of it runs."""
    monkeypatch.setattr(lookup, "find", lambda _: None)
    monkeypatch.setenv(SERVED_BY, "")
    return Order(context=context(fleet(tmp_path)), ini=tmp_path / "circus.ini")


@pytest.fixture(autouse=True)
def _hang_up() -> Any:
    """Leave SIGHUP as it was."""
    before = signal.getsignal(signal.SIGHUP) if hasattr(signal, "SIGHUP") else None
    yield
    if before is not None:
        signal.signal(signal.SIGHUP, before)


def brought_up(monkeypatch: pytest.MonkeyPatch, code: int) -> list[str]:
    """Play ``up``; return who was said to serve."""
    served: list[str] = []

    def up(_: Order) -> int:
        served.append(os.environ[SERVED_BY])
        return code

    monkeypatch.setattr(bring_up, "up", up)
    return served


@pytest.mark.parametrize("code", [0, 1, 2])
def test_it_ends_as_up_does(order: Order, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """circusd is told who serves; nobody who reads along is needed."""
    served = brought_up(monkeypatch, code)
    assert serve.serve(order) == code
    me = processes.identify(os.getpid())
    assert me is not None
    assert served == [f"{me.pid}:{me.started!r}"]
    assert order.context.terminal.forgiving


def test_somebody_who_was_quicker_is_looked_at_in_turn(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 0 would say that nobody has to start it; the last plugin, which keeps circusd too, may have been it."""
    quicker = Process(2**22 + 1, 1.0)
    answers = iter([None, quicker, quicker])
    monkeypatch.setattr(lookup, "find", lambda _: next(answers))
    monkeypatch.setattr(serve, "served_by", lambda _: Process(2**22 + 2, 1.0))
    monkeypatch.setattr(lookup, "ask_pid", lambda _: quicker.pid)
    monkeypatch.setattr(bring_up, "attach", lambda *_: 7)
    brought_up(monkeypatch, 0)
    assert serve.serve(order) == 7


def sleeping(kill: Callable[[subprocess.Popen[bytes]], object], **variables: str) -> subprocess.Popen[bytes]:
    """Start a process that plays circusd, and return it once it runs as that."""
    child = subprocess.Popen(SLEEP, stdout=subprocess.PIPE, env={**os.environ, **variables})
    kill(child)
    assert child.stdout is not None
    child.stdout.readline()
    return child


@pytest.fixture
def circusd() -> Any:
    """Make processes that play circusd, and end them."""
    made: list[subprocess.Popen[bytes]] = []

    def make(**variables: str) -> Process:
        child = sleeping(made.append, **variables)
        found = processes.identify(child.pid)
        assert found is not None
        return found

    yield make
    for each in made:
        each.kill()
        each.wait()
        if each.stdout is not None:
            each.stdout.close()


Make = Callable[..., Process]


def test_what_runs_by_hand_is_left_alone(order: Order, circusd: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to hand it over."""
    running = circusd()
    monkeypatch.setattr(lookup, "find", lambda _: running)
    with pytest.raises(MachineError, match=r"(?s)was not started as a service.*aurora-circus down"):
        serve.serve(order)
    assert processes.alive(running)


def test_what_is_served_by_a_living_one_is_left_alone(
    order: Order, circusd: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two would take it from each other for ever."""
    me = processes.identify(os.getpid())
    assert me is not None
    running = circusd(**{SERVED_BY: f"{me.pid}:{me.started!r}"})
    assert serve.served_by(running) == me
    monkeypatch.setattr(lookup, "find", lambda _: running)
    with pytest.raises(MachineError, match=f"is served already, by pid {me.pid}"):
        serve.serve(order)
    assert processes.alive(running)


def test_what_a_killed_one_has_left_goes_on(
    order: Order, circusd: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No process is touched. Its pid may be somebody else's by now: the start time tells."""
    running = circusd(**{SERVED_BY: f"{os.getpid()}:1.0"})
    monkeypatch.setattr(lookup, "find", lambda _: running)
    monkeypatch.setattr(lookup, "ask_pid", lambda _: running.pid)
    monkeypatch.setattr(bring_up, "attach", lambda _, found: 5 if found == running else 6)
    assert serve.serve(order) == 5
    assert processes.alive(running)
    assert "what a service that was killed has left" in capsys.readouterr().err


def test_what_is_left_and_stuck_is_replaced(
    order: Order, circusd: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The systems go on meanwhile."""
    running = circusd(**{SERVED_BY: f"{os.getpid()}:1.0"})
    monkeypatch.setattr(lookup, "find", lambda _: running if processes.alive(running) else None)
    monkeypatch.setattr(lookup, "ask_pid", lambda _: None)
    brought_up(monkeypatch, 0)
    assert serve.serve(order) == 0
    assert not processes.alive(running)
    assert "and stuck: it is ended" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", "x", "1", "1:x"])
def test_what_makes_no_sense_is_no_service(circusd: Make, value: str) -> None:
    """Nor is a process that is gone."""
    assert serve.served_by(circusd(**{SERVED_BY: value})) is None
    assert serve.served_by(Process(2**22 + 1, 1.0)) is None


def test_its_output_does_not_grow_from_start_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One backup is kept."""
    monkeypatch.setattr(serve, "OUTPUT_BYTES", 10)
    log = tmp_path / "logs" / "service.log"
    serve.prepare_output(log)
    for text in ("first, long", "second, long", "short"):
        log.write_text(text, encoding="utf-8")
        serve.prepare_output(log)
    assert log.read_text(encoding="utf-8") == "short"
    assert (tmp_path / "logs" / "service.log.1").read_text(encoding="utf-8") == "second, long"
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MachineError, match="moving"):
        serve.prepare_output(tmp_path / "file" / "x")


def test_a_circusd_that_outlives_its_end_is_an_error(
    order: Order, circusd: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is started beside it."""
    running = circusd(**{SERVED_BY: f"{os.getpid()}:1.0"})
    monkeypatch.setattr(lookup, "find", lambda _: running)
    monkeypatch.setattr(lookup, "ask_pid", lambda _: None)
    monkeypatch.setattr(launch, "end", lambda _: False)
    with pytest.raises(MachineError, match="is still there after SIGKILL"):
        serve.serve(order)
