"""The plugin's tie to its circusd: whose end it has to see."""

import asyncio
import os

import pytest

from aurora_circus import marks
from aurora_circus.clock import Clock
from aurora_circus.facts import Process
from aurora_circus.marks import Mark
from aurora_circus.tether import GONE, Tether

DEAD = Process(4_194_305, 1.0)
"""Beyond the pids that Linux gives."""


def told(monkeypatch: pytest.MonkeyPatch, key: str) -> list[str]:
    """Return what a plugin is told that bears these marks, and whose circusd ended before it looked."""
    for name, value in marks.environment(Mark("/run/fleet", key), (DEAD,)).items():
        monkeypatch.setenv(name, value)
    ended: list[str] = []

    async def live() -> None:
        tether = Tether(asyncio.get_running_loop(), Clock(), lambda _: None, ended.append)
        tether.beat(keeps=lambda: False)

    asyncio.run(live())
    return ended


def test_a_circusd_that_ended_before_its_plugin_looked_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose child the plugin is by then has nothing to do with it."""
    assert told(monkeypatch, marks.PLUGIN) == [GONE]


def test_marks_of_a_system_tell_nothing_of_a_plugins_circusd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet within a system of another one: its circusd is its parent, whom Wine does not show."""
    monkeypatch.setattr("os.getppid", os.getpid)
    assert told(monkeypatch, "web") == []
