"""The benchmarks' statistics, and how they are written."""

import pytest

from benchmarks.figures import Summary, number, quantile, ratio, summarize


def test_a_quantile_is_one_of_the_values() -> None:
    """None is invented between two of them."""
    values = [float(each) for each in range(100, 0, -1)]
    assert quantile(values, 0.99) == 100
    assert quantile(values, 0.5) == 51
    assert quantile([7.0], 0.99) == 7


def test_what_never_happened_is_counted_and_no_part_of_the_median() -> None:
    """Three trials, one of them in vain."""
    assert summarize([3.0, None, 1.0]) == Summary(median=2.0, least=1.0, most=3.0, count=2, never=1)
    assert summarize([None, None]) is None
    assert summarize([]) is None


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (30, "30"), (0.03456, "0.0346"), (0.5, "0.500"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")],
)
def test_a_figure_has_three_digits_that_count(value: float, written: str) -> None:
    """Whole numbers stay whole."""
    assert number(value) == written


def test_a_ratio_needs_a_base() -> None:
    """Nothing is no base."""
    assert ratio(3, 2) == "1.5 ×"
    assert ratio(300, 2) == "150 ×"
    assert ratio(3, 0) == ratio(3, None) == "–"
