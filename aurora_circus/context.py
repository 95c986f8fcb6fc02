"""What every command has at hand: its fleet, a terminal, a clock, and the next command to advise."""

import shlex
import subprocess
import sys
from dataclasses import dataclass, field

from aurora_circus.clock import Clock
from aurora_circus.config import Config
from aurora_circus.fleetfile import NAME, NO_FILE
from aurora_circus.settings import Fleet
from aurora_circus.terminal import Terminal


@dataclass(frozen=True, slots=True)
class Context:
    """One command's surroundings."""

    config: Config
    terminal: Terminal = field(default_factory=Terminal)
    clock: Clock = field(default_factory=Clock)

    @property
    def fleet(self) -> Fleet:
        """The fleet's own settings."""
        return self.config.fleet

    def advice(self, *words: str) -> str:
        """Return a command to type, for this same fleet."""
        option = () if self.config.source in {NO_FILE, NAME} else ("--fleet", self.config.source)
        line = ("aurora-circus", *words, *option)
        return subprocess.list2cmdline(line) if sys.platform == "win32" else shlex.join(line)

    @staticmethod
    def by_force(pid: int) -> str:
        """Return a command to type that ends a process and asks nobody."""
        return f"taskkill /F /PID {pid}" if sys.platform == "win32" else f"kill -9 {pid}"
