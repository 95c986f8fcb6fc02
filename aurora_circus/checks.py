"""``check``: what is wrong with a fleet before it is started, and, when asked, each of its systems tried alone."""

from collections.abc import Mapping, Sequence

from aurora_circus import leftovers, lookup, preflight, sentences, trial
from aurora_circus.config import Config
from aurora_circus.context import Context
from aurora_circus.facts import Process
from aurora_circus.interrupts import Interrupted, Interrupts
from aurora_circus.terminal import one


def run(context: Context, *, live: bool) -> int:
    """Say all findings; with ``live``, try every system. Return the exit code."""
    config, terminal = context.config, context.terminal
    running = lookup.find(config.fleet)
    known = leftovers.surviving(config.fleet, leftovers.known(config.fleet))
    findings = preflight.inspect(config, own=_own(running, known))
    for each in findings:
        (terminal.warn if each.severity == "error" else terminal.say)(
            sentences.finding(each.severity, each.key, each.message)
        )
    errors = sum(each.severity == "error" for each in findings)
    if errors:
        terminal.warn(f"{one(errors, 'error')}: the fleet cannot start")
        return 2
    terminal.say(f"{one(len(config.systems), 'system')}, from {config.source}: nothing keeps them from starting")
    if not live:
        return 0
    if running is not None or known:
        what = f"circusd, pid {running.pid}" if running is not None else f"left over: {', '.join(known)}"
        terminal.warn(f"check --live needs a stopped fleet, and this one is running ({what})")
        terminal.warn(f"to end it: {context.advice('down')}")
        return 1
    try:
        return _try(context)
    except Interrupted:
        terminal.warn("\ninterrupted; what was started is ended again")
        return 1


def _try(context: Context) -> int:
    """Try every system, one after the other, in start order; a signal ends that, and leaves nothing running."""
    failed = []
    with Interrupts() as interrupts:
        for system in context.config.systems:
            each = trial.attempt(context.config, system, interrupts, context.clock)
            context.terminal.say(trial.sentence(each))
            if not each.healthy:
                failed.append(each.key)
    count = len(context.config.systems)
    if failed:
        context.terminal.warn(f"{len(failed)} of {one(count, 'system')} not healthy: {', '.join(failed)}")
    return 1 if failed else 0


def own_pids(config: Config) -> list[int]:
    """Return the processes of this very fleet, as far as it runs: their ports are no news."""
    known = leftovers.surviving(config.fleet, leftovers.known(config.fleet))
    return _own(lookup.find(config.fleet), known)


def _own(circusd: Process | None, known: Mapping[str, Sequence[Process]]) -> list[int]:
    own = [each.pid for group in known.values() for each in group]
    return own if circusd is None else [*own, *_children(circusd.pid)]


def _children(pid: int) -> list[int]:
    """Return all processes below one."""
    import psutil  # noqa: PLC0415 - as light as it gets where nothing runs

    try:
        return [pid, *(each.pid for each in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []
