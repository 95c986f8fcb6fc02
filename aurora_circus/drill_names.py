"""How drills are called: what the command line has to know of them at each start, whatever it is asked. Pure."""

from enum import StrEnum

CONTROLLER = "aurora"
"""Stands for a system's key where the fault befalls the plugin; no system may be called so."""


class Fault(StrEnum):
    """What may be done; the values are the words of the command line, the API and the journal."""

    KILL = "kill"
    """SIGKILL to its process group."""
    HANG = "hang"
    """SIGSTOP to its process group: what connects still can, and nobody answers."""
    SLOW_HEALTH = "slow-health"
    """Its health is answered too late, by a stand-in; the program itself is not touched."""
    HTTP_500 = "http-500"
    """Its health is answered with status 500, likewise."""
    CRASH_LOOP = "crash-loop"
    """Its process and the next ones are killed as soon as they are there."""
    PLUGIN_KILL = "plugin-kill"
    """SIGKILL to the plugin; the systems are not touched."""


STANDS_IN = frozenset({Fault.SLOW_HEALTH, Fault.HTTP_500})
"""Faults for which somebody else answers in the system's place."""
