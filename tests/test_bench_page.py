"""The benchmarks' page is made of rows alone, and says where ours is not the first."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict

from benchmarks import catalog, measures, page
from benchmarks.figures import Summary
from benchmarks.page import cell
from benchmarks.plot import LEAST, plot, scale, spread, ticks
from benchmarks.rows import MACHINE, Row, read


def crash(peer: str, value: float | None, run: str = "2") -> Row:
    """Give a row of a crash."""
    return Row(measure="crash", peer=peer, value=value, services=5, run=run)


ROWS = [
    *(
        Row(
            measure="about",
            peer=peer,
            value=None,
            run="2",
            more={"versions": {peer: "1"}, "notes": "", "probes": probes},
        )
        for peer, probes in (("aurora", True), ("runit", False), ("monit", True))
    ),
    Row(measure="about", peer=MACHINE, value=None, run="2", more={"processor": "slow", "interpreter": "/secret/place"}),
    *(crash("aurora", 9.0, run="1") for _ in range(3)),
    *(crash("aurora", value) for value in (0.06, 0.05, 0.04)),
    crash("runit", 0.025),
    crash("monit", 0.5),
    crash("monit", None),
    crash(MACHINE, 0.02),
    Row(measure="error", peer="monit", value=None, run="2", more={"of": "cold", "why": "NotUpError()"}),
    Row(measure="skipped", peer="s6", value=None, run="2", more={"why": "only root may"}),
    *(
        Row(measure="growth", peer=peer, value=factor * size, variant="cold", services=size, run="2")
        for peer, factor in (("runit", 0.1), ("aurora", 0.2))
        for size in (5, 50)
    ),
]


def test_a_row_is_read_as_it_was_written() -> None:
    """What a run that broke off left unfinished is passed over."""
    lines = [json.dumps({**asdict(row), "at": 1.0}) for row in ROWS]
    assert list(read("\n".join([*lines, '{"measure": "cr']))) == ROWS


def test_a_cell_has_median_range_and_count() -> None:
    """And how often it never happened."""
    assert cell(Summary(0.05, 0.04, 0.06, 3, 0)) == "**0.0500** (0.0400–0.0600, 3)"
    assert cell(Summary(2.0, 2.0, 2.0, 1, 4)) == "**2** (1, never 4 ×)"
    assert cell(None) == "never"


def test_the_last_run_of_a_measure_counts_and_ratios_are_of_medians() -> None:
    """Of the machine's limit, and of the best peer's."""
    text, _ = page.text(ROWS, "benchmarks")
    assert "| **aurora** | **0.0500** (0.0400–0.0600, 3) | 2.5 × | 2.0 × |" in text
    assert "| runit † | **0.0250** (1) | 1.2 × | 1.0 × |" in text
    assert "| monit | **0.500** (1, never 1 ×) | 25.0 × | 20.0 × |" in text
    assert "| *the machine* | **0.0200** (1) | – | – |" in text


def test_it_says_where_we_are_not_first_and_who_is() -> None:
    """Beside whoever is, the first that asks for health like us."""
    text, _ = page.text(ROWS, "benchmarks")
    (line,) = re.findall(r"^\| A service is killed: .*", text, re.MULTILINE)
    assert line.endswith("| 0.0500 | runit † 0.0250 | 2.0 × | ours | – |")


def test_what_could_not_be_had_and_what_failed_is_named() -> None:
    """And nothing of where it was measured."""
    text, _ = page.text(ROWS, "benchmarks")
    assert "- SKIPPED s6: only root may" in text
    assert "- monit failed in cold: NotUpError()" in text
    assert "secret" not in text


def test_growth_is_a_plot_and_a_table() -> None:
    """The page shows the plot that is written beside it."""
    text, plots = page.text(ROWS, "benchmarks")
    assert "](benchmarks-cold.svg)" in text
    assert set(re.findall(r"\]\((\S+\.svg)\)", text)) == set(plots)
    assert "| **aurora** | **1** (1) | **10** (1) |" in text


def test_every_measure_has_its_tables() -> None:
    """What is measured is shown."""
    tables = [table for section in catalog.SECTIONS for table in section.tables]
    shown = {table.measure for table in (*tables, *catalog.LIMITS, *catalog.JOURNAL, *catalog.GROWTH)}
    assert set(measures.NAMES) <= shown
    assert {each.name for each in measures.chosen(measures.NAMES)} == set(measures.NAMES)


def test_a_plot_is_well_formed_and_draws_every_line() -> None:
    """Names are escaped; the first line is thick."""
    drawn = ET.fromstring(plot("a < b", "N", {"ours": [(5, 1.0), (50, 0.0)], "x&y": [(5, 2.0)], "none": []}))  # noqa: S314 - our own text
    lines = drawn.findall("{*}polyline")
    assert [line.get("stroke-width") for line in lines] == ["3", "1.5"]
    assert {"a < b", "ours", "x&y"} <= {each.text for each in drawn.findall("{*}text")}


def test_a_logarithmic_axis_places_what_is_nothing_too() -> None:
    """A tenfold is as far everywhere; all the same is no division by zero."""
    placed = scale([1, 10, 100], 0, 200)
    assert [round(placed[each]) for each in (1, 10, 100)] == [0, 100, 200]
    assert scale([0.0, 1.0], 0, 1)[0.0] == scale([LEAST, 1.0], 0, 1)[LEAST] == 0
    assert scale([3.0], 5, 9) == {3.0: 5}
    assert ticks(0.03, 2) == [0.01, 0.1, 1, 10]


def test_names_are_moved_apart() -> None:
    """In their order, and no further than needed."""
    assert list(spread({"b": 11.0, "a": 10.0, "c": 90.0}).items()) == [("a", 10.0), ("b", 24.0), ("c", 90.0)]


def test_it_says_which_run_of_which_commit_measured_what() -> None:
    """Of each measure the last one; figures of two commits are not taken for those of one."""
    about = Row(measure="about", peer="aurora", value=None, run="3", more={"versions": {"commit": "abc"}, "notes": ""})
    said, _ = page.text([*ROWS, about, Row(measure="stop", peer="aurora", value=1.0, run="3")], "b")
    assert "- 2, commit unknown: crash, growth" in said
    assert "- 3, commit abc: stop" in said


def test_it_says_why() -> None:
    """In words that profiles stand behind."""
    said, _ = page.text(ROWS, "b")
    assert "## Why, and what did not help" in said
