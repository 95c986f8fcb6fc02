"""Who is of a system: a table of processes in, names out; each scene is a machine of a few of them."""

from collections.abc import Mapping

import pytest

from aurora_circus import marks
from aurora_circus.facts import Process
from aurora_circus.marks import Mark, Marks
from aurora_circus.strays import Bearing, Census, Row

WEB = Mark("/run/fleet", "web")
CIRCUSD, HEIR, LEADER = Process(50, 5.0), Process(20, 2.0), Process(100, 10.0)
SHELL = Row(30, 20, 30, 30, 3.0)
LOOKER = Row(40, 30, 40, 30, 4.0)
HELD = Row(100, 50, 100, 100, 10.0)
ROWS = (Row(1, 0, 1, 1, 0.0), Row(20, 1, 20, 20, 2.0), SHELL, LOOKER, Row(50, 20, 50, 50, 5.0))
"""init, a user's own, a shell, who looks, circusd."""


def bears(mark: Mark = WEB, leader: int | None = 100, *, seal: int | None = None, holder: Process = CIRCUSD) -> Bearing:
    """Return what one bears that circusd has started."""
    return Bearing(Marks(mark, leader, frozenset({holder, HEIR}), holder), seal)


def census(*rows: Row, borne: Mapping[int, Bearing] | None = None, unborn: tuple[int, ...] = ()) -> Census:
    """Return a machine with these besides the usual ones; ``unborn`` are those that have not become anything yet."""
    known = borne or {}
    return Census(
        (*ROWS, *rows),
        lambda pid: known.get(pid, Bearing()).marks,
        lambda pid: known.get(pid, Bearing()).seal,
        lambda pid, _: pid in unborn,
        me=LOOKER.pid,
    )


def pids(found: list[Process]) -> list[int]:
    """Return who it is."""
    return [each.pid for each in found]


def test_a_system_is_its_leader_its_group_its_session_and_whoever_came_of_it() -> None:
    """The leader first; who has a session of its own is found by its parent, however far down; zombies are not."""
    machine = census(
        HELD,
        Row(101, 100, 100, 100, 11.0),
        Row(102, 100, 102, 100, 11.0),
        Row(103, 101, 103, 103, 12.0),
        Row(104, 103, 104, 104, 13.0),
        Row(105, 100, 100, 100, 11.0, ended=True),
        Row(99, 1, 100, 100, 10.5),
        Row(200, 1, 200, 200, 1.0),
    )
    assert pids(machine.of(None, LEADER)) == [100, 99, 101, 102, 103, 104]


def test_of_a_pid_that_is_somebody_elses_by_now_there_is_nobody() -> None:
    """Nor of one whose group is older than itself; what a dead leader left in its group is there."""
    other = Process(100, 9.0)
    assert census(HELD, Row(101, 100, 100, 100, 11.0)).of(None, other) == []
    assert pids(census(Row(101, 1, 100, 100, 11.0), Row(102, 1, 100, 100, 9.0)).of(None, LEADER)) == [101]


@pytest.mark.parametrize("parent", [1, 50, 20])
def test_an_orphan_is_known_by_its_marks(parent: int) -> None:
    """A child of init, of circusd, or of who gets circusd's; and so is whoever came of it, with marks or without."""
    machine = census(Row(110, parent, 110, 110, 11.0), Row(111, 110, 111, 111, 12.0), borne={110: bears()})
    assert pids(machine.of(WEB, LEADER)) == [110, 111]
    assert machine.of(Mark("/run/fleet", "db"), LEADER) == []
    assert machine.of(Mark("/run/other", "web"), LEADER) == []
    assert machine.of(None, LEADER) == []


def test_a_copied_environment_makes_nobody_part_of_a_system() -> None:
    """Its parent lives, and is nobody who adopts; nor does it if that has the number of one who did."""
    copied = Row(120, SHELL.pid, 120, 120, 20.0)
    assert census(copied, borne={120: bears()}).of(WEB, LEADER) == []
    other = Bearing(Marks(WEB, 100, frozenset({Process(20, 1.0)}), Process(50, 1.0)))
    assert census(Row(120, 20, 120, 120, 20.0), borne={120: other}).of(WEB, LEADER) == []


def test_a_seal_tells_without_any_environment() -> None:
    """It cannot be copied, so whoever adopts one that has it, it is of that system; other limits are none."""
    sealed = Row(130, SHELL.pid, 130, 130, 20.0)
    assert pids(census(sealed, borne={130: Bearing(None, marks.seal(WEB, 7))}).of(WEB, LEADER)) == [130]
    for number in (1024, marks.seal(Mark("/run/fleet", "db"), 7)):
        assert census(sealed, borne={130: Bearing(None, number)}).of(WEB, LEADER) == []


def test_what_circusd_has_started_since_is_not_what_an_earlier_one_left() -> None:
    """Neither that process, nor what came of it and has lost its parent, by its marks or its seal."""
    new = Row(150, CIRCUSD.pid, 150, 150, 30.0)
    machine = census(
        new,
        Row(151, CIRCUSD.pid, 151, 151, 31.0),
        Row(152, CIRCUSD.pid, 152, 152, 31.0),
        Row(153, 150, 153, 153, 32.0),
        Row(110, CIRCUSD.pid, 110, 110, 11.0),
        Row(111, CIRCUSD.pid, 111, 111, 11.0),
        borne={
            150: bears(leader=150, seal=marks.seal(WEB, 2)),
            151: bears(leader=150),
            152: Bearing(None, marks.seal(WEB, 2)),
            110: bears(leader=100),
            111: Bearing(None, marks.seal(WEB, 1)),
        },
    )
    assert pids(machine.of(WEB, LEADER)) == [110, 111]
    assert pids(machine.of(WEB)) == [110, 111]
    assert machine.left_of("/run/fleet", ["db"]) == {"web": [Process(110, 11.0), Process(111, 11.0)]}
    assert pids(machine.of(WEB, new.process)) == [150, 110, 111, 151, 152, 153]


def test_a_leader_that_has_cleared_its_environment_is_no_stray_for_who_knows_it() -> None:
    """Nor is what came of it; what an earlier one left, with another seal, is."""
    leads = Row(150, CIRCUSD.pid, 150, 150, 30.0)
    machine = census(
        HELD,
        leads,
        Row(151, CIRCUSD.pid, 151, 151, 31.0),
        Row(111, CIRCUSD.pid, 111, 111, 11.0),
        borne={
            100: bears(Mark("/run/fleet", "db")),
            150: Bearing(None, marks.seal(WEB, 2)),
            151: Bearing(None, marks.seal(WEB, 2)),
            111: Bearing(None, marks.seal(WEB, 1)),
        },
    )
    old = Process(90, 1.0)
    assert pids(machine.of(WEB, old, holds=[leads.process])) == [111]
    assert pids(machine.of(WEB, leads.process, holds=[leads.process])) == [150, 111, 151]
    assert machine.left_of("/run/fleet", ["web"], {WEB: [leads.process, old]}) == {"web": [Process(111, 11.0)]}
    assert pids(machine.of(WEB, old)) == [111, 150, 151]
    dead = census(
        HELD,
        Row(150, CIRCUSD.pid, 150, 150, 30.0, ended=True),
        Row(151, CIRCUSD.pid, 150, 150, 31.0),
        borne={100: bears(Mark("/run/fleet", "db")), 151: bears(leader=150)},
    )
    assert pids(dead.of(WEB, holds=[leads.process])) == [151]


def test_what_circusd_is_just_starting_is_nobodys_stray() -> None:
    """Neither while its shell has not said yet who leads, nor before it is that shell."""
    machine = census(
        Row(150, CIRCUSD.pid, 150, 150, 30.0),
        Row(160, CIRCUSD.pid, 160, 160, 30.0),
        Row(110, CIRCUSD.pid, 110, 110, 11.0),
        borne={
            150: bears(leader=None, seal=marks.seal(WEB, 2)),
            160: Bearing(None, marks.seal(WEB, 3)),
            110: bears(leader=100),
        },
        unborn=(160,),
    )
    assert pids(machine.of(WEB, LEADER)) == [110]
    assert machine.left_of("/run/fleet", ["web"]) == {"web": [Process(110, 11.0)]}


def test_the_children_of_one_that_has_ended_have_lost_their_parent() -> None:
    """They are its own in the table as long as one of its threads is not gone."""
    machine = census(
        HELD._replace(ended=True),
        Row(101, 100, 100, 100, 11.0),
        Row(102, 100, 102, 102, 11.0),
        Row(103, 100, 103, 103, 11.0),
        borne={101: bears(), 102: bears(), 103: Bearing(None, marks.seal(WEB, 1))},
    )
    assert pids(machine.of(WEB)) == [101, 102, 103]
    assert pids(machine.of(WEB, holds=[LEADER])) == [101, 102, 103]


def test_who_becomes_what_circusd_starts_during_the_look_is_asked_once_more() -> None:
    """It had no marks yet, and then it had."""
    new = Row(150, CIRCUSD.pid, 150, 150, 30.0)
    answers = [bears(leader=None).marks, None]
    machine = Census(
        (*ROWS, HELD, new),
        lambda pid: answers.pop() if pid == new.pid else bears().marks if pid == HELD.pid else None,
        lambda pid: marks.seal(WEB, 2) if pid == new.pid else None,
        lambda *_: False,
        me=LOOKER.pid,
    )
    assert answers == []
    assert pids(machine.of(WEB, LEADER)) == [HELD.pid]


def test_what_a_dead_circusd_held_is_left_over() -> None:
    """Its leader is somebody's child by now who has not started it; of another fleet nothing is told."""
    orphan = Row(100, HEIR.pid, 100, 100, 10.0)
    gone = Process(51, 5.0)
    machine = census(orphan, Row(101, 100, 101, 101, 11.0), borne={100: bears(holder=gone), 101: bears(holder=gone)})
    assert machine.left_of("/run/fleet") == {"web": [LEADER, Process(101, 11.0)]}
    assert machine.left_of("/run/other") == {}


def test_who_was_known_is_held_for_it_whatever_became_of_its_parent() -> None:
    """Unless its pid is somebody else's by now."""
    cleared = Row(140, CIRCUSD.pid, 140, 140, 11.0)
    assert pids(census(cleared).of(WEB, LEADER, [Process(140, 11.0)])) == [140]
    assert census(cleared).of(WEB, LEADER, [Process(140, 10.0)]) == []


def test_who_looks_is_never_found_nor_by_marks_what_it_came_of() -> None:
    """A shell in a system may end it: what it runs in goes with it, and the command that does so last."""
    assert pids(census(borne={30: bears(), 20: bears()}).of(WEB, LEADER)) == []
    assert pids(census().of(WEB, SHELL.process)) == [30]


def test_only_those_are_asked_that_may_have_lost_their_parent() -> None:
    """Whose session is their parent's has that, or another of the same session: to read of each would take long."""
    asked: list[int] = []
    looked: list[int] = []

    def marks_of(pid: int) -> Marks | None:
        asked.append(pid)
        return bears().marks if pid == HELD.pid else None

    def seal_of(pid: int) -> None:
        looked.append(pid)

    others = (
        Row(101, 100, 101, 100, 11.0),
        Row(102, 77, 1, 1, 1.0),
        Row(103, 50, 103, 103, 11.0),
        Row(104, 40, 4, 4, 9.0),
    )
    Census((*ROWS, HELD, *others), marks_of, seal_of, lambda *_: False, me=LOOKER.pid)
    assert asked == [1, 20, 30, 50, 100, 102, 103, 104]
    assert looked == [20, 30, 50, 100, 103]


def test_a_leader_that_was_seen_to_be_one_is_asked_no_more() -> None:
    """It may clear its environment now, and is what it was; another process with its pid is not, nor is who follows."""
    follower = Row(101, CIRCUSD.pid, 101, 101, 11.0)
    seen = census(HELD, follower, borne={100: bears(seal=7), 101: bears(seal=7)}).proven
    assert seen == {LEADER: bears(seal=7)}
    asked: list[int] = []

    def bare(pid: int) -> None:
        asked.append(pid)

    def again(*rows: Row) -> Census:
        asked.clear()
        return Census(
            (*ROWS, *rows),
            bare,
            bare,
            lambda *_: False,
            me=LOOKER.pid,
            known=seen,
        )

    assert again(HELD).proven == seen
    assert HELD.pid not in asked
    assert again(HELD._replace(started=12.0)).proven == {}
    assert HELD.pid in asked


def test_children_that_nobody_has_waited_for_are_named() -> None:
    """Those of one parent, and only those that have ended."""
    machine = census(
        Row(60, 50, 60, 60, 6.0, ended=True), Row(61, 50, 61, 61, 6.0), Row(62, 1, 62, 62, 6.0, ended=True)
    )
    assert machine.zombies_of(CIRCUSD.pid) == [60]
    assert machine.zombies_of(4711) == []


@pytest.mark.parametrize(
    ("environ", "read"),
    [
        (b"", None),
        (b"AURORA_RUN_DIR=/run/fleet\0", None),
        (b"AURORA_RUN_DIR=/run/fleet\0AURORA_SYSTEM=web\0AURORA_LEADER=x\0", None),
        (b"A=1\0AURORA_RUN_DIR=/run/fleet\0AURORA_SYSTEM=web\0", Marks(WEB)),
        (
            (
                b"AURORA_SYSTEM=db\0AURORA_RUN_DIR=/run/fleet\0AURORA_SYSTEM=web\0AURORA_LEADER=100\0"
                b"AURORA_ADOPTERS=50@5.0,20@2.0\0"
            ),
            Marks(WEB, 100, frozenset({CIRCUSD, HEIR}), CIRCUSD),
        ),
    ],
)
def test_marks_are_read_or_are_none(environ: bytes, read: Marks | None) -> None:
    """Of a name that is there twice the last one counts; what makes no sense proves nothing."""
    assert marks.read(environ) == read


def test_what_is_put_into_an_environment_is_read_from_it() -> None:
    """Whatever the directory is called."""
    mark = Mark("/run/fl\udcffeet =", "web")
    given = marks.environment(mark, (CIRCUSD, HEIR))
    environ = b"\0".join(f"{name}={value}".encode("utf-8", "surrogateescape") for name, value in given.items())
    assert marks.read(environ) == Marks(mark, None, frozenset({CIRCUSD, HEIR}), CIRCUSD)


def test_seals_differ_by_system_and_by_spawn_and_fit_a_limit() -> None:
    """For as many spawns as there may be; a limit is 63 bits here."""
    seals = {marks.seal(mark, number) for mark in (WEB, Mark("/run/fleet", "db")) for number in (0, 1, 2**20 - 1)}
    assert len(seals) == 6
    assert max(seals) < 2**63
    assert marks.sealed_for(WEB, marks.seal(WEB, 2**20 + 5))
