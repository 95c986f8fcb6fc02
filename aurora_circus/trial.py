"""``check --live``: starts one system alone, as circusd would, looks at it until it is healthy, and ends it again."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aurora_circus import leftovers, logs, marks, ports, probe, processes
from aurora_circus.clock import Clock
from aurora_circus.config import AT_SPAWN, Command, Config
from aurora_circus.facts import Exit, Holder, Outcome, Process
from aurora_circus.interrupts import Interrupts
from aurora_circus.lifecycle import STARTING_LOOKS
from aurora_circus.marks import Mark
from aurora_circus.render import by_runner
from aurora_circus.settings import System
from aurora_circus.terminal import clean, duration, state


@dataclass(frozen=True, slots=True)
class Trial:
    """How one system did."""

    key: str
    port: int
    healthy: bool
    took: float = 0.0
    """Seconds from its start until it was healthy, or until it was given up."""
    reason: str | None = None
    """Why it is not healthy."""
    latency: float | None = None
    given: frozenset[str] = frozenset()
    """Which of the six metrics it gave."""
    left: bool = False
    """Whether something of it could not be ended."""
    output: tuple[str, ...] = field(default=())
    """The last lines of its output, where it did not become healthy."""


def attempt(config: Config, system: System, interrupts: Interrupts, clock: Clock) -> Trial:
    """Start ``system`` alone, look at it until it is healthy or its ``start_timeout`` is over, and end it."""
    port, holder = _port(config, system)
    if holder is not None:
        return Trial(system.key, port, healthy=False, reason=f"not started: port {port} is held by {holder}")
    with tempfile.TemporaryDirectory(prefix="aurora-") as folder:
        log = Path(folder) / "output"
        began = clock.monotonic()
        left: list[str] = []
        try:
            with _running(system, config.commands[system.key], port, log, left, interrupts, clock) as child:
                outcome = _until_healthy(system, port, child, log, clock)
                took = clock.monotonic() - began
        except OSError as error:
            return Trial(system.key, port, healthy=False, reason=f"it cannot be started: {error}")
        return Trial(
            system.key,
            port,
            healthy=outcome.ok,
            took=took,
            reason=outcome.reason,
            latency=outcome.latency,
            given=frozenset(outcome.metrics),
            left=bool(left),
            output=() if outcome.ok else tuple(logs.tail(log, 5)),
        )


def sentence(trial: Trial) -> str:
    """Return how a system did: status, latency and which of the six metrics it gave."""
    head = f"{trial.key:<24}  "
    if not trial.healthy:
        lines = [f"{head}{state('failed')}   {clean(trial.reason)}"]
        lines += [f"{'':<26}| {clean(each)}" for each in trial.output]
    else:
        latency = "" if trial.latency is None else f" in {trial.latency * 1000:.1f} ms"
        missing = [each for each in probe.METRICS if each not in trial.given]
        gave = "all six metrics" if not missing else f"metrics: {', '.join(sorted(trial.given)) or 'none'}"
        lacks = f"; not: {', '.join(missing)}" if trial.given and missing else ""
        lines = [f"{head}{state('healthy')}  after {duration(trial.took)}, HTTP 200{latency}; {gave}{lacks}"]
    if trial.left:
        lines.append(f"{'':<26}something of it goes on, even after SIGKILL (port {trial.port})")
    return "\n".join(lines)


def _port(config: Config, system: System) -> tuple[int, Holder | None]:
    """Return the port it gets, and who holds that already."""
    holder = ports.holder(system.port)
    if holder is None or system.port_policy == "fixed" or config.fleet.port_range is None:
        return system.port, holder
    taken = {each.port for each in config.systems} | {config.fleet.api.port}
    free = ports.free_port(*config.fleet.port_range, taken)
    return (system.port, holder) if free is None else (free, None)


@contextlib.contextmanager
def _running(  # noqa: PLR0913, PLR0917 - one system's surroundings
    system: System, command: Command, port: int, log: Path, left: list[str], interrupts: Interrupts, clock: Clock
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a system while this block lasts, and end its whole group then; what stays is put into ``left``."""
    argv, how = _command(system, command, log)
    folder = str(log.parent)
    argv = [each.replace(AT_SPAWN, str(port)) for each in argv]

    def end(leader: Process, child: "subprocess.Popen[bytes]") -> None:
        graces = {system.key: system.graceful_timeout}
        with interrupts.held():  # no signal ends that half-way
            left.extend(leftovers.end(folder, {system.key: leader}, [system.key], graces, lambda *_: None, clock))
            if not left:
                child.wait()

    with contextlib.ExitStack() as ending:
        with interrupts.held(), log.open("ab") as output:
            child = subprocess.Popen(
                argv,
                cwd=command.working_dir,
                env=_environment(system, port, folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **how,
            )
            leader = processes.identify(child.pid) or Process(child.pid, 0.0)
            ending.callback(end, leader, child)
        yield child


def _command(system: System, command: Command, log: Path) -> tuple[list[str], Mapping[str, Any]]:
    """Return what circus would run, and how, so that it leads a group of its own."""
    if sys.platform == "win32":
        line = by_runner(sys.executable, command, str(log), system.graceful_timeout)
        return line, {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    else:  # noqa: RET505 - the type checker takes it for what the other systems have
        account = {"user": _account(command, "uid"), "group": _account(command, "gid")}
        return list(command.argv), {"start_new_session": True, **account}


def _environment(system: System, port: int, folder: str) -> Mapping[str, str]:
    """Return what circusd's hook gives it; it bears the mark of a fleet that is there for this trial alone."""
    us = processes.identify(os.getpid())
    own = {"PORT": str(port), "AURORA_PORT": str(port)}
    return {**os.environ, **system.env, **own, **marks.environment(Mark(folder, system.key), (us,) if us else ())}


def _account(command: Command, option: str) -> str | int | None:
    """Return as whom it runs, where circusd is told so and we may."""
    value = command.circus.get(option) if sys.platform != "win32" and os.geteuid() == 0 else None
    return int(value) if value is not None and value.isdecimal() else value


def _until_healthy(system: System, port: int, child: "subprocess.Popen[bytes]", log: Path, clock: Clock) -> Outcome:
    """Look again and again, ever less often, as the plugin does; the death of the process ends a pause."""
    began = clock.monotonic()
    limit = system.restart.start_timeout
    with asyncio.Runner() as loop:
        while True:
            outcome = loop.run(probe.look(port, system.probe))
            if child.poll() is not None:
                return Outcome(ok=False, reason=_how_it_ended(child.returncode, log))
            age = clock.monotonic() - began
            if outcome.ok:
                return outcome
            if age >= limit:
                return Outcome(ok=False, reason=f"not healthy within {limit:g} s: {outcome.reason}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(min(max(age / 10, STARTING_LOOKS[0]), STARTING_LOOKS[1]))


def _how_it_ended(code: int, log: Path) -> str:
    last = logs.last_line(log)
    return f"it ended by itself ({Exit(*processes.from_exit_code(code))}){': ' + last if last else ''}"
