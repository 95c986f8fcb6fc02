"""What the driver does with deadlines; everything else about it is seen on real processes, in ``e2e``."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

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


def test_a_deadline_is_not_looked_at_before_it_has_come() -> None:
    """asyncio calls what is due within one tick of its clock: by as much later it is asked to."""

    async def deadline() -> tuple[float | None, float]:
        system = settings.System(key="web", title="web", port=1, wanted=False)
        fleet = Fleet([system], Clock().monotonic(), heartbeat=30.0, spread=lambda: 0.0)
        nobody = cast("Any", Nobody())
        with ThreadPoolExecutor(1) as threads:
            driver = Driver(
                fleet,
                clock=Ticking(),
                control=nobody,
                journal=nobody,
                state=nobody,
                threads=threads,
                common=settings.Fleet(),
                circusd=None,
                catch_up=nobody.catch_up,
            )
            driver.begin()
            assert fleet.lives["web"].state is State.STOPPED
            assert driver._timer is not None
            driver._timer.cancel()
            return fleet.deadline(), driver._timer.when()

    due, called = asyncio.run(deadline())
    assert due is not None
    assert called == due + 0.2
