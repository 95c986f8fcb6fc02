"""Random faults on a real fleet, drawn from a seed: the same seed draws the same faults on the same systems.

A round is one to three of them at almost the same time; then everything that must hold is waited for. What is drawn
depends on the seed alone, never on what the fleet makes of it.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import requests

from tests.e2e.harness import Json, kill
from tests.faults.arena import Arena

CHAIN: dict[str, Json] = {
    "brain": {"critical": True},
    "router": {"critical": True, "depends_on": ["brain"]},
    "improver": {"depends_on": ["router"]},
    "orchestrator": {"depends_on": ["router"]},
    "hub": {"depends_on": ["router"]},
}
"""Shaped as the five."""
POLICY: dict[str, Json] = {
    "probe": {"interval": 0.5, "timeout": 1.0, "failure_threshold": 1},
    "restart": {
        "backoff_base": 0.05,
        "backoff_cap": 0.2,
        "start_timeout": 6.0,
        "stable_after": 2.0,
        "retry_failed_after": 3.0,
    },
    "stop": {"graceful_timeout": 1.0},
    "journal": {"heartbeat": 5.0},
}
_PATIENCE = 5.0


class Storm:
    """Strikes ``fleet`` by what ``seed`` draws."""

    def __init__(self, fleet: Arena, seed: int) -> None:
        """Begin with a fleet that is up."""
        self.fleet = fleet
        self.done: Counter[str] = Counter()
        """How often each fault was made."""
        self._random = random.Random(seed)
        self._faults: dict[str, tuple[int, Callable[[str], None]]] = {
            "kill": (10, self._signal(signal.SIGKILL)),
            "segv": (4, self._signal(signal.SIGSEGV)),
            "term": (4, self._signal(signal.SIGTERM)),
            "freeze": (4, self._signal(signal.SIGSTOP)),
            "hang": (4, self._ask("hang")),
            "fail": (4, self._ask("fail")),
            "crash twice": (3, self._crash),
            "stubborn and killed": (2, self._stubborn),
            "grandchild and restarted": (2, self._grandchild),
            "crash loop": (1, self._loop),
            "kill the plugin": (3, self._plugin),
            "kill circusd": (1, self._circusd),
            "hang-up for circusd": (1, self._hang_up),
            "api restart": (3, self._order("restart")),
            "api stop and start": (2, self._stop_and_start),
            "api restart-all": (1, self._all),
            "circusctl restart": (2, self._circusctl("restart")),
            "circusctl stop and start": (1, self._circusctl("stop", "start")),
            "reloadconfig": (1, self._reload),
            "clients that leave": (1, self._clients),
            "log removed": (1, self._log),
        }

    def draw(self) -> list[tuple[str, str, float]]:
        """Return the faults of the next round: which, on whom, and how many seconds until the one after it."""
        names, weights = list(self._faults), [weight for weight, _ in self._faults.values()]
        keys = list(self.fleet.ports)
        return [
            (self._random.choices(names, weights)[0], self._random.choice(keys), self._random.uniform(0.0, 0.3))
            for _ in range(self._random.choice([1, 1, 1, 2, 2, 3]))
        ]

    def round(self) -> list[str]:
        """Make one to three faults; return what was done, in words."""
        told = []
        for name, key, pause in self.draw():
            # a process, or the API, that is away just now is what an earlier fault of this round has done
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, requests.RequestException):
                self._faults[name][1](key)
            self.done[name] += 1
            told.append(f"{name} {key}")
            time.sleep(pause)
        return told

    def calm(self) -> None:
        """Have everybody behave again, and started again who was stopped or given up."""
        for key in self.fleet.ports:
            self.fleet.mode(key, "")

    # --- what can be done ------------------------------------------------------------------------------------------

    def _pid(self, key: str) -> int | None:
        return self.fleet.status().get(key, {}).get("pid")

    def _signal(self, number: signal.Signals) -> Callable[[str], None]:
        def strike(key: str) -> None:
            pid = self._pid(key)
            if pid is not None:
                os.kill(pid, number)

        return strike

    def _ask(self, word: str) -> Callable[[str], None]:
        return lambda key: self._get(f"http://127.0.0.1:{self.fleet.ports[key]}/{word}")

    @staticmethod
    def _get(url: str) -> None:
        requests.get(url, timeout=_PATIENCE).close()

    def _crash(self, key: str) -> None:
        self.fleet.mode(key, f"crash={len(self.fleet.started(key)) + 2}")
        self._signal(signal.SIGKILL)(key)

    def _stubborn(self, key: str) -> None:
        self.fleet.mode(key, "stubborn child")
        self._signal(signal.SIGKILL)(key)

    def _grandchild(self, key: str) -> None:
        """Have one that ignores SIGTERM; its leader goes at once, and circus waits for that alone."""
        self.fleet.mode(key, "child")
        self._signal(signal.SIGKILL)(key)
        self._circusctl("restart")(key)

    def _loop(self, key: str) -> None:
        self.fleet.mode(key, "crash")
        self._signal(signal.SIGKILL)(key)

    def _plugin(self, key: str) -> None:
        found = self.fleet.plugin_pid()
        if found is not None:
            kill(found)

    def _circusd(self, key: str) -> None:
        self.fleet.lose_circusd()
        self.fleet.launch()

    def _hang_up(self, key: str) -> None:
        if sighup_is_taken(self.fleet.circusd_pid()):
            os.kill(self.fleet.circusd_pid() or 0, signal.SIGHUP)

    def _order(self, verb: str) -> Callable[[str], None]:
        return lambda key: self.fleet.post(f"/api/autonomous/{verb}/{key}").close()

    def _stop_and_start(self, key: str) -> None:
        self._order("stop")(key)
        self._order("start")(key)

    def _all(self, key: str) -> None:
        self.fleet.post("/api/autonomous/restart-all").close()

    def _circusctl(self, *verbs: str) -> Callable[[str], None]:
        def say(key: str) -> None:
            for verb in verbs:
                self.fleet.circusctl(verb, key)

        return say

    def _reload(self, key: str) -> None:
        self.fleet.circusctl("reloadconfig")

    def _clients(self, key: str) -> None:
        def leave() -> None:
            with contextlib.suppress(requests.RequestException):
                requests.get(f"{self.fleet.url}/api/autonomous/events?wait=20&since=999999999", timeout=0.2).close()

        threads = [threading.Thread(target=leave) for _ in range(10)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    def _log(self, key: str) -> None:
        (self.fleet.folder / ".aurora" / "logs" / f"{key}.log").unlink(missing_ok=True)


def sighup_is_taken(pid: int | None) -> bool:
    """Say whether a process handles SIGHUP by now: circusd dies of one in its first moments, before it is circusd."""
    if pid is None:
        return False
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(caught & (1 << (signal.SIGHUP - 1)))
