"""Processes as the operating system knows them: who lives, how one ended, and the end of whole groups. An adapter.

A process is known by pid and start time, never by its pid alone. Each system leads a group of its own, and has
whoever came of it: what is asked or ended is always the whole of it. Nothing here waits but what says so. What each
function does is said in :mod:`~aurora_circus.unix` and :mod:`~aurora_circus.families`, and of Windows in
:mod:`~aurora_circus.windows`.
"""

import sys

import psutil

from aurora_circus.clock import pause
from aurora_circus.errors import MachineError
from aurora_circus.facts import Process

if sys.platform == "win32":
    from aurora_circus import windows as families
    from aurora_circus import windows as system
else:
    from aurora_circus import families
    from aurora_circus import unix as system

How = system.How
"""How a process is."""
Watch = system.Watch
age = system.age
alive = system.alive
boot = system.boot
exit_status = system.exit_status
freeze = system.freeze
from_exit_code = system.from_exit_code
glance = system.glance
identify = system.identify
kill = system.kill
lineage = system.lineage
members = system.members
stopped = system.stopped
terminate = system.terminate
thaw = system.thaw
watch = system.watch

everybody = families.everybody
forget = families.forget
hold = families.hold
kill_all = families.kill_all
left = families.left
left_of = families.left_of
moment = families.moment
terminate_all = families.terminate_all
terminate_others = families.terminate_others
zombies = families.zombies

_LOOK = 0.02
"""Seconds between two looks at a process where the system has no event for its end."""


def works(process: Process) -> bool:
    """Say whether a process runs and is not stopped."""
    return alive(process) and not stopped(process)


def await_end(process: Process, timeout: float) -> None:
    """Wait until ``process`` has ended, ``timeout`` seconds at most; sooner where the system has no event for it."""
    found = watch(process)
    if found is None:
        if alive(process):
            pause(min(timeout, _LOOK))
        return
    try:
        found.wait(timeout)
    finally:
        found.close()


def end(process: Process) -> bool:
    """End ``process`` by force, alone of its group; False when it is gone.

    Raises:
        MachineError: we may not.
    """
    if not alive(process):
        return False
    try:
        psutil.Process(process.pid).kill()  # it makes sure that the pid is still the one that it has just looked at
    except psutil.NoSuchProcess:
        return False
    except psutil.Error as error:
        raise MachineError(f"SIGKILL to process {process.pid}: {error}") from error
    return True
