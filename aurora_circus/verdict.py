"""What a look through a journal's chain has found, in words for people and in values for programs.

What stands in the journal may be anybody's words: nothing of it reaches a terminal as it is.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aurora_circus.terminal import clean, one
from aurora_circus.verify import Finding, Report


def words(report: Report) -> str:
    """Return it as lines: each file, each note, each finding, and in the end how it stands."""
    lines = [_file(each.name, each.records, each.first, each.last) for each in report.files]
    lines += [f"note: {_line(each)}" for each in report.notes]
    lines += [f"broken: {_line(each)}" for each in report.findings]
    return clean_lines([*lines, _verdict(report)])


def values(report: Report) -> Mapping[str, Any]:
    """Return it as JSON can hold it."""
    return {
        "whole": report.whole,
        "records": report.records,
        "files": [asdict(each) for each in report.files],
        "findings": [_values(each) for each in report.findings],
        "notes": [_values(each) for each in report.notes],
        "chain_begins": report.begins,
        "last": {"seq": report.head.seq, "chain": report.head.link or None},
        "agreed_by": list(report.compared),
    }


def clean_lines(lines: list[str]) -> str:
    """Return lines of which none holds what a terminal would obey."""
    return "\n".join(clean(each) for each in lines)


def _verdict(report: Report) -> str:
    records = report.records
    if not report.whole:
        return f"the journal is broken: {one(len(report.findings), 'finding')}"
    if not records:
        return "the journal is empty"
    if report.begins is None:
        return f"{one(records, 'record')}, and none has a link: they are older than the chain"
    agreed = f", as {' and '.join(report.compared)} know{'s' if len(report.compared) == 1 else ''} it"
    links = f"linked from {report.begins} to {report.head.seq}, the last by {report.head.link}"
    return f"the journal is whole: {one(records, 'record')}, {links}{agreed if report.compared else ''}"


def _file(name: str, records: int, first: int | None, last: int | None) -> str:
    return f"{name}: {one(records, 'record')}{f', {first} to {last}' if first else ''}"


def _line(finding: Finding) -> str:
    where = [finding.file] if finding.file else []
    if finding.line is not None:
        lines = "line" if finding.to_line is None else "lines"
        where.append(f"{lines} {finding.line}{'' if finding.to_line is None else f' to {finding.to_line}'}")
    if finding.seq is not None:
        where.append(f"seq {finding.seq}{'' if finding.last is None else f' to {finding.last}'}")
    return f"{', '.join(where)}: {finding.text}" if where else finding.text


def _values(finding: Finding) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(finding).items() if value is not None}
