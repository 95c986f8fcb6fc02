"""What the decisions are told and what they answer: facts in, actions out.

Every fact carries ``at``, the monotonic time in seconds at which it became true; nothing here reads a clock.
Facts and actions name one system by its ``key``. They hold plain values only, so that a list of facts can be
written down and played again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """The states of a system; the values are the words in the API, the journal and the README."""

    STOPPED = "stopped"
    """Wanted down."""
    WAITING = "waiting"
    """A first start, at the gate: its dependencies are not up yet."""
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    """Past the failure threshold, or dead: being brought down, to be started again."""
    BACKOFF = "backoff"
    """Down; the next attempt has a time."""
    STOPPING = "stopping"
    FAILED = "failed"
    """Attempts used up. Left by a manual start or restart, or by its own retry."""


class Process(NamedTuple):
    """Which process: a pid alone may be somebody else's tomorrow."""

    pid: int
    started: float
    """When it started, as the operating system says it; compared, never computed with."""


class Holder(NamedTuple):
    """Somebody else who listens on a system's port, as far as may be seen."""

    pid: int | None
    command: str | None

    def __str__(self) -> str:
        """Name it in words."""
        return "another user's process" if self.pid is None else f"pid {self.pid} ({self.command})"


_TERMINATED = 128 + 15
"""The exit code of a shell whose command SIGTERM has ended, and of many a program that makes its own end of that."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, as far as could be seen."""

    code: int | None = None
    signal: str | None = None
    last_line: str | None = None
    """The last line of its output."""
    asked: bool = False
    """Whether it had been asked to end; then an end by itself, or by SIGTERM, is no fault."""

    @property
    def in_peace(self) -> bool:
        """Say whether it ended because it was asked to, and in no other way than that."""
        return self.asked and (self.code in {0, _TERMINATED} or self.signal in {"SIGTERM", "CONTROL_C_EXIT"})

    def __str__(self) -> str:
        """Say it as a person would: ``exited with code 1: ImportError: …``."""
        if self.in_peace:
            return "exited as asked"
        how = (
            f"killed by {self.signal}"
            if self.signal
            else "ended, nobody saw how"
            if self.code is None
            else f"exited with code {self.code}"
        )
        if not self.last_line:
            return how
        return f"{how}: {self.last_line}" if self.code else f"{how}; its last output: {self.last_line}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one probe saw."""

    ok: bool
    reason: str | None = None
    """Why not, in words; None when ok."""
    latency: float | None = None
    """Seconds, None when no answer came."""
    metrics: Mapping[str, object] = field(default_factory=dict)
    verified: bool | None = None
    """True: the listener belongs to the system's process group. None: that was not looked at or cannot be seen."""
    holder: Holder | None = None
    """Who else holds the port, where somebody does."""
    made: bool = True
    """False: it could not be made, for want of means of our own, and says nothing of the system."""


# --- facts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fact:
    """Something became true of the system ``key`` at ``at`` (monotonic seconds)."""

    at: float
    key: str


@dataclass(frozen=True, slots=True)
class Start(Fact):
    """It is wanted up."""


@dataclass(frozen=True, slots=True)
class Stop(Fact):
    """It is wanted down. ``external``: circusd is already bringing it down."""

    external: bool = False


@dataclass(frozen=True, slots=True)
class Restart(Fact):
    """It is wanted up, in a new process.

    ``external``: circusd is already bringing it down. ``rejoin``: it goes through the gate again, as one of many.
    """

    external: bool = False
    rejoin: bool = False


@dataclass(frozen=True, slots=True)
class Drain(Fact):
    """circusd is taking the whole fleet down in its own order: start nothing, end nothing, watch it go."""


@dataclass(frozen=True, slots=True)
class Opened(Fact):
    """The gate is open; ``missing`` names the dependencies that were not there in time."""

    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spawned(Fact):
    """A process of it is there: the one that was asked for, or one that somebody else had circusd start."""

    process: Process


@dataclass(frozen=True, slots=True)
class SpawnFailed(Fact):
    """No process came of it. ``busy``: nothing was tried, circusd had no time."""

    reason: str
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Exited(Fact):
    """Its process is dead; others of its group may live on. ``holder``: who else listens on its port."""

    process: Process
    how: Exit
    holder: Holder | None = None


@dataclass(frozen=True, slots=True)
class Gone(Fact):
    """Nothing is left of the process group that ``process`` led."""

    process: Process


@dataclass(frozen=True, slots=True)
class Probed(Fact):
    """A probe of ``process`` came to an end."""

    process: Process
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Tick(Fact):
    """A deadline may have passed."""


# --- actions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """Something is to be done for the system ``key``."""

    key: str


@dataclass(frozen=True, slots=True)
class Spawn(Action):
    """Have circusd start it; answer with :class:`Spawned` or :class:`SpawnFailed`."""


@dataclass(frozen=True, slots=True)
class Terminate(Action):
    """SIGTERM to the process group of ``process``; answer with :class:`Exited` and :class:`Gone` when they are true."""

    process: Process


@dataclass(frozen=True, slots=True)
class Kill(Action):
    """SIGKILL to the process group of ``process``."""

    process: Process


@dataclass(frozen=True, slots=True)
class Look(Action):
    """Probe ``process`` now, and see whose listener it is when ``verify``; answer with :class:`Probed`."""

    process: Process
    verify: bool


@dataclass(frozen=True, slots=True)
class Record:
    """Write ``event`` into the journal; ``key`` is None where it is about no single system."""

    key: str | None
    event: str
    details: Mapping[str, object] = field(default_factory=dict)
