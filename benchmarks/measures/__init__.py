"""All questions, in the order in which they are asked."""

from collections.abc import Sequence

from benchmarks import peers
from benchmarks.measures import asking, cost, ending, growth, journal, machine, recovery, starting
from benchmarks.session import Kind, Measure, Rows

NAMES = (
    "limits",
    "cold",
    "crash",
    "crash-hang",
    "crash-loop",
    "hang",
    "fail",
    "freeze",
    "status",
    "command",
    "loop",
    "idle",
    "memory",
    "stop",
    "left",
    "killed",
    "journal",
    "growth",
)
SIZES = (5, 50, 200, 500)


def nothing(_kind: Kind, _number: int) -> Rows:
    """Ask no peer."""
    yield from ()


def chosen(names: Sequence[str], sizes: Sequence[int] = SIZES) -> list[Measure]:
    """Return these measures; ``growth`` is one for each size."""
    every = (
        Measure("limits", nothing, (), machine.limits, share=0.2),
        Measure("cold", starting.cold, peers.MAIN, machine.cold, share=0.5),
        Measure("crash", recovery.crash, peers.MAIN, machine.crash),
        Measure("crash-hang", recovery.crash_while_hung, peers.MAIN),
        Measure("crash-loop", recovery.crash_while_looping, peers.GROWING),
        Measure("hang", recovery.unhealthy("hang"), peers.MAIN, machine.unhealthy("hang")),
        Measure("fail", recovery.unhealthy("fail"), peers.PROBING, machine.unhealthy("fail")),
        Measure("freeze", recovery.unhealthy("freeze"), peers.PROBING, machine.unhealthy("freeze")),
        Measure("status", asking.status, peers.WITH_API, asking.status_of_machine, share=0.15),
        Measure("command", asking.command, peers.STOCK, machine.command, share=0.1),
        Measure("loop", cost.loop, peers.LOOPING, share=0.05),
        Measure("idle", cost.idle, peers.MAIN, machine.idle, share=0.1),
        Measure("memory", starting.memory, peers.MAIN, share=0.05),
        Measure("stop", ending.stop, peers.LEAVING, machine.stop, share=0.25),
        Measure("left", ending.left, peers.LEAVING, share=0.15),
        Measure("killed", ending.supervisor_killed, peers.KILLED, share=0.1),
        Measure("journal", journal.journal, peers.OURS, share=0.1),
        *(
            Measure("growth", growth.grown(size), peers.GROWING, growth.grown_by_hand(size), share=0.05)
            for size in sizes
        ),
    )
    return [each for each in every if each.name in names]
