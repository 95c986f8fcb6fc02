"""Lines over two logarithmic axes, as SVG text. Pure, and no more than the page needs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 40, 50
"""Margins; the lines' names stand in the right one."""
COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
APART = 14
"""Pixels between two names, that both can be read."""
LEAST = 1e-4
"""What is drawn for nothing at all: a logarithmic axis has no zero."""


def scale(values: Sequence[float], first: float, last: float) -> Mapping[float, float]:
    """Place values between two pixels, by their logarithms."""
    logs = {value: math.log10(max(value, LEAST)) for value in values}
    low, high = min(logs.values()), max(logs.values())
    span = (high - low) or 1.0
    return {value: first + (last - first) * (each - low) / span for value, each in logs.items()}


def ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten from just under one value to just over another."""
    first, last = math.floor(math.log10(max(low, LEAST))), math.ceil(math.log10(max(high, LEAST)))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def spread(places: Mapping[str, float]) -> dict[str, float]:
    """Move names apart that would stand on each other; their order stays."""
    found: dict[str, float] = {}
    free = -math.inf
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        found[name] = max(place, free)
        free = found[name] + APART
    return found


def text(x: float, y: float, words: str, anchor: str = "middle", colour: str = "#333") -> str:
    """Return words at a place."""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a thin line of the grid."""
    return f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#ddd"/>'


def plot(title: str, across: str, lines: Mapping[str, Points]) -> str:
    """Return an SVG of one line for each name; the first name's is drawn thick."""
    return "\n".join(_parts(title, across, {name: points for name, points in lines.items() if points})) + "\n"


def _parts(title: str, across: str, lines: Mapping[str, Points]) -> Iterator[str]:
    size, font = f'viewBox="0 0 {WIDTH} {HEIGHT}"', 'font-family="sans-serif" font-size="12"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    yield text(WIDTH / 2, 22, title)
    xs = sorted({x for points in lines.values() for x, _ in points})
    ys = [y for points in lines.values() for _, y in points]
    if ys:
        marks = ticks(min(ys), max(ys))
        at_x = scale(xs, LEFT, WIDTH - RIGHT)
        at_y = scale([*marks, *ys], HEIGHT - BOTTOM, TOP)
        for x in xs:
            yield line(at_x[x], TOP, at_x[x], HEIGHT - BOTTOM)
            yield text(at_x[x], HEIGHT - BOTTOM + 18, f"{x:g}")
        for y in marks:
            yield line(LEFT, at_y[y], WIDTH - RIGHT, at_y[y])
            yield text(LEFT - 8, at_y[y] + 4, f"{y:g}", "end")
        names = spread({name: at_y[points[-1][1]] + 4 for name, points in lines.items()})
        for index, (name, points) in enumerate(lines.items()):
            colour = COLOURS[index % len(COLOURS)]
            path = " ".join(f"{at_x[x]:.1f},{at_y[y]:.1f}" for x, y in points)
            width = 1.5 if index else 3
            yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
            yield text(at_x[points[-1][0]] + 8, names[name], name, "start", colour)
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, across)
    yield "</svg>"
