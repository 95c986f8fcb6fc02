"""Who is of a system, out of everybody on the machine: by descent, by group, by what one bears. Pure.

A system is its leader and whoever came of it. What has lost its parent is a child of circusd's, or of the machine's
init, and is known by its marks. Marks alone prove nothing, as anybody may have copied an environment: they count for
an orphan, which has an adopter for its parent. A seal cannot be copied, and counts for everybody.

What a living circusd holds as a system's process is never taken for a stray of an earlier one. Its marks tell that; of
one that has cleared its environment, whoever has it from circusd has to say so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from aurora_circus import marks
from aurora_circus.facts import Process
from aurora_circus.marks import Mark, Marks

INIT = 1


class Row(NamedTuple):
    """One process, at the moment of a look."""

    pid: int
    parent: int
    group: int
    session: int
    started: float
    ended: bool = False
    """Whether it runs no more: a zombie, say."""

    @property
    def process(self) -> Process:
        """Return who it is."""
        return Process(self.pid, self.started)


class Bearing(NamedTuple):
    """What a process bears."""

    marks: Marks | None = None
    seal: int | None = None


def _leads(pid: int, borne: Marks) -> bool:
    """Say whether one leads a system, or will, as soon as its shell has put it there."""
    return borne.leader in {pid, None}


class Census:
    """Everybody on the machine. ``me`` looks, and is never of a system, nor are those that it came of by their marks.

    ``marks_of`` is asked only of those that may have lost their parent: whose session is not their parent's, or whose
    parent has ended. Of them, ``seal_of`` is asked of who bears no marks and has a parent that adopts or has ended, and
    of leaders. ``unborn`` is asked whether one is the same program as its parent still: what is sealed and that is
    about to become what circusd starts. Of whom ``known`` says what it bears, nothing is asked: see :attr:`proven`.
    """

    def __init__(  # noqa: PLR0913 - one question each
        self,
        rows: Iterable[Row],
        marks_of: Callable[[int], Marks | None],
        seal_of: Callable[[int], int | None],
        unborn: Callable[[int, int], bool],
        *,
        me: int,
        known: Mapping[Process, Bearing] | None = None,
    ) -> None:
        """Take note of everybody."""
        self.rows: Mapping[int, Row] = {each.pid: each for each in rows}
        self._me = me
        self._above = set(self._ancestors(me))
        self._children: dict[int, list[int]] = {}
        self._groups: dict[int, list[int]] = {}
        self._sessions: dict[int, list[int]] = {}
        self._bearing: dict[int, Bearing] = {}
        for row in self.rows.values():
            self._children.setdefault(row.parent, []).append(row.pid)
            self._groups.setdefault(row.group, []).append(row.pid)
            self._sessions.setdefault(row.session, []).append(row.pid)
            parent = self.rows.get(row.parent)
            if not row.ended and (parent is None or parent.ended or parent.session != row.session):
                self._bearing[row.pid] = (known or {}).get(row.process) or Bearing(marks_of(row.pid))
        borne = [each.marks for each in self._bearing.values() if each.marks is not None]
        adopters = {INIT, *self._above, *(one.pid for each in borne for one in each.adopters)} - {me}
        adopters |= {each.holder.pid for each in borne if each.holder is not None}
        for pid, each in self._bearing.items():
            above = self.rows[pid].parent
            if each.marks is not None and _leads(pid, each.marks):
                if each.seal is None:
                    self._bearing[pid] = Bearing(each.marks, seal_of(pid))
            elif each.marks is None and (above in adopters or self._has_ended(above)):
                seal = seal_of(pid)
                if seal is not None and not unborn(pid, above):
                    self._bearing[pid] = Bearing(marks_of(pid), seal)  # it may have been born since it was asked

    @property
    def proven(self) -> Mapping[Process, Bearing]:
        """Who leads a system by its own marks, and what it bears.

        That is so for as long as it lives, whatever it does to its environment: only what circusd has started bears its
        own pid.
        """
        return {
            self.rows[pid].process: each
            for pid, each in self._bearing.items()
            if each.marks is not None and each.marks.leader == pid and each.seal is not None
        }

    def of(
        self,
        mark: Mark | None,
        leader: Process | None = None,
        known: Iterable[Process] = (),
        holds: Iterable[Process] = (),
    ) -> list[Process]:
        """Return who runs of a system, the leader first where it lives.

        ``mark``: what it bears, where it bears anything. ``leader``: who leads or led it; without one, whoever bears
        the mark and is held by no living circusd. ``known``: who was of it before. ``holds``: whom circusd is known to
        hold, whatever they bear.
        """
        seeds = set(self._led_by(leader)) if leader is not None else set()
        seeds |= {each.pid for each in known if self._is(each)}
        held = {each.pid for each in holds if self._is(each) and not self.rows[each.pid].ended}
        if mark is not None:
            held |= self._held.get(mark, set())
        held -= {leader.pid} if leader is not None else set()
        if mark is not None:
            seeds |= self._orphans(mark, held)
        found = self._with_descendants(seeds - held, held)
        living = [self.rows[pid].process for pid in found if not self.rows[pid].ended]
        return sorted(living, key=lambda each: (each != leader, each.started, each.pid))

    def left_of(
        self, run_dir: str, keys: Iterable[str] = (), holds: Mapping[Mark, Iterable[Process]] | None = None
    ) -> dict[str, list[Process]]:
        """Return who runs of each system of a fleet without that a living circusd holds it.

        ``keys``: systems that it has; of others it is known by what is borne in an environment alone. ``holds``: see
        :meth:`of`, for each system.
        """
        borne = {each.marks.mark for each in self._bearing.values() if each.marks is not None}
        names = {*keys, *(mark.key for mark in borne if mark.run_dir == run_dir)}
        marked = {key: Mark(run_dir, key) for key in sorted(names)}
        found = {key: self.of(mark, holds=(holds or {}).get(mark, ())) for key, mark in marked.items()}
        return {key: everybody for key, everybody in found.items() if everybody}

    def zombies_of(self, parent: int) -> list[int]:
        """Return the children that ``parent`` has not waited for yet."""
        return [pid for pid in self._children.get(parent, ()) if self.rows[pid].ended]

    def _is(self, process: Process) -> bool:
        row = self.rows.get(process.pid)
        return row is not None and row.process == process

    def _led_by(self, leader: Process) -> Iterator[int]:
        row = self.rows.get(leader.pid)
        if row is not None and row.process != leader:
            return  # the pid, and so the group, is somebody else's by now
        yield from () if row is None else (leader.pid,)
        for others in (self._groups, self._sessions):
            yield from (pid for pid in others.get(leader.pid, ()) if self.rows[pid].started >= leader.started)

    @cached_property
    def _held(self) -> Mapping[Mark, set[int]]:
        """Whom living circusds hold as the leaders of systems: a leader that is still the child of who started it."""
        found: dict[Mark, set[int]] = {}
        for pid, each in self._bearing.items():
            if each.marks is None or each.marks.holder is None or not _leads(pid, each.marks):
                continue
            if self.rows[pid].parent == each.marks.holder.pid and self._is(each.marks.holder):
                found.setdefault(each.marks.mark, set()).add(pid)
        return found

    def _orphans(self, mark: Mark, others: set[int]) -> set[int]:
        """Return who bears ``mark`` and has no parent of its own, but for ``others``, who are held, and theirs."""
        seals = {self._bearing[pid].seal for pid in others if pid in self._bearing}
        return {
            pid
            for pid, each in self._bearing.items()
            if pid not in self._above and self._bears(pid, each, mark, others, seals)
        }

    def _bears(self, pid: int, each: Bearing, mark: Mark, others: set[int], seals: set[int | None]) -> bool:
        if each.marks is None:
            return each.seal is not None and marks.sealed_for(mark, each.seal) and each.seal not in seals
        if each.marks.mark != mark or each.marks.leader in others:
            return False
        parent = self.rows[pid].parent
        adopted = parent == INIT or self.rows[parent].process in each.marks.adopters if parent in self.rows else True
        return adopted or self._has_ended(parent)

    def _has_ended(self, pid: int) -> bool:
        """Say whether one is a zombie; its children are its own until the last of its threads is gone."""
        return pid in self.rows and self.rows[pid].ended

    def _with_descendants(self, seeds: set[int], without: set[int]) -> set[int]:
        found: set[int] = set()
        todo = list(seeds)
        while todo:
            pid = todo.pop()
            if pid in found or pid == self._me:
                continue
            found.add(pid)
            todo += [each for each in self._children.get(pid, ()) if each not in without and each not in self._above]
        return found

    def _ancestors(self, pid: int) -> Iterator[int]:
        seen: set[int] = set()
        while pid in self.rows and pid not in seen:
            yield pid
            seen.add(pid)
            pid = self.rows[pid].parent
