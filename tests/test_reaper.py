"""An end that was seen is told, whatever else goes wrong."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from aurora_circus import facts, ports, processes, reaper, settings
from aurora_circus.clock import Clock
from aurora_circus.facts import Exited, Fact, Gone, Process
from aurora_circus.lifecycle import Lifecycle
from aurora_circus.marks import Mark
from aurora_circus.reaper import Reaper

DEAD = Process(2**22 + 1, 1.0)
MYSELF = processes.lineage()[-1]


class Driver:
    """Takes facts, and notes which steps went wrong."""

    clock = Clock()

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.told: list[Fact] = []
        self.failed: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.done = asyncio.Event()

    def tell(self, fact: Fact) -> None:
        """Take a fact; the end of the group is the last one."""
        self.told.append(fact)
        if isinstance(fact, Gone):
            self.done.set()

    def start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Let work go on, and bear what becomes of it."""

        async def run() -> None:
            try:
                await work
            except RuntimeError:
                self.failed.append(what)

        self.tasks.append(asyncio.get_running_loop().create_task(run()))

    async def catch_up(self) -> None:
        """Know that circusd was told nothing."""

    async def aside(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do it here."""
        return work(*arguments)

    ending = aside

    def mark(self, key: str) -> Mark:
        """Return what it bears."""
        return Mark("/run/fleet", key)


async def follow(driver: Driver) -> None:
    """Let somebody come after one that is dead, before anybody has looked at that."""
    life = Lifecycle(settings.System(key="web", title="web", port=9), Clock().monotonic())
    life.process = DEAD
    watching = Reaper(driver, lambda: {"web": life})
    await asyncio.wait_for(watching.last_word("web", DEAD), 30)
    assert [type(each) for each in driver.told[:1]] == [Exited]
    await asyncio.wait_for(driver.done.wait(), 30)
    await watching.last_word("web", MYSELF)


def test_who_comes_after_one_that_ended_is_heard_after_its_last_word() -> None:
    """The end is told first, once, even if nobody had seen it; of one that lives there is no last word."""
    driver = Driver()
    asyncio.run(follow(driver))
    assert [type(each) for each in driver.told] == [Exited, Gone]


async def play(driver: Driver) -> None:
    """Let one system be starting, see its process dead, and wait until all is said."""
    now = Clock().monotonic()
    life = Lifecycle(settings.System(key="web", title="web", port=9), now)
    life.handle(facts.Start(now, "web"))
    life.handle(facts.Opened(now, "web"))
    life.handle(facts.Spawned(now, "web", DEAD))
    Reaper(driver, lambda: {"web": life}).watch("web", DEAD)
    await asyncio.wait_for(driver.done.wait(), 30)
    await asyncio.gather(*driver.tasks)


@pytest.mark.parametrize("trouble", [False, True])
def test_a_death_is_told_though_its_details_cannot_be_had(trouble: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is the end of its group; the trouble is the driver's to say."""

    def holder(_: int) -> None:
        if trouble:
            raise RuntimeError("the system says no")

    monkeypatch.setattr(ports, "holder", holder)
    monkeypatch.setattr(processes, "watch", lambda _: None)
    driver = Driver()
    asyncio.run(play(driver))
    exited, gone = driver.told
    assert isinstance(exited, Exited)
    assert (exited.key, exited.process, exited.holder) == ("web", DEAD, None)
    assert isinstance(gone, Gone)
    assert driver.failed == (["exit of web"] if trouble else [])


class Refusing:
    """A watch that the system has no resources for."""

    closed = 0

    def notify(self, *_: object) -> None:
        """Refuse."""
        raise OSError("no resources")

    def close(self) -> None:
        """Be closed."""
        Refusing.closed += 1


def test_a_group_is_looked_at_where_nothing_tells_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is left is looked at again until nobody is: the end of the group is told in the end."""
    left: list[list[Process] | OSError] = [[Process(7, 1.0)], OSError("no descriptors"), [DEAD, Process(7, 1.0)], []]

    def look(*_: object) -> list[Process]:
        found = left.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(reaper, "LOOK_AGAIN", 0.0)
    monkeypatch.setattr(ports, "holder", lambda _: None)
    monkeypatch.setattr(processes, "left", look)
    monkeypatch.setattr(processes, "watch", lambda process: None if process == DEAD else Refusing())
    driver = Driver()
    asyncio.run(play(driver))
    assert [type(each) for each in driver.told] == [Exited, Gone]
    assert (left, driver.failed, Refusing.closed) == ([], [], 2)
