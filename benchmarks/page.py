"""Makes docs/benchmarks.md, and its plots, of measured rows. No figure in its tables is typed in."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill

from benchmarks.catalog import (
    GROWTH,
    HEAD,
    JOURNAL,
    JOURNAL_WORDS,
    JOURNALS,
    LIMITS,
    SECTIONS,
    WRITTEN,
    Section,
    Table,
)
from benchmarks.figures import Summary, number, ratio, summarize
from benchmarks.plot import plot
from benchmarks.rows import MACHINE, Row

OURS = "aurora"
WHY = Path(__file__).with_name("why.md")
"""What profiles said, by hand: where we are not first, and what was tried."""
Found = dict[str, Summary | None]
"""Of each who was asked, what came of it; nothing where it never happened."""


class Rows:
    """The rows of all runs; of each measure the last run that asked it counts."""

    def __init__(self, rows: Sequence[Row]) -> None:
        last: dict[str, str] = {}
        for row in rows:
            last[asked(row)] = max(row.run, last.get(asked(row), ""))
        self.rows = [row for row in rows if row.run == last[asked(row)]]
        self.commits = {row.run: row.more["versions"].get("commit", "") for row in rows if _is_ours(row)}
        self.probing = {row.peer for row in rows if row.measure == "about" and row.more.get("probes")}

    def of(self, table: Table, services: int | None = None) -> Found:
        """Sum up what a table shows."""
        values: dict[str, list[float | None]] = {}
        wanted = services or table.services
        for row in self.rows:
            if (row.measure, row.variant) == (table.measure, table.variant) and wanted in {None, row.services}:
                value = None if row.value is None else row.value * table.factor
                values.setdefault(row.peer, []).append(value)
        return {peer: summarize(each) for peer, each in values.items()}

    def about(self) -> dict[str, Row]:
        """Return who was measured, the last that is known of each."""
        return {row.peer: row for row in self.rows if row.measure == "about"}

    def told(self, measure: str) -> list[Row]:
        """Return the rows that tell of something that is no figure: ``error``, ``skipped``."""
        return [row for row in self.rows if row.measure == measure]

    def name(self, peer: str) -> str:
        """Return how a peer is shown: ours stands out, and who does not ask for health is marked."""
        if peer == MACHINE:
            return f"*{peer}*"
        mark = "" if peer.partition(" (")[0] in self.probing else " †"
        return f"**{peer}**" if peer == OURS else f"{peer}{mark}"


def _is_ours(row: Row) -> bool:
    return row.measure == "about" and row.peer == OURS


def asked(row: Row) -> str:
    """Return which question a row belongs to; what is known of a peer is a question of its own."""
    return f"{row.measure} {row.peer}" if row.measure == "about" else str(row.more.get("of", row.measure))


def cell(summary: Summary | None) -> str:
    """Write a figure with its range."""
    if summary is None:
        return "never"
    never = f", never {summary.never} ×" if summary.never else ""
    span = f"{number(summary.least)}–{number(summary.most)}, " if summary.count > 1 else ""
    return f"**{number(summary.median)}** ({span}{summary.count}{never})"


def ranking(found: Found) -> list[str]:
    """Return who was asked, the least first; who never came to it is last, the machine before all."""

    def place(peer: str) -> tuple[bool, float]:
        summary = found[peer]
        return peer != MACHINE, float("inf") if summary is None else summary.median

    return sorted(found, key=place)


def best(found: Found, among: set[str] | None = None) -> str | None:
    """Return who has the least, the machine apart."""
    peers = [peer for peer in ranking(found) if peer != MACHINE and found[peer]]
    return next((peer for peer in peers if among is None or peer.partition(" (")[0] in among), None)


def figure(found: Found, peer: str | None) -> float | None:
    """Return somebody's median, where there is one."""
    summary = found.get(peer or "")
    return summary.median if summary else None


def table(rows: Rows, shown: Table) -> Iterator[str]:
    """Yield one table; nothing where nothing was measured."""
    found = rows.of(shown)
    if not found:
        return
    limit, first = figure(found, MACHINE), figure(found, best(found))
    yield f"| {shown.heading} | | × limit | × best |\n|---|---|---|---|"
    for peer in ranking(found):
        value = figure(found, peer)
        times = ("–", "–") if value is None or peer == MACHINE else (ratio(value, limit), ratio(value, first))
        yield f"| {rows.name(peer)} | {cell(found[peer])} | {times[0]} | {times[1]} |"
    yield ""


def together(rows: Rows, section: Section) -> Iterator[str]:
    """Yield all figures of a section as columns of one table."""
    columns = [rows.of(shown) for shown in section.tables]
    peers = sorted({peer for found in columns for peer in found}, key=lambda peer: (peer != OURS, peer))
    if not peers:
        return
    yield "| | " + " | ".join(shown.heading for shown in section.tables) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for peer in peers:
        cells = [cell(found[peer]) if peer in found else "–" for found in columns]
        yield f"| {rows.name(peer)} | " + " | ".join(cells) + " |"
    yield ""


def journal(rows: Rows) -> Iterator[str]:
    """Yield what a long journal costs beside a new one."""
    if not rows.of(WRITTEN):
        return
    yield JOURNAL_WORDS
    yield f"Written: {cell(rows.of(WRITTEN)[OURS])} records {WRITTEN.unit}.\n"
    yield f"| | {' | '.join(JOURNALS)} |\n|---|---|---|"
    for shown in JOURNAL:
        found = [rows.of(replace(shown, variant=shown.variant.format(which))) for which in JOURNALS]
        cells = [cell(each[OURS]) if OURS in each else "–" for each in found]
        yield f"| {shown.heading} | {' | '.join(cells)} |"
    yield ""


def not_first(rows: Rows) -> Iterator[str]:
    """Yield where somebody else has the least, and by how much; also among those that ask for health."""
    yield "## Where we are not first\n"
    yield "| what | ours | first | × | first that asks for health | × |\n|---|---|---|---|---|---|"
    for section in SECTIONS:
        for shown in section.tables:
            found = rows.of(shown)
            ours = figure(found, OURS)
            first = best(found)
            if not shown.ranked or not found.get(OURS) or ours is None or first in {None, OURS}:
                continue
            alike = best(found, rows.probing)
            cells = [f"{section.title}: {shown.heading}", number(ours)]
            for peer in (first, alike):
                value = figure(found, peer)
                if peer == OURS or peer is None or value is None:
                    cells += ["ours" if peer == OURS else "–", "–"]
                else:
                    cells += [f"{rows.name(peer)} {number(value)}", ratio(ours, value)]
            yield "| " + " | ".join(cells) + " |"
    yield ""


def versions(rows: Rows) -> Iterator[str]:
    """Yield what was measured, on what."""
    about = rows.about()
    machine = about.pop(MACHINE, None)
    if machine is not None:
        said = {name: value for name, value in machine.more.items() if name != "interpreter"}
        yield f"Run of {machine.run}: " + ", ".join(f"{name} {value}" for name, value in said.items()) + ".\n"
    yield "| who | versions | set to |\n|---|---|---|"
    for peer, row in about.items():
        told = ", ".join(f"{name} {version}" for name, version in row.more["versions"].items())
        yield f"| {rows.name(peer)} | {told} | {row.more['notes']} |"
    yield ""
    for row in rows.told("skipped"):
        yield f"- SKIPPED {row.peer}: {row.more['why']}"
    for row in rows.told("error"):
        yield f"- {row.peer} failed in {row.more['of']}: {row.more['why']}"
    yield ""


def runs(rows: Rows) -> Iterator[str]:
    """Yield what was measured when, and of which commit."""
    found: dict[str, list[str]] = {}
    for row in rows.rows:
        if row.measure not in {"about", "skipped", "error"}:
            names = found.setdefault(row.run, [])
            names += [row.measure] if row.measure not in names else []
    for run, names in sorted(found.items()):
        yield f"- {run}, commit {rows.commits.get(run) or 'unknown'}: {', '.join(names)}"
    yield ""


def growth(rows: Rows, plots: dict[str, str], stem: str) -> Iterator[str]:
    """Yield the figures by the number of services, and keep a plot of each."""
    sizes = sorted({row.services for row in rows.rows if row.measure == "growth"})
    if not sizes:
        return
    yield "## More services\n"
    yield "The same questions of more services, one session for each size.\n"
    for shown in GROWTH:
        of_size = {size: rows.of(shown, size) for size in sizes}
        peers = ranking({peer: found[peer] for found in of_size.values() for peer in found})
        lines = {
            peer: [(float(size), value) for size in sizes if (value := figure(of_size[size], peer)) is not None]
            for peer in sorted(peers, key=lambda name: name != OURS)
        }
        name = f"{stem}-{shown.variant}.svg"
        plots[name] = plot(shown.heading, "services", lines)
        yield f"![{shown.title} by the number of services]({name})\n"
        yield f"| {shown.heading} | " + " | ".join(str(size) for size in sizes) + " |"
        yield "|---" * (len(sizes) + 1) + "|"
        for peer in peers:
            cells = [cell(of_size[size][peer]) if peer in of_size[size] else "–" for size in sizes]
            yield f"| {rows.name(peer)} | " + " | ".join(cells) + " |"
        yield ""


def each_more(rows: Rows) -> Iterator[str]:
    """Yield what one more service takes of memory."""
    few, many = (rows.of(Table("memory", unit="MiB", services=count)) for count in (5, 50))
    found: Found = {}
    for peer in few:
        less, more = figure(few, peer), figure(many, peer)
        if less is not None and more is not None:
            found[peer] = summarize([(more - less) / 45])
    if found:
        yield "| each further service, MiB | |\n|---|---|"
        for peer in ranking(found):
            yield f"| {rows.name(peer)} | {number(figure(found, peer) or 0.0)} |"
        yield ""


def text(measured: Sequence[Row], stem: str) -> tuple[str, dict[str, str]]:
    """Return the page, and its plots by their files' names."""
    rows, plots = Rows(measured), dict[str, str]()
    why = WHY.read_text(encoding="utf-8")
    parts = [
        HEAD,
        *versions(rows),
        "Measured in the runs of:\n",
        *runs(rows),
        *not_first(rows),
        why,
        "## The machine's own limits\n",
    ]
    for shown in LIMITS:
        parts += [f"- {shown.title}: {cell(each)} {shown.unit}" for each in rows.of(shown).values()]
    parts.append("")
    for section in SECTIONS:
        if section.together:
            tables = [*together(rows, section)]
        else:
            tables = [line for shown in section.tables for line in table(rows, shown)]
        if tables:
            parts += [f"## {section.title}\n", f"{fill(section.words, 120)}\n", *tables]
        if section.title == "Memory":
            parts += each_more(rows)
    parts += journal(rows)
    parts += growth(rows, plots, stem)
    return "\n".join(parts).rstrip() + "\n", plots


def write(measured: Sequence[Row], file: Path) -> None:
    """Write the page, and its plots beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    said, plots = text(measured, file.stem)
    file.write_text(said, encoding="utf-8")
    for name, drawn in plots.items():
        (file.parent / name).write_text(drawn, encoding="utf-8")
