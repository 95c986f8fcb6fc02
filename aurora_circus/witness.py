"""Looks at a running fleet from outside, for :mod:`~aurora_circus.oracle`: processes, ports, API, journal.

An adapter: it changes nothing and judges nothing. What cannot be seen is left out.
"""

import contextlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import psutil

from aurora_circus import marks, ports, processes, story
from aurora_circus.facts import Process
from aurora_circus.feed import archive
from aurora_circus.marks import Mark
from aurora_circus.oracle import Resources, Sight
from aurora_circus.records import Record, decode
from aurora_circus.settings import Fleet


class Answers(NamedTuple):
    """What the API said just now."""

    status: Mapping[str, Mapping[str, Any]] | None
    """None: nothing."""
    health: str | None
    """What the controller's own ``/health`` complains of; None when it is well."""


def look(
    fleet: Fleet, said: Answers, *, circusd: int | None, plugin: int | None, so_far: story.Story | None = None
) -> Sight:
    """Look at what runs.

    The journal is read on from where the story ``so_far`` ends, from its beginning where there is none.
    """
    told = story.replay(journal(fleet, so_far.last if so_far else 0), so_far)
    found = said.status or {}
    children = _children(circusd)
    return Sight(
        status=said.status,
        health=said.health,
        told=told,
        leaders=_leaders(children),
        alive=frozenset(each["pid"] for each in found.values() if each["pid"] and _runs(each["pid"])),
        zombies=[each.pid for pid in (circusd, plugin) if pid for each in _own_children(pid) if _is_zombie(each)],
        listeners={key: _listens(each, Mark(fleet.run_dir, key)) for key, each in found.items() if each["pid"]},
        own={
            name: held for name, pid in (("circusd", circusd), ("plugin", plugin)) if pid and (held := resources(pid))
        },
    )


def journal(fleet: Fleet, since: int = 0) -> list[Record]:
    """Return the journal's records after number ``since``, oldest first, from all of its files."""
    with contextlib.closing(archive(fleet).forward(since)) as blocks:
        records = [decode(line) for block in blocks for line in block.split(b"\n") if line]
    return [each for each in records if each is not None and each["seq"] > since]


def resources(pid: int) -> Resources | None:
    """Return what a process holds; None where that cannot be seen."""
    try:
        found = psutil.Process(pid)
        return Resources(_handles(found), found.num_threads())
    except psutil.Error:
        return None


if sys.platform == "win32":

    def _handles(process: psutil.Process) -> int:
        return process.num_handles()

else:

    def _handles(process: psutil.Process) -> int:
        return process.num_fds()


def _children(circusd: int | None) -> list[psutil.Process]:
    if circusd is None:
        return []
    try:
        return psutil.Process(circusd).children(recursive=True)
    except psutil.Error:
        return []


def _own_children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.Error:
        return []


def _leaders(children: Iterable[psutil.Process]) -> dict[str, list[int]]:
    """Return who leads a group and bears a system's name, for each system; who came of such a one is part of it."""
    found: dict[str, list[int]] = {}
    named: dict[int, str] = {}
    led_by: dict[int, str] = {}
    for each in children:
        with contextlib.suppress(psutil.Error):
            environ = each.environ()
            key = environ.get(marks.SYSTEM)
            if key and each.status() != psutil.STATUS_ZOMBIE:
                named[each.pid] = key
                led_by[each.pid] = environ.get(marks.LEADER, "")
    leaders = {str(pid) for pid in named}
    for each in children:
        with contextlib.suppress(psutil.Error):
            astray = led_by.get(each.pid) in leaders - {str(each.pid)}
            if each.pid in named and each.ppid() not in named and not astray:
                found.setdefault(named[each.pid], []).append(each.pid)
    return found


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _runs(pid: int) -> bool:
    known = processes.identify(pid)
    return known is not None and processes.alive(known)


def _listens(each: Mapping[str, Any], mark: Mark) -> bool | None:
    leader: Process | None = processes.identify(each["pid"])
    if leader is None:
        return None
    ours = ports.belongs(each["port"], [member.pid for member in processes.members(leader)])
    if ours is not False:
        return ours
    return ports.belongs(each["port"], [one.pid for one in processes.everybody(leader, mark)])
