"""The thread that does what must not hold up the event loop."""

import threading

import pytest

from aurora_circus.background import Background

SOON = 10.0
"""Seconds; a deadline that is met at once unless something is broken."""


def test_a_step_is_taken_when_it_is_asked_for() -> None:
    """flush returns once the step that was asked for has succeeded."""
    taken: list[str] = []

    def step() -> bool:
        taken.append(threading.current_thread().name)
        return True

    background = Background("test", step)
    background.start()
    assert background.flush(SOON)
    assert taken == []
    background.wake()
    assert background.flush(SOON)
    assert set(taken) == {"test"}
    assert background.close(SOON)


def test_there_is_a_rest_after_a_step_unless_somebody_waits_for_the_next() -> None:
    """What changes all the time is not written all the time."""
    begun = [threading.Event() for _ in range(3)]
    steps = iter(begun)

    def step() -> bool:
        next(steps).set()
        return True

    background = Background("test", step, rest=lambda: 3600.0)
    background.start()
    background.wake()
    assert begun[0].wait(SOON)
    background.wake()
    assert not begun[1].wait(0.2)
    assert background.flush(SOON)
    assert begun[1].is_set()
    background.wake()
    assert background.close(SOON)
    assert begun[2].is_set()


def test_a_step_that_fails_is_tried_again() -> None:
    """It need not be asked for once more."""
    results = iter([False, False, True])
    background = Background("test", lambda: next(results), retry=0.001)
    background.start()
    background.wake()
    assert background.flush(SOON)
    assert background.close(SOON)


def test_asking_does_not_hurry_a_step_that_failed() -> None:
    """While steps fail they are as rare as they should be, however often one is asked for."""
    steps: list[None] = []
    first = threading.Event()

    def step() -> bool:
        steps.append(None)
        first.set()
        return False

    background = Background("test", step, retry=3600)
    background.start()
    background.wake()
    assert first.wait(SOON)
    for _ in range(100):
        background.wake()
    assert not background.close(0.05)
    assert len(steps) == 1


def test_what_was_asked_for_is_done_before_the_thread_ends() -> None:
    """close waits for it."""
    go, done = threading.Event(), threading.Event()

    def step() -> bool:
        done.set()
        return go.wait(SOON)

    background = Background("test", step)
    background.start()
    background.wake()
    assert done.wait(SOON)
    go.set()
    assert background.close(SOON)
    assert not background.alive


def test_a_step_that_hangs_holds_nobody_up() -> None:
    """Neither asking nor closing waits longer than it was told to."""
    go = threading.Event()
    background = Background("test", lambda: go.wait(SOON))
    background.start()
    background.wake()
    background.wake()
    assert not background.flush(0.01)
    assert not background.close(0.01)
    assert background.alive
    go.set()


def test_without_a_thread_closing_takes_the_step_itself() -> None:
    """But only if it was asked for."""
    taken: list[None] = []

    def step() -> bool:
        taken.append(None)
        return True

    background = Background("test", step)
    assert background.close(SOON)
    assert not taken
    background.wake()
    assert background.close(SOON)
    assert len(taken) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_said_to_be_dead() -> None:
    """An error in the step is not hidden: it ends the thread, and that can be seen."""
    begun = threading.Event()

    def step() -> bool:
        begun.set()
        raise ZeroDivisionError

    background = Background("test", step)
    assert not background.dead
    background.start()
    assert not background.dead
    background.wake()
    assert begun.wait(SOON)
    assert not background.close(SOON)
    assert background.dead
