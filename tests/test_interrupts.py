"""Signals, and what waits for them. They are sent to this very process, within the blocks that catch them."""

import signal

import pytest

from aurora_circus.clock import pause
from aurora_circus.interrupts import CAUGHT, Interrupted, Interrupts
from tests.platforms import send

SIGNALS = [getattr(signal, name) for name in CAUGHT if hasattr(signal, name)]
"""Those that this system has: the last is SIGHUP, or SIGBREAK where that stands for a console that is closed."""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_exception_that_says_which(number: signal.Signals) -> None:
    """It can be caught, and is over with the block."""
    before = signal.getsignal(number)
    with Interrupts():
        with pytest.raises(Interrupted) as caught:
            send(number)
        assert caught.value.number == number
    assert signal.getsignal(number) is before


def test_it_is_no_error_that_is_caught_by_accident() -> None:
    """Whoever catches every Exception does not catch this; whoever lets Ctrl-C pass lets this pass too."""
    assert not issubclass(Interrupted, Exception)
    assert issubclass(Interrupted, KeyboardInterrupt)


def test_a_held_signal_comes_when_the_block_is_over() -> None:
    """What is being done is done whole."""
    done: list[str] = []

    def work() -> None:
        with interrupts.held():
            send(signal.SIGTERM)
            done.append("all of it")

    with Interrupts() as interrupts, pytest.raises(Interrupted):
        work()
    assert done


def test_after_the_first_signal_the_next_ones_wait() -> None:
    """Whoever brings things to an end is not disturbed, and then may say what a further signal means."""
    heard: list[int] = []
    with Interrupts() as interrupts:
        with pytest.raises(Interrupted):
            send(signal.SIGINT)
        send(signal.SIGINT)
        interrupts.action = heard.append
        assert not heard
        interrupts.release()
        assert heard == [signal.SIGINT]
        send(signal.SIGTERM)
    assert heard == [signal.SIGINT, signal.SIGTERM]


def test_an_ignored_signal_stays_ignored() -> None:
    """``nohup`` means it."""
    before = signal.signal(SIGNALS[-1], signal.SIG_IGN)
    try:
        with Interrupts():
            send(SIGNALS[-1])
    finally:
        signal.signal(SIGNALS[-1], before)


def test_a_pause_may_be_none_at_all() -> None:
    """A time that has passed already is no error."""
    pause(-1.0)
