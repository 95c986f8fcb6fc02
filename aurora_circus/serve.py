"""What a service manager runs: ``up`` in the foreground, without a terminal, that may be killed and started again.

Its end says what is to become of it: 0 when the fleet was taken down on purpose, anything else when it is to be
started again. Whoever starts it again finds what the last one left: a circusd that nobody watches any more is replaced,
and the systems go on until each is.
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

END_PATIENCE = 5.0
"""Seconds for a process to be gone after SIGKILL, and for a plugin to notice that its circusd is; it takes one."""
OUTPUT_BYTES = 5_000_000
"""The size from which on a service's own output becomes a backup when it is started again."""
PLUGIN_CLASS = "aurora_circus.plugins.aurora.AuroraPlugin"


def serve(order: Order) -> int:
    """Bring the fleet up and stay with it; return the exit code.

    Raises:
        MachineError: it runs already, and not from an earlier life of this service.
    """
    context = order.context
    context.terminal.forgiving = True  # nobody reads along, and that is no reason to end anything
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    running = lookup.find(context.fleet)
    if running is not None:
        _take_over(context, running)
    me = processes.identify(os.getpid())
    os.environ[SERVED_BY] = "" if me is None else f"{me.pid}:{me.started!r}"
    code = bring_up.up(order)
    if code == 0 and (other := lookup.find(context.fleet)) is not None:
        context.terminal.warn(f"somebody else has started this fleet meanwhile (circusd, pid {other.pid})")
        return 1
    return code


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


def _take_over(context: Context, circusd: Process) -> None:
    """End a circusd whose service was killed; everything else that runs this fleet is left alone."""
    server = served_by(circusd)
    name = context.fleet.name
    if server is None:
        raise MachineError(
            f"the fleet {name} runs already (circusd, pid {circusd.pid}), and was not started as a service\n"
            f"take that one down first: {context.advice('down')}"
        )
    if processes.alive(server):
        raise MachineError(f"the fleet {name} is served already, by pid {server.pid}")
    context.terminal.warn(
        f"circusd (pid {circusd.pid}) is left of a service that was killed (pid {server.pid}): it is replaced; "
        "the systems go on until each is"
    )
    plugins = _plugins(circusd)
    with contextlib.suppress(OSError):  # else the plugin, which keeps a circusd whose `up` is gone, is in our way
        kept.mark(context.fleet.run_dir)
    _kill(circusd)
    for each in plugins:  # it ends by itself, unless somebody has stopped it
        if not launch.await_end(each, END_PATIENCE):
            _kill(each)


def _plugins(circusd: Process) -> list[Process]:
    try:
        children = psutil.Process(circusd.pid).children()
        ours = [each.pid for each in children if any(PLUGIN_CLASS in word for word in each.cmdline())]
    except psutil.Error:
        return []
    return [found for pid in ours if (found := processes.identify(pid)) is not None]


def _kill(process: Process) -> None:
    if not processes.alive(process):
        return
    try:
        psutil.Process(process.pid).kill()
    except psutil.NoSuchProcess:
        return
    except psutil.Error as error:
        raise MachineError(f"SIGKILL to pid {process.pid}: {error}") from error
    if not launch.await_end(process, END_PATIENCE):
        raise MachineError(f"pid {process.pid} is still there {END_PATIENCE:g} s after SIGKILL")
