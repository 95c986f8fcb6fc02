"""What the page shows, and in what words: a section for each question, a table for each figure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """One figure, of everybody."""

    measure: str
    variant: str = ""
    title: str = ""
    """What it is called where it stands beside others; none: as its section."""
    unit: str = "s"
    factor: float = 1.0
    """What a value in the rows is multiplied with for that unit."""
    services: int | None = None
    """Of how many services; None: of any number."""
    ranked: bool = True
    """Whether less is better, and times the best says something."""

    @property
    def heading(self) -> str:
        """What stands over it; what is counted has no unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


@dataclass(frozen=True, slots=True)
class Section:
    """One question."""

    title: str
    words: str
    tables: tuple[Table, ...]
    together: bool = False
    """Whether its figures are columns of one table, without ratios."""


def milliseconds(measure: str, *variants: str) -> tuple[Table, ...]:
    """Return tables of a measure's variants, in milliseconds."""
    return tuple(Table(measure, each, each, "ms", 1000.0) for each in variants)


def status(what: str) -> tuple[Table, ...]:
    """Return the two tables of one way to ask for the status."""
    return milliseconds("status", f"{what}: p50", f"{what}: p99")


SECTIONS = (
    Section(
        "Start",
        "From the launch of the supervisor until each of five services has answered `/health` once. Flat: all may "
        "start at once. In three levels (1, 1, 3), each after the one before is *healthy*: nobody else waits for "
        "health.",
        (Table("cold", "flat", "flat"), Table("cold", "in three levels", "in three levels, each gated on health")),
    ),
    Section(
        "A service is killed",
        "`kill -9` at a random moment until a new process answers: alone; while another service hangs (ten "
        "services, in pairs); while three others exit at once whenever they are started.",
        (
            Table("crash", title="one of five is killed"),
            Table("crash-hang", title="one is killed while another hangs"),
            Table("crash-loop", title="one is killed while three others crash-loop"),
        ),
    ),
    Section(
        "A service is alive, and not healthy",
        "From the harm until a new process answers. It accepts and never answers; it answers 503; it is stopped by "
        "SIGSTOP, where SIGTERM does nothing either. Probes come each second, give up after one, and one failure is "
        "enough, where a supervisor can be told so; a session begins 12 s after the start. Its limit is that of "
        "such a probe: half a second, the timeout, and a restart by hand. Who asks for no health never notices: "
        "watched for 12 s, once.",
        (Table("hang", title="it hangs"), Table("fail", title="it answers 503"), Table("freeze", title="it is frozen")),
    ),
    Section(
        "Status by the API",
        "2,000 calls one after the other (or 20 s of them), as fast as the answers come: on one connection, on a "
        "new one for each call, by twenty clients at once, and on one connection while all five services hang and "
        "go on hanging when they are started anew. p50 is a series' median, p99 what 99 of 100 calls stay under; "
        "the figure is the median of the rounds. The limit is the measured service's own answer, by the same "
        "client.",
        (*status("kept connection"), *status("new connections"), *status("20 clients"), *status("all hung")),
    ),
    Section(
        "Status by the command",
        "The whole command, as somebody types it. The limit is a Python that does nothing.",
        (Table("command", unit="ms", factor=1000.0, title="the status command"),),
    ),
    Section(
        "A crash loop",
        "One of five exits with 1 as soon as it is started: how often that happens in 30 s from the launch on, and "
        "what the supervisor takes of a core meanwhile.",
        (
            Table("loop", "starts", "starts in 30 s", ""),
            Table("loop", "cpu", "the processor meanwhile", "% of a core"),
        ),
    ),
    Section(
        "Nothing to do",
        "What all processes of the supervisor take of one core in 30 s in which nothing happens, by the processor's "
        "own clock. Those without probes stand in the first table too, with nothing to probe. The limit is the cost "
        "of asking alone, by plain sockets.",
        (
            Table("idle", "probes each 1 s", "five probes each second", "% of a core"),
            Table("idle", "probes each 5 s", "five probes each five seconds", "% of a core"),
        ),
    ),
    Section(
        "Memory",
        "All processes of the supervisor, what they share divided among its sharers (PSS): three seconds after a "
        "start, and after ten seconds and 200 status calls.",
        (
            Table("cold memory", title="after the start", unit="MiB", services=5),
            Table("memory", title="in use, 5 services", unit="MiB", services=5),
            Table("memory", title="in use, 50 services", unit="MiB", services=50),
        ),
    ),
    Section(
        "A stop of everything",
        "From the order until every process of five services and of the supervisor is gone.",
        (
            Table("stop", "flat, by its command", "flat, by its command"),
            Table("stop", "flat, by SIGTERM", "flat, by SIGTERM to the supervisor"),
            Table("stop", "in three levels, by its command", "in three levels, in reverse order, by its command"),
            Table("stop", "in three levels, by SIGTERM", "in three levels, in reverse order, by SIGTERM"),
        ),
    ),
    Section(
        "What is left behind",
        "Each service has a grandchild in its process group. How many of them live on: of the one service that was "
        "killed, 1.5 s after it is back; of five that were stopped.",
        (
            Table("left", "after a crash", "left by one crash", "", ranked=False),
            Table("left", "after a stop", "left by a stop of five", "", ranked=False),
        ),
        together=True,
    ),
    Section(
        "The supervisor is killed",
        "`kill -9` of its main process; 2 s later one of the five services is killed too, and watched for 8 s; then "
        "the supervisor is started again as it was the first time, and looked at for 15 s. *Away*: how long each of "
        "the four others did not answer. *Futile starts*: those beyond one for each process that was replaced. "
        "*Supervised again*: from the new launch until nothing changes and nothing is started any more, if a service "
        "that is killed then does come back. Under `aurora-circus up` nobody starts it again: all counts from the "
        "kill on.",
        (
            Table("killed", "services that live on", "of five services, live on", "", ranked=False),
            Table("killed", "one killed meanwhile is back", "one that is killed meanwhile is back"),
            Table("killed", "processes kept, of 4", "of four processes, kept", "", ranked=False),
            Table("killed", "futile starts in 15 s", "futile starts", "", ranked=False),
            Table("killed", "away, each", "away, on the average"),
            Table("killed", "away, the worst", "away, the worst"),
            Table("killed", "supervised again", "supervised again"),
            Table("killed", "then killed, is back", "one that is killed then is back"),
        ),
        together=True,
    ),
)

JOURNAL_WORDS = """\
## The journal

Ours alone. How many records its own code writes in a second; then a start, 500 calls of each kind and the memory, with
a new journal and with one of 1 GB. A new one has some twenty records, so that its pages of a hundred hold a fifth of
one; who asks for what there is none of is given a page after so many bytes, and goes on from there.
"""
JOURNAL = (
    Table("journal", "start, {}", "start"),
    *(
        Table("journal", f"{asked}, {{}}: {what}", f"{asked}: {what}", "ms", 1000.0)
        for asked in (
            "status",
            "newest 100 events",
            "oldest 100 events",
            "100 events from the middle",
            "a kind of event that there is none of",
        )
        for what in ("p50", "p99")
    ),
    Table("journal", "memory, {}, MiB", "memory", "MiB"),
)
"""A line for each; the variant's name holds the place of which journal it is."""
JOURNALS = ("a new journal", "1 GB")
WRITTEN = Table("journal", "records written a second", "records written", "a second")

LIMITS = (
    *milliseconds(
        "limits",
        "start of one service",
        "kill to healthy, by hand",
        "one GET of /health",
        "one command: a Python that does nothing",
        "one command: /bin/true",
    ),
    Table("limits", "memory of one service alone, MiB", "memory of one service alone", "MiB"),
)

GROWTH = (
    Table("growth", "cold", "start", "s"),
    Table("growth", "crash", "killed until healthy again", "s"),
    Table(
        "growth",
        "idle",
        "the processor with nothing to do (ours and monit with a probe a second for each)",
        "% of a core",
    ),
    Table("growth", "memory", "memory, PSS", "MiB"),
    Table("growth", "command", "status by the command", "ms", 1000.0),
    Table("growth", "stop", "stop of everything by its command", "s"),
)

HEAD = """\
# Measured beside others

What `make bench` measured: this project and the supervisors that people use, on the same work. N small HTTP services
(`benchmarks/service.py`, one loop on raw sockets, so that the figures tell of the supervisor and not of the service)
are started, watched, harmed and stopped. The figures are of one machine, and of each measure the last run counts:
repeat them on yours.

How it is measured:

- One peer at a time has the machine to itself, with a fresh configuration in a temporary folder. In each round every
  peer has one turn, and so has the machine itself, in a new random order: a busy moment hits them all alike.
- *The machine* is the same done by hand, without a supervisor: the limit.
- A figure is the **median** (least–most, number of trials); `never` counts trials in which it did not happen for as
  long as it was waited for. *× limit* and *× best* are ratios of medians. † asks its services for no health.
- Each service is harmed once in a session, at a random moment; the end of the old process is told by the kernel, and
  from then on the port is asked a thousand times a second. A session begins three seconds after all are up.
- Processors' time is read from each process's own clock, memory is PSS, both of all processes of the supervisor.
- Each runs under a parent that reaps orphans at once, as an ordinary init does, and installed as its users install it.
- Settings are those of the table below, and else what each comes with: so ours, too, but for its probes.
"""
