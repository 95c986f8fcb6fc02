"""Makes docs/faults.md, and three lines of the README, of what the last fault matrix and soak have measured.

    faults_page.py [--faults build/faults.json] [--soak build/soak.json] [-o docs/faults.md]

Nothing on that page is typed in: `make test-faults` and `make soak` measure, this prints.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.catalog import GROUPS

Json = dict[str, Any]
COLUMNS = ("noticed", "back", "slowest answer", "away")
MARKS = {"passed": "✓", "failed": "✗ **failed**", "skipped": "–"}
HEAD = """\
# What was done to it, and what became of it

Each line is one test of `tests/faults` on real processes: a fleet is brought up, the fault is made, and afterwards an
oracle that looks from outside only (processes, ports, API, journal) must find nothing: every system that is wanted up
is healthy, or `failed` with its reason and its next time; nobody runs twice; no process, listener or zombie is left
over; descriptors and threads have not grown; `seq` has no hole that no `journal_gap` explains; and the journal,
replayed, gives the states that the API shows. *Noticed* is from the fault to the record that tells of it, *back* to
the record that says that it is healthy again; *slowest answer* is the longest that a client waited who asks for the
status ten times a second all along, and *away* how long it got none. The fleets under test have short intervals and
grace periods, and the machine has two busy cores: the figures are this run's, not promises. What the promises are,
and whether your own fleet keeps them, `aurora-circus drill` measures.

`make test-faults` runs all of it, `make test` the quick part, `make soak` an hour of random faults;
`make faults-page` makes this page of what they measured.
"""


README_LINES = (
    ("systems", "killed (SIGKILL)"),
    ("systems", "stopped (SIGSTOP): connects, and never answers"),
    ("watcher", "circusd killed under `up -d`"),
)
"""What the README shows of it: all the rest is one click away."""
README_HEAD = "| done to it | noticed | healthy again | slowest answer of the API |\n|---|---|---|---|\n"


def number(figures: Json, label: str) -> str:
    """Return one figure with its unit, or nothing."""
    if label not in figures:
        return ""
    value, unit = figures[label]
    return f"{value:g} {unit}"


def table(lines: list[Json]) -> Iterator[str]:
    """Yield the table of one group."""
    yield "| fault | | noticed | back | slowest answer | away | besides |"
    yield "|---|---|---|---|---|---|---|"
    for line in lines:
        figures = line.get("figures", {})
        others = [f"{label}: {number(figures, label)}" for label in figures if label not in COLUMNS]
        if line.get("reason"):
            others.append(line["reason"])
        cells = [
            line["what"],
            MARKS[line["outcome"]],
            *(number(figures, label) for label in COLUMNS),
            "; ".join(others),
        ]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def soak(report: Json) -> Iterator[str]:
    """Yield what an hour of random faults was like."""
    first, last = report["samples"][0], report["samples"][-1]
    faults = report["faults"]
    yield "## An hour of random faults\n"
    yield (
        f"Seed {report['seed']}: {report['seconds'] / 60:.1f} minutes, {report['rounds']} rounds, "
        f"{sum(faults.values())} faults, {report['recoveries']} recoveries (median {report['median_recovery']} s, "
        f"95 of 100 within {report['p95_recovery']} s, the worst {report['worst_recovery']} s), "
        f"{report['given_up']} times given up and taken up again, {report['records']} journal records without a hole. "
        "After each round everything above held.\n"
    )
    yield "| | memory (PSS), MB | descriptors | threads |"
    yield "|---|---|---|---|"
    for name in ("circusd", "plugin"):
        for when, held in (("at the start", first), ("at the end", last)):
            each = held.get(name, {})
            yield f"| {name} {when} | {each.get('pss')} | {each.get('descriptors')} | {each.get('threads')} |"
    yield "\n| fault | times |"
    yield "|---|---|"
    for name, times in faults.items():
        yield f"| {name} | {times} |"


def page(faults: Json, soaked: Json | None) -> str:
    """Return the whole page."""
    lines: list[Json] = faults["lines"]
    counted = Counter(line["outcome"] for line in lines)
    said = [f"{counted['passed']} held", f"{counted['failed']} did not", f"{counted['skipped']} could not run there"]
    parts = [HEAD, f"The last full run: {len(lines)} lines, {', '.join(said)} (Python {faults['python']}).\n"]
    for group, title in GROUPS.items():
        of_group = sorted((line for line in lines if line["group"] == group), key=lambda line: str(line["what"]))
        if of_group:
            parts.append(f"## {title}\n\n" + "\n".join(table(of_group)) + "\n")
    if soaked:
        parts.append("\n".join(soak(soaked)) + "\n")
    return "\n".join(parts)


def readme(text: str, lines: list[Json]) -> str:
    """Return the README with its three lines as they were measured."""
    named = {(line["group"], line["what"]): line.get("figures", {}) for line in lines}
    rows = [
        f"| {what} | " + " | ".join(number(named[group, what], label) for label in COLUMNS[:3]) + " |\n"
        for group, what in README_LINES
    ]
    before, _, rest = text.partition(README_HEAD)
    _, _, after = rest.partition("\n\n")
    return f"{before}{README_HEAD}{''.join(rows)}\n{after}"


def main() -> int:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=Path, default=Path("build/faults.json"))
    parser.add_argument("--soak", type=Path, default=Path("build/soak.json"))
    parser.add_argument("-o", dest="out", type=Path, default=Path("docs/faults.md"))
    given = parser.parse_args()
    soaked = json.loads(given.soak.read_text(encoding="utf-8")) if given.soak.exists() else None
    measured = json.loads(given.faults.read_text(encoding="utf-8"))
    text = page(measured, soaked)
    given.out.write_text(text, encoding="utf-8")
    page_of_all = Path("README.md")
    told = readme(page_of_all.read_text(encoding="utf-8"), measured["lines"])
    page_of_all.write_text(told, encoding="utf-8")
    print(f"{given.out}: {len(text.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
