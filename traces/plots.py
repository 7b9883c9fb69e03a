"""Plots as SVG text, drawn here: no script, no library, nothing to fetch. Colours are classes, so that the page's theme decides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 26, 14, 40
_MOST_POINTS = 400
_MOST_TICKS = 8


@dataclass(frozen=True)
class Line:
    """One line: its name for the legend, its points, its colour class (0 to 7); with a dot at each point, or the area below filled."""

    name: str
    points: Sequence[tuple[float, float]]
    color: int
    dashed: bool = False
    dots: bool = False
    area: bool = False


@dataclass(frozen=True)
class Axis:
    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def place(self, value: float) -> float:
        """0 to 1 along the axis."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        here = math.log10(max(value, self.low)) if self.log else value
        return min(1.0, max(0.0, (here - low) / (high - low or 1)))


@dataclass(frozen=True)
class Band:
    """A marked stretch of the x axis."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Plot:
    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    bands: Sequence[Band] = field(default_factory=tuple)


def log_axis(label: str, values: Sequence[float], unit: str = "") -> Axis:
    """Decades around the values, ticks at 1 2 5 where there is room."""
    positive = [v for v in values if v > 0] or [1.0]
    low = 10 ** math.floor(math.log10(min(positive)))
    high = 10 ** math.ceil(math.log10(max(positive) * 1.0001))
    high = max(high, low * 10)
    decades = round(math.log10(high / low))
    steps = (1, 2, 5) if decades <= 2 else (1,)
    every = range(0, decades + 1, -(-decades // _MOST_TICKS))
    ticks = [(low * 10**d * s, short(low * 10**d * s, unit)) for d in every for s in steps if low * 10**d * s <= high * 1.001]
    return Axis(label, low, high, ticks, log=True)


def short(value: float, unit: str = "") -> str:
    """A time in microseconds as people say it, bytes, or a plain number."""
    if unit == "us":
        if value >= 1e6:
            return f"{value / 1e6:,g} s" if value < 1e10 else f"{value / 1e6:.0e} s".replace("e+0", "e")
        if value < 1:
            return f"{value * 1e3:g} ns"
        return f"{value / 1e3:g} ms" if value >= 1e3 else f"{value:g} µs"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}{unit}"
    plain = f"{value:.0e}".replace("e-0", "e-") if 0 < value < 1e-3 else f"{value:g}"
    return f"{plain} {unit}".rstrip()


def linear_axis(label: str, high: float, low: float = 0.0) -> Axis:
    span = max(high - low, 1e-9)
    step = 10 ** math.floor(math.log10(span))
    for factor in (0.2, 0.5, 1, 2, 5):
        if span / (step * factor) <= 6:
            step *= factor
            break
    top = math.ceil(high / step - 1e-9) * step
    ticks = [(low + i * step, short(round(low + i * step, 10))) for i in range(round((top - low) / step) + 1)]
    return Axis(label, low, top, ticks)


def quantile_axis() -> Axis:
    """1 / (1 - q) on a log scale: each further nine takes the same room."""
    ticks = [(1, "0 %"), (2, "50 %"), (10, "90 %"), (100, "99 %"), (1e3, "99.9 %"), (1e4, "99.99 %")]
    return Axis("share of requests answered within", 1, 2e4, ticks, log=True)


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= _MOST_POINTS:
        return list(points)
    step = len(points) / _MOST_POINTS
    return [points[int(i * step)] for i in range(_MOST_POINTS)] + [points[-1]]


def draw(plot: Plot) -> str:
    """The plot as an <svg> element with a title for those who cannot see it."""
    across, down = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x_of(value: float) -> float:
        return round(_LEFT + plot.x.place(value) * across, 1)

    def y_of(value: float) -> float:
        return round(_TOP + (1 - plot.y.place(value)) * down, 1)

    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(plot.title)}"><title>{escape(plot.title)}</title>']
    for band in plot.bands:
        left, right = x_of(band.start), x_of(band.end)
        out.append(f'<rect class="band" x="{left}" y="{_TOP}" width="{max(0, right - left):.1f}" height="{down}"/>')
        out.append(f'<text class="bandlabel" x="{left + 6:.1f}" y="{_TOP + 14}">{escape(band.label)}</text>')
    for value, text in plot.y.ticks:
        at = y_of(value)
        out.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>')
        out.append(f'<text class="tick" x="{_LEFT - 8}" y="{at + 4}" text-anchor="end">{escape(text)}</text>')
    for value, text in plot.x.ticks:
        at = x_of(value)
        out.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
        out.append(f'<text class="tick" x="{at}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{escape(text)}</text>')
    middle = _LEFT + across / 2
    out.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(plot.x.label)}</text>')
    center = _TOP + down / 2
    out.append(f'<text class="axis" transform="translate(13 {center}) rotate(-90)" text-anchor="middle">{escape(plot.y.label)}</text>')
    for line in plot.lines:
        places = [(x_of(x), y_of(y)) for x, y in thin(line.points)]
        points = " ".join(f"{x},{y}" for x, y in places)
        if line.area and places:
            ground = HEIGHT - _BOTTOM
            out.append(f'<polygon class="area c{line.color}" points="{places[0][0]},{ground} {points} {places[-1][0]},{ground}"/>')
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        out.append(f'<polyline class="line c{line.color}" points="{points}"{dash}><title>{escape(line.name)}</title></polyline>')
        if line.dots:
            out += [f'<circle class="dot c{line.color}" cx="{x}" cy="{y}" r="3.5"/>' for x, y in places]
    out.append("</svg>")
    return "".join(out)


def legend(lines: Sequence[Line]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 22 8" aria-hidden="true"><line class="line c{line.color}" x1="1" y1="4" x2="21" y2="4"'
        f"{' stroke-dasharray=' + chr(34) + '5 4' + chr(34) if line.dashed else ''}/></svg>{escape(line.name)}</li>"
        for line in lines
    )
    return f'<ul class="legend">{items}</ul>'
