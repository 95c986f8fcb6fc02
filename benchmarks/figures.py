"""Statistics, and how a figure is written. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MANY = 100
"""From here on a figure needs no decimals."""


def quantile(values: Sequence[float], share: float) -> float:
    """Return what this share of the values stays at or under; of the values themselves, none is invented."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Summary:
    """What some trials come down to."""

    median: float
    least: float
    most: float
    count: int
    never: int
    """Trials in which it did not happen; they are no part of the other figures."""


def summarize(values: Sequence[float | None]) -> Summary | None:
    """Sum up trials; nothing where it happened in none of them."""
    happened = [value for value in values if value is not None]
    if not happened:
        return None
    never = len(values) - len(happened)
    return Summary(median(happened), min(happened), max(happened), len(happened), never)


def number(value: float) -> str:
    """Write a figure with three digits that count, and no more than it needs."""
    if value == 0 or (value == int(value) and abs(value) < MANY):
        return f"{value:.0f}"
    digits = next((places for limit, places in ((100, 0), (10, 1), (1, 2), (0.1, 3)) if abs(value) >= limit), 4)
    return f"{value:.{digits}f}"


def ratio(value: float, base: float | None) -> str:
    """Write how many times the base a value is."""
    if not base:
        return "–"
    times = value / base
    return f"{times:.1f} ×" if times < MANY else f"{times:.0f} ×"
