"""The machine's own limits: the same things done by hand, without a supervisor."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from benchmarks import proc
from benchmarks.client import health
from benchmarks.peer import HERE, PYTHON, environment, free_ports, pause
from benchmarks.rows import MACHINE, Row
from benchmarks.session import Rows

TRIALS = 5
"""Figures that a round gives."""
COMMANDS = {"a Python that does nothing": (PYTHON, "-IS", "-c", "pass"), "/bin/true": ("/bin/true",)}
PROBES = 1000


def start(port: int) -> subprocess.Popen[bytes]:
    """Start one service."""
    return subprocess.Popen(
        [PYTHON, "-IS", str(HERE / "service.py"), "--port", str(port)],
        stdin=subprocess.DEVNULL,
        env=environment(),
    )


def await_health(ports: Sequence[int]) -> None:
    """Wait until each answers."""
    waiting = list(ports)
    while waiting:
        looked = time.monotonic()
        waiting = [port for port in waiting if health(port) is None]
        if waiting:
            time.sleep(pause(time.monotonic() - looked))


@contextmanager
def services(*levels: int) -> Iterator[tuple[list[int], list[subprocess.Popen[bytes]], float]]:
    """Run services by hand, each level when the one before is healthy: ports, processes, seconds until all are."""
    ports = free_ports(sum(levels))
    children: list[subprocess.Popen[bytes]] = []
    begun = time.monotonic()
    try:
        for count in levels:
            level = ports[len(children) : len(children) + count]
            children += [start(port) for port in level]
            await_health(level)
        yield ports, children, time.monotonic() - begun
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def cold(number: int) -> Rows:
    """Start five at once, and in three levels."""
    for variant, levels in (("flat", (5,)), ("in three levels", (1, 1, 3))):
        with services(*levels) as (_, _, taken):
            yield Row(measure="cold", peer=MACHINE, value=taken, variant=variant, services=5, trial=number)


def kill_to_healthy() -> Iterator[float]:
    """Kill a service, start the next one, and wait for its health, again and again."""
    with services(1) as (ports, children, _):
        for _ in range(TRIALS):
            begun = time.monotonic()
            children[0].kill()
            children[0].wait()
            children[0] = start(ports[0])
            await_health(ports)
            yield time.monotonic() - begun


def crash(number: int) -> Rows:
    """Bring one back at once."""
    for trial, taken in enumerate(kill_to_healthy()):
        yield Row(measure="crash", peer=MACHINE, value=taken, services=5, trial=number * TRIALS + trial)


def unhealthy(mode: str) -> Callable[[int], Rows]:
    """Return the limit of a probe each second that gives up after one: computed, not waited for."""

    def measure(number: int) -> Rows:
        patience = 0.0 if mode == "fail" else 1.0
        for trial, taken in enumerate(kill_to_healthy()):
            value = (trial + 0.5) / TRIALS + patience + taken
            yield Row(measure=mode, peer=MACHINE, value=value, services=5, trial=number * TRIALS + trial)

    return measure


def stop(number: int) -> Rows:
    """Send SIGTERM to all of them at once."""
    with services(5) as (_, children, _):
        begun = time.monotonic()
        for child in children:
            child.send_signal(signal.SIGTERM)
        for child in children:
            child.wait()
        taken = time.monotonic() - begun
    yield Row(measure="stop", peer=MACHINE, value=taken, variant="flat, by its command", services=5, trial=number)


def idle(number: int) -> Rows:
    """Ask as many probes as five services get, and say what of a core they alone would take."""
    with services(1) as (ports, _, _):
        begun = time.process_time()
        for _ in range(PROBES):
            health(ports[0])
        each = (time.process_time() - begun) / PROBES
    for interval in (1, 5):
        value = 100 * each * 5 / interval
        variant = f"probes each {interval} s"
        yield Row(measure="idle", peer=MACHINE, value=value, variant=variant, services=5, trial=number)


def command(number: int) -> Rows:
    """Run commands that do nothing."""
    for trial in range(TRIALS):
        begun = time.perf_counter()
        subprocess.run([PYTHON, "-IS", "-c", "pass"], check=True, env=environment())
        taken = time.perf_counter() - begun
        yield Row(measure="command", peer=MACHINE, value=taken, services=5, trial=number * TRIALS + trial)


def limits(number: int) -> Rows:
    """Return what the parts of it all take."""
    for trial in range(TRIALS):
        with services(1) as (_, _, taken):
            yield Row(measure="limits", peer=MACHINE, value=taken, variant="start of one service", trial=trial)
    for taken in kill_to_healthy():
        yield Row(measure="limits", peer=MACHINE, value=taken, variant="kill to healthy, by hand", trial=number)
    with services(1) as (ports, children, _):
        for trial in range(200):
            begun = time.perf_counter()
            health(ports[0])
            taken = time.perf_counter() - begun
            yield Row(measure="limits", peer=MACHINE, value=taken, variant="one GET of /health", trial=trial)
        held = proc.pss(children[0].pid) / 2**20
        yield Row(measure="limits", peer=MACHINE, value=held, variant="memory of one service alone, MiB", trial=number)
    for name, words in COMMANDS.items():
        for trial in range(TRIALS):
            begun = time.perf_counter()
            subprocess.run(words, check=True, env=environment())
            taken = time.perf_counter() - begun
            yield Row(measure="limits", peer=MACHINE, value=taken, variant=f"one command: {name}", trial=trial)
