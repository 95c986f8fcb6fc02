"""What a service manager runs: ``up`` in the foreground, without a terminal, that may be killed and started again.

Its end says what is to become of it: 0 when the fleet was taken down on purpose, anything else when it is to be
started again. Whoever starts it again goes on with what the last one has left: no system is touched, unless circusd is
stuck and has to be replaced.
"""

import contextlib
import os
import signal
from pathlib import Path

import psutil

from aurora_circus import bring_up, kept, launch, lookup, processes
from aurora_circus.bring_up import Order
from aurora_circus.context import Context
from aurora_circus.errors import MachineError
from aurora_circus.facts import Process
from aurora_circus.files import shift
from aurora_circus.notify import SERVED_BY

PLUGIN_CLASS = "aurora_circus.plugins.aurora.AuroraPlugin"
"""What the plugin's command line names."""
OUTPUT_BYTES = 5_000_000
"""The size from which on a service's own output becomes a backup when it is started again."""


def serve(order: Order) -> int:
    """Bring the fleet up and stay with it; return the exit code.

    Raises:
        MachineError: it runs already, and not from an earlier life of this service.
    """
    context = order.context
    context.terminal.forgiving = True  # nobody reads along, and that is no reason to end anything
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    me = processes.identify(os.getpid())
    os.environ[SERVED_BY] = "" if me is None else f"{me.pid}:{me.started!r}"
    while True:
        running = lookup.find(context.fleet)
        if running is None:
            code = bring_up.up(order)
            if code != 0 or lookup.find(context.fleet) is None:
                return code
            # somebody else was quicker: the last plugin, it may be, which keeps a circusd that nobody serves
        elif _is_left(context, running):
            context.terminal.warn(f"going on with what a service that was killed has left: circusd, pid {running.pid}")
            return bring_up.attach(order, running)


def served_by(circusd: Process) -> Process | None:
    """Return who serves the fleet of this circusd as a service, dead or alive; None when it was started otherwise."""
    try:
        said = psutil.Process(circusd.pid).environ().get(SERVED_BY, "")
        pid, _, started = said.partition(":")
        return Process(int(pid), float(started))
    except (psutil.Error, OSError, ValueError):
        return None


def prepare_output(path: Path) -> None:
    """See to it that what is written to ``path`` does not grow from start to start.

    Raises:
        MachineError: it cannot be moved away.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > OUTPUT_BYTES:
            shift(path, 1)
            path.replace(path.with_name(f"{path.name}.1"))
    except OSError as error:
        raise MachineError(f"moving {path} away: {error.strerror}") from error


def _is_left(context: Context, circusd: Process) -> bool:
    """Say whether to go on with a circusd; False when it was stuck and is no more.

    Raises:
        MachineError: somebody else runs it.
    """
    server = served_by(circusd)
    name = context.fleet.name
    if server is None and processes.alive(circusd):
        raise MachineError(
            f"the fleet {name} runs already (circusd, pid {circusd.pid}), and was not started as a service\n"
            f"take that one down first: {context.advice('down')}"
        )
    if server is not None and processes.alive(server):
        raise MachineError(f"the fleet {name} is served already, by pid {server.pid}")
    if lookup.ask_pid(context.fleet) == circusd.pid:
        return True
    context.terminal.warn(f"circusd (pid {circusd.pid}) is left of a service that was killed, and stuck: it is ended")
    plugins = _plugins(circusd)
    with contextlib.suppress(OSError):  # else the plugin, which keeps a circusd whose `up` is gone, is in our way
        kept.mark(context.fleet.run_dir)
    if not launch.end(circusd):
        raise MachineError(f"circusd (pid {circusd.pid}) is still there after SIGKILL")
    for each in plugins:
        if processes.stopped(each):  # any other one ends by itself now
            processes.end(each)
    return False


def _plugins(circusd: Process) -> list[Process]:
    try:
        children = psutil.Process(circusd.pid).children()
        ours = [each.pid for each in children if any(PLUGIN_CLASS in word for word in each.cmdline())]
    except psutil.Error:
        return []
    return [found for pid in ours if (found := processes.identify(pid)) is not None]
