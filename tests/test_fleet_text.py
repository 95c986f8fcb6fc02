"""The status of a fleet as text, of which most is kept: it is always what would be written now."""

import json
from threading import Lock
from typing import Any

import pytest

from aurora_circus import facts, views
from aurora_circus.clock import rfc3339
from aurora_circus.facts import Outcome, Process
from aurora_circus.fleet import Fleet
from aurora_circus.fleet_text import FleetText
from tests.world import OK, REFUSED, system

SHIFT = 1_800_000_000.0
FIRST = Process(101, 1.0)


class Written:
    """A fleet of ``db`` and ``web``, which depends on it, and its text."""

    def __init__(self, *keys: str) -> None:
        self.fleet = Fleet([system("db"), system("web", depends_on=("db",)), *map(system, keys)], 0.0)
        self.drills: dict[str, str] = {}
        self.text = FleetText(Lock(), self.drills.get)

    def at(self, now: float, shift: float = SHIFT) -> dict[str, Any]:
        """Return what the text says, having seen that it says what is true."""
        found: dict[str, Any] = json.loads(self.text.at(self.fleet, now, shift))
        assert found == {
            each.system.key: {
                **views.status(self.fleet, each, now, lambda at: rfc3339(at + shift)),
                "drill": self.drills.get(each.system.key),
            }
            for each in self.fleet
        }
        return found

    def up(self, key: str, outcome: Outcome = OK) -> None:
        """Start a system at 0, which answers a second later."""
        self.fleet.command(0.0, key, "start", [key], "api")
        self.fleet.handle(facts.Spawned(0.0, key, FIRST))
        self.fleet.handle(facts.Probed(1.0, key, FIRST, outcome))


@pytest.fixture
def written() -> Written:
    """Return both systems stopped."""
    return Written()


def test_what_is_kept_goes_on_counting(written: Written) -> None:
    """The uptime is that of the moment, by the spawn, of one that is not up at zero."""
    written.up("db")
    assert [written.at(now)["db"]["uptime"] for now in (1.0, 1.5, 100.25)] == [1.0, 1.5, 100.25]
    assert written.at(100.5)["web"]["uptime"] == 0.0


def test_its_own_word_goes_on_counting_too(written: Written) -> None:
    """What a system says of its uptime was true when it said it."""
    written.up("db", Outcome(ok=True, verified=True, latency=0.001, metrics={"uptime": 3600}))
    assert [written.at(now)["db"]["uptime"] for now in (1.0, 2.5)] == [3600.0, 3601.5]


def test_what_has_not_changed_is_not_made_anew(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the second call, only the system that has changed is looked at."""
    written.up("db")
    written.up("web")
    looked: list[str] = []
    status = views.status

    def watched(*given: Any) -> dict[str, Any]:
        looked.append(given[1].system.key)
        return status(*given)

    monkeypatch.setattr(views, "status", watched)
    for probed in (None, "web"):
        if probed is not None:
            written.fleet.handle(facts.Probed(2.0, probed, FIRST, REFUSED))
        written.text.at(written.fleet, 2.0, SHIFT)
    assert looked == ["db", "web", "web"]


def test_who_waits_says_for_whom(written: Written) -> None:
    """That is up to other systems; of itself nothing has changed."""
    systems = [system("db"), system("log"), system("web", depends_on=("db", "log"))]
    written.fleet = Fleet(systems, 0.0)
    written.fleet.command(0.0, "all", "start", ["db", "log", "web"], "api")
    assert written.at(0.0)["web"]["error"] == "waiting for db, log"
    written.fleet.handle(facts.Spawned(0.0, "db", FIRST))
    written.fleet.handle(facts.Probed(1.0, "db", FIRST, OK))
    assert written.at(1.0)["web"]["error"] == "waiting for log"


def test_a_drill_shows_and_its_end(written: Written) -> None:
    """Nothing of the fleet changes with either."""
    written.up("db")
    for drill in (None, "hang", None):
        written.drills.clear()
        if drill is not None:
            written.drills["db"] = drill
        assert written.at(2.0)["db"]["drill"] == drill


def test_a_clock_that_is_set_moves_every_timestamp(written: Written) -> None:
    """They are of the clock as it is now."""
    written.up("db")
    assert written.at(2.0)["db"]["since"] == rfc3339(SHIFT + 1.0)
    assert written.at(2.0, SHIFT - 3600)["db"]["since"] == rfc3339(SHIFT - 3599.0)


def test_one_that_was_taken_out_is_gone_and_its_successor_is_another(written: Written) -> None:
    """A key that comes back begins anew, however much has happened to it."""
    written.up("db")
    written.at(2.0)
    written.fleet.update(2.0, [system("web")])
    assert list(written.at(2.0)) == ["web"]
    written.fleet.update(3.0, [system("web"), system("db", port=7)])
    assert written.at(3.0)["db"]["port"] == 7


@pytest.mark.parametrize("word", ['"uptime":0', '"uptime":', "\\", "\x7f", "\ud800", "€"])
def test_nothing_that_a_system_says_is_taken_for_its_uptime(word: str) -> None:
    """Whatever it calls itself, and whatever it says."""
    written = Written("uptime")
    written.up("uptime", Outcome(ok=True, verified=True, latency=0.001, metrics={"last_activity": word}))
    text = written.text.at(written.fleet, 5.0, SHIFT)
    said = json.loads(text)["uptime"]
    assert said["uptime"] == 5.0
    assert said["last_activity"] == word.replace("\ud800", "\N{REPLACEMENT CHARACTER}")
    assert text.isascii()
    assert b"\x7f" not in text
