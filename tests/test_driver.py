"""What the driver does with deadlines; everything else about it is seen on real processes, in ``e2e``."""

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from aurora_circus import settings
from aurora_circus.chain import Head
from aurora_circus.clock import Clock
from aurora_circus.driver import Driver
from aurora_circus.facts import State
from aurora_circus.fleet import Fleet


class Ticking(Clock):
    """A clock that ticks as seldom as that of Windows."""

    @property
    def resolution(self) -> float:
        """Seconds between two ticks."""
        return 0.2


class Nobody:
    """Takes what is said, and does nothing about it."""

    last_error = None
    head = Head(0)
    last_seq = 0

    def __getattr__(self, _: str) -> Any:
        """Return something that can be called."""
        return lambda *_, **__: None


@contextlib.contextmanager
def driven(fleet: Fleet, **adapters: Any) -> Iterator[Driver]:
    """Return a driver whose surroundings do nothing."""
    nobody = cast("Any", Nobody())
    with ThreadPoolExecutor(1) as threads:
        given = {"clock": Clock(), "control": nobody, "journal": nobody, "state": nobody, **adapters}
        common = settings.Fleet()
        yield Driver(fleet, threads=threads, common=common, circusd=None, catch_up=nobody.catch_up, **given)


def fleet_of(**changes: Any) -> Fleet:
    """Return a fleet of one system."""
    system = settings.System(key="web", title="web", port=1, **changes)
    return Fleet([system], Clock().monotonic(), heartbeat=30.0, spread=lambda: 0.0)


def test_a_deadline_is_not_looked_at_before_it_has_come() -> None:
    """asyncio calls what is due within one tick of its clock: by as much later it is asked to."""

    async def deadline() -> tuple[float | None, float]:
        fleet = fleet_of(wanted=False)
        with driven(fleet, clock=Ticking()) as driver:
            driver.begin()
            assert fleet.lives["web"].state is State.STOPPED
            assert driver._timer is not None
            driver._timer.cancel()
            return fleet.deadline(), driver._timer.when()

    due, called = asyncio.run(deadline())
    assert due is not None
    assert called == due + 0.2


def test_nothing_is_started_before_all_was_heard() -> None:
    """A beat may come while what circusd was told is still asked for: somebody may have stopped it."""

    async def beaten() -> list[State]:
        fleet = fleet_of()
        fleet.remember({}, Clock().monotonic())
        with driven(fleet) as driver:
            assert not driver.beat()
            before = fleet.lives["web"].state
            driver.begin()
            return [before, fleet.lives["web"].state]

    assert asyncio.run(beaten()) == [State.WAITING, State.STARTING]


class Unseen(Nobody):
    """A state in a directory that cannot be looked into, the first time."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> None:
        """Count."""
        self.looks += 1
        if self.looks == 1:
            raise PermissionError


def test_a_look_at_the_files_that_fails_is_said_once_and_made_again() -> None:
    """It may be over by then."""

    async def looks() -> int:
        state = Unseen()
        with driven(fleet_of(wanted=False), state=state) as driver:
            driver.look_after_files()
            driver._threads.submit(int).result()
            with pytest.raises(PermissionError):
                driver.look_after_files()
            driver._threads.submit(int).result()
            driver.look_after_files()
        return state.looks

    assert asyncio.run(looks()) == 3
