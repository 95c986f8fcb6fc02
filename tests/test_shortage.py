"""What is decided, and said, when our own means run out, when we were away, or when the clock was set."""

import asyncio
import configparser
import errno
import os
import sys
from typing import Any

import pytest

from aurora_circus import facts, probe, processes, refusals
from aurora_circus.errors import MachineError
from aurora_circus.facts import Outcome, Process, State
from aurora_circus.lifecycle import SECOND_LOOK, Lifecycle
from aurora_circus.settings import Probe
from tests.test_lifecycle import FIRST, healthy, started
from tests.world import OK, actions, system

NOT_MADE = Outcome(ok=False, reason="cannot be asked for: Too many open files", made=False)


def test_a_probe_that_could_not_be_made_says_nothing_of_a_healthy_system() -> None:
    """However often: it stays healthy, nothing is counted, and it is looked at again soon."""
    life = healthy(failure_threshold=1)
    for at in (10.0, 11.0, 12.0, 13.0):
        assert life.handle(facts.Probed(at, "web", FIRST, NOT_MADE)) == []
        assert (life.state, life.failures, life.error) == (State.HEALTHY, 0, None)
        assert life.deadline() == at + SECOND_LOOK
    assert life.last == OK


def test_a_start_that_cannot_be_probed_is_no_failed_one() -> None:
    """Its time is over when it could be asked and did not answer, not while nobody can ask."""
    life = started()
    assert life.due is not None
    last = life.due
    assert life.handle(facts.Probed(last - 0.1, "web", FIRST, NOT_MADE)) == []
    assert life.due == last - 0.1 + SECOND_LOOK + life.system.probe.timeout
    assert life.state is State.STARTING
    answer = life.handle(facts.Tick(life.due, "web"))
    assert facts.Terminate("web", FIRST) in actions(answer)


def test_time_that_nobody_had_is_given_back_to_what_has_a_process() -> None:
    """A start and a grace period go on where they were; a wait that is over meanwhile is over."""
    life = started()
    due = life.due
    assert due is not None
    life.away(60.0)
    assert life.due == due + 60.0
    life.handle(facts.Stop(1.0, "web"))
    assert life.due is not None
    due = life.due
    life.away(60.0)
    assert life.due == due + 60.0
    waiting = Lifecycle(system(), 0.0)
    waiting.resume(0.0, State.BACKOFF, 1.0)
    waiting.away(60.0)
    assert waiting.due == 1.0


@pytest.mark.parametrize("state", [State.BACKOFF, State.FAILED])
def test_a_clock_that_was_set_back_makes_no_wait_longer(state: State) -> None:
    """What was saved by the old time is at most one whole wait away."""
    life = Lifecycle(system(), 0.0)
    policy = life.system.restart
    most = policy.backoff_cap * (1 + policy.jitter) if state is State.BACKOFF else policy.retry_failed_after
    life.resume(100.0, state, 3700.0)
    assert life.due == 100.0 + most
    life.resume(100.0, state, 100.5)
    assert life.due == 100.5


@pytest.mark.parametrize(
    ("number", "made"), [(errno.EMFILE, False), (errno.ENOBUFS, False), (errno.ENETUNREACH, True), (errno.EACCES, True)]
)
def test_what_a_probe_lacks_is_not_the_systems_fault(monkeypatch: pytest.MonkeyPatch, number: int, made: bool) -> None:
    """No descriptor, no memory, no port to ask from: it could not be made. Anything else, it was."""

    async def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(probe, "_connect", refuse)
    outcome = asyncio.run(probe.look(1, Probe()))
    assert (outcome.ok, outcome.made) == (False, made)
    assert os.strerror(number) in str(outcome.reason)


if sys.platform == "linux":
    from aurora_circus import unix

    def test_who_cannot_be_seen_lives_while_there_is_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a descriptor nobody is taken for dead, or for somebody else, who may well live."""
        me = processes.identify(os.getpid())
        assert me is not None

        def unseen(pid: int) -> None:
            message = f"looking at process {pid}: Too many open files"
            raise MachineError(message)

        monkeypatch.setattr(unix, "_stat", unseen)
        nobody = Process(2**22 + 1, 1.0)
        assert (processes.alive(me), processes.alive(nobody)) == (True, False)
        group = Process(os.getpgrp(), 1.0)
        assert (processes.members(group), processes.members(nobody)) == ([group], [])
        assert processes.exit_status(me) is None
        assert not processes.stopped(me)
        assert processes.watch(me) is None
        with pytest.raises(MachineError):
            processes.identify(os.getpid())


def parsing_error() -> configparser.ParsingError:
    """Return what a parser says of a line that holds a secret."""
    error = configparser.ParsingError("circus.ini")
    error.append(7, "'hunter2'")
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (parsing_error(), "not understood: line 7"),
        (configparser.MissingSectionHeaderError("circus.ini", 3, "hunter2"), "line 3: no section has begun yet"),
        (UnicodeDecodeError("utf-8", b"hunter2\xff", 7, 8, "invalid"), "no text in UTF-8, at byte 7"),
        (ValueError("invalid literal for int() with base 10: 'hunter2'"), "invalid literal for int() with base 10: …"),
        (ValueError("System.env: found {'A': 'hunter2'}, expected dict"), "System.env"),
        (KeyError("fleet"), "not there"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_refusal_repeats_no_value_of_the_file(error: Exception, told: str) -> None:
    """It says where and what, and whoever reads the journal learns no secret by it."""
    assert refusals._without_values(error) == told
