"""What a service manager is told, and that nobody is said to be well who is not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_circus import liveness
from aurora_circus.facts import Outcome, Process, State
from aurora_circus.lifecycle import Lifecycle
from aurora_circus.liveness import LATE, Liveness, View
from tests.world import OK, system

WELL = View(states={"one": State.HEALTHY}, circusd=True)
DEAF = View(states={"one": State.HEALTHY}, circusd=False, trouble="no answer within 2 s")


def fields(text: str | None) -> dict[str, str]:
    """Read a datagram."""
    return {} if text is None else dict(line.split("=", 1) for line in text.split("\n"))


def test_ready_comes_with_the_first_good_look_and_with_each_feed() -> None:
    """Before that nothing is said but how it is; a watchdog that an earlier life has put out is set again, once.

    A main process that is started again under a plugin that goes on has to become ready, too.
    """
    it = Liveness(60.0)
    assert fields(it.look(0.0, DEAF)).keys() == {"STATUS"}
    first = fields(it.look(1.0, WELL))
    assert (first["READY"], first["WATCHDOG"], first["WATCHDOG_USEC"]) == ("1", "1", "60000000")
    assert it.look(2.0, WELL) is None
    assert fields(it.look(16.0, WELL)) == {"READY": "1", "WATCHDOG": "1"}


def test_without_a_watchdog_nothing_is_fed() -> None:
    """The manager has not asked for it."""
    it = Liveness(None)
    assert fields(it.look(0.0, WELL)).keys() == {"READY", "STATUS"}
    assert it.look(1.0, WELL) is None
    assert fields(it.look(100.0, WELL)).keys() == {"READY"}


@given(st.lists(st.tuples(st.floats(0.1, 5.0), st.sampled_from(["well", "deaf", "late", "full"])), max_size=60))
def test_the_watchdog_is_fed_in_time_while_all_is_well_and_never_else(looks: list[tuple[float, str]]) -> None:
    """A full disk is well enough; circusd or probes that are late are not."""
    views = {
        "well": WELL,
        "deaf": DEAF,
        "late": View(states={"one": State.HEALTHY}, circusd=True, late=["one"]),
        "full": View(states={"one": State.HEALTHY}, circusd=True, unwritten="No space left on device"),
    }
    it, now, fed, watchdog = Liveness(20.0), 0.0, None, 20.0
    for pause, kind in looks:
        now += pause
        said = fields(it.look(now, views[kind]))
        if "WATCHDOG" in said:
            assert kind in {"well", "full"}
            fed = now
        elif kind in {"well", "full"}:
            assert fed is not None
            assert now - fed < watchdog / liveness.FEEDS


@pytest.mark.parametrize(
    ("whole", "keys"), [(True, {"STOPPING", "WATCHDOG_USEC", "STATUS"}), (False, {"WATCHDOG_USEC", "STATUS"})]
)
def test_an_end_is_said_once_and_puts_the_watchdog_out(whole: bool, keys: set[str]) -> None:
    """An operator who stops everything by circusctl keeps circusd: that is no end of the service."""
    it = Liveness(60.0)
    it.look(0.0, WELL)
    said = fields(it.over(whole=whole, why="because"))
    assert said.keys() == keys
    assert said["WATCHDOG_USEC"] == "0"
    assert it.over(whole=whole, why="because") is None
    assert it.gone("because") is None
    assert it.look(100.0, WELL) is None


def test_a_plugin_that_another_one_follows_leaves_the_watchdog_as_it_is() -> None:
    """It bites when nobody follows."""
    it = Liveness(60.0)
    assert fields(it.gone("killed")) == {"STATUS": "killed"}
    assert it.look(1.0, WELL) is None


def test_the_words_name_what_is_wrong() -> None:
    """In the words of the states; five names of each will do."""
    states: dict[str, Any] = {f"f{n}": State.FAILED for n in range(7)}
    view = View(
        states={"ok": State.HEALTHY, **states, "b": State.BACKOFF},
        circusd=False,
        late=["ok"],
        unwritten="disk\nfull\x1b[31m",
    )
    words = liveness.words(view)
    assert words.startswith("1 of 9 systems healthy; ")
    assert "failed: f0, f1, f2, f3, f4 and 2 more" in words
    assert "backoff: b" in words
    assert "circusd: not looked at for 5 s" in words
    assert "probes late: ok" in words
    assert words.endswith("not written: disk full [31m")
    assert liveness.words(WELL) == "1 of 1 systems healthy"


@given(st.text(), st.text())
def test_no_word_of_anybody_becomes_a_field(trouble: str, unwritten: str) -> None:
    """A line break in an error would let it say anything, WATCHDOG=1 too."""
    view = View(states={}, circusd=False, trouble=trouble, unwritten=unwritten)
    assert fields(Liveness(1.0).look(0.0, view)).keys() == {"STATUS"}


def test_circusd_answers_while_looks_succeed_and_are_fresh() -> None:
    """Trouble is trouble at once."""
    assert liveness.answers(10.0, 10.0 - LATE + 0.1, None)
    assert not liveness.answers(10.0, 10.0 - LATE, None)
    assert not liveness.answers(10.0, 10.0, "no")
    assert not liveness.answers(10.0, None, None)


def test_only_a_healthy_one_can_be_late() -> None:
    """Beyond its interval, its timeout and some seconds."""
    life = Lifecycle(system(interval=5.0, timeout=2.0), 0.0)
    assert liveness.late([life], 1000.0) == []
    life.state, life.process = State.HEALTHY, Process(1, 0.0)
    assert liveness.late([life], 1000.0) == [], "it has just been taken over, and was not probed yet"
    life.last, life.last_at = OK, 100.0
    assert liveness.late([life], 107.0 + LATE) == []
    assert liveness.late([life], 107.1 + LATE) == ["web"]
    life.state, life.last = State.UNHEALTHY, Outcome(ok=False, reason="no")
    assert liveness.late([life], 1000.0) == []
