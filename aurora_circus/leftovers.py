"""What is left of a fleet that nobody watches any more: the state that was saved, and processes that go on. An adapter.

A process is known by pid and start time, a system by its leader and by the marks that everybody of it bears: nothing is
ended because it holds a port, or has a name that looks right.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from aurora_circus import processes
from aurora_circus.clock import Clock, pause
from aurora_circus.facts import Process
from aurora_circus.lookup import read_text
from aurora_circus.marks import Mark
from aurora_circus.settings import Fleet

_STATE = "state.json"
_LOOK = 0.02
"""Seconds between two looks at what is ending: it is nobody's child, and of so many no event tells."""
KILL_PATIENCE = 5.0
"""Seconds until what was sent SIGKILL has to be gone."""


def saved_state(fleet: Fleet) -> Mapping[str, Any]:
    """Return what the plugin last saved of this fleet; nothing where it saved nothing."""
    text = read_text(Path(fleet.run_dir) / _STATE)
    try:
        state = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def forget_state(fleet: Fleet) -> None:
    """Let the wishes end with the fleet: it was taken down on purpose."""
    (Path(fleet.run_dir) / _STATE).unlink(missing_ok=True)


def known(fleet: Fleet) -> dict[str, Process]:
    """Return the leader of each system's process group as it was last known, whether it lives or not.

    What was saved before this machine was booted says nothing where start times count from that: the numbers are
    other processes' by now.
    """
    found: dict[str, Process] = {}
    file = Path(fleet.run_dir) / _STATE
    try:
        if processes.boot() and file.stat().st_mtime < psutil.boot_time():
            return found
    except OSError:
        return found
    systems = saved_state(fleet).get("systems")
    for key, memory in systems.items() if isinstance(systems, dict) else ():
        match memory:
            case {"process": [int(pid), int(started) | float(started)]} if pid > 1:
                with contextlib.suppress(OverflowError):  # a number that no clock has
                    found[str(key)] = Process(pid, float(started))
    return found


def surviving(fleet: Fleet, leaders: Mapping[str, Process]) -> dict[str, list[Process]]:
    """Return who still runs of each system, the leader first; systems of which nobody does are left out.

    Systems of which only their marks tell are among them; what a living circusd holds is so only if it is known.
    """
    moment = processes.moment()
    found = processes.left_of(fleet.run_dir, fleet.systems, moment)
    for key, leader in leaders.items():
        everybody = processes.everybody(leader, Mark(fleet.run_dir, key), moment)
        if everybody:
            found[key] = everybody
    return found


def end(  # noqa: PLR0913, PLR0917 - what is to be ended, and how
    run_dir: str,
    leaders: Mapping[str, Process],
    order: Iterable[str],
    graces: Mapping[str, float],
    gone: Callable[[str, float, bool], None],
    clock: Clock,
) -> list[str]:
    """End whole systems: SIGTERM in ``order``, a grace period each, SIGKILL; return the keys of what stays.

    ``run_dir`` is the directory by which what has gone astray of them is known for theirs.

    ``gone`` is told of each system that is: its key, after how many seconds, and whether it took force.

    Raises:
        MachineError: the system refused a signal.
    """
    began = clock.monotonic()
    left = {key: leaders[key] for key in (*order, *leaders) if key in leaders}
    for key, leader in left.items():
        processes.terminate_all(leader, Mark(run_dir, key))
    killed: set[str] = set()
    last = began + max((graces.get(key, 0.0) for key in left), default=0.0) + KILL_PATIENCE
    while left:
        now = clock.monotonic()
        for key, leader in list(left.items()):
            if not processes.left(leader, Mark(run_dir, key)):
                del left[key]
                gone(key, now - began, key in killed)
            elif now - began >= graces.get(key, 0.0) and key not in killed:
                killed.add(key)
                processes.kill_all(leader, Mark(run_dir, key))
        if not left or now >= last:
            break
        pause(_LOOK)
    return list(left)
