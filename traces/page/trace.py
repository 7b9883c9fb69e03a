"""The page of one trace: its figures, and the curves behind them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from traces.curves import Curve
from traces.page.style import style
from traces.plots import Axis, Line, Plot, draw, legend, linear_axis, log_axis
from traces.schema import TraceMeta

Figures = Mapping[str, Any]
_US = 1e6
_COLUMN_NAMES = {
    "req_bytes": "bytes sent",
    "resp_bytes": "bytes answered",
    "prompt_tokens": "tokens of the prompt",
    "output_tokens": "tokens of the answer",
}


def trace_page(meta: TraceMeta, figures: Figures, curves: Mapping[str, Curve]) -> str:
    """One HTML document that needs nothing else."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("traces.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["safe"] = lambda text: Markup(text)
    environment.filters["figure"], environment.filters["duration"] = figure, duration
    tables = {name: value for name, value in figures.items() if isinstance(value, Mapping) and name not in ("burstiness", "approximate")}
    return environment.get_template("trace.html").render(
        style=style(), meta=meta, figures=figures, tiles=tiles(figures), panels=panels(figures, curves), tables=tables
    )


def figure(value: Any) -> str:
    """A value for a person."""
    if value is None:
        return "–"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{len(value)} values"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 or isinstance(value, int) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A span as people say it."""
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= (2 * size if size > 1 else size):
            return f"{seconds / size:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"


def tiles(figures: Figures) -> list[tuple[str, str]]:
    """What to know first: (figure, what it is)."""
    arrival = figures["arrival"]
    found = [
        (figure(arrival["rows"]), "requests"),
        (duration(arrival["span_s"]), "from first to last"),
        (figure(arrival["mean_rate_per_s"]), "requests per second, mean"),
        (figure(arrival["iat_cv"]), "variation of the gaps (Poisson: 1)"),
    ]
    hurst = figures["burstiness"]["hurst"]
    if hurst is not None:
        found.append((f"{hurst['exponent']:.2f}", f"± {2 * hurst['standard_error']:.2g} Hurst exponent (no memory: 0.5)"))
    if "popularity" in figures:
        found.append((figure(figures["keys"]), f"different {'targets' if figures['keys_are'] == 'target' else 'keys'}"))
        found.append((f"{figures['popularity']['top1pct_share']:.0%}", "of requests go to the most popular 1 %"))
        if figures["zipf"] is not None:
            found.append((figure(figures["zipf"]["exponent"]), f"Zipf exponent (off by {figures['zipf']['ks']:.1%})"))
        found.append((f"{figures['reuse']['first_requests_frac']:.1%}", "of requests are the first of their key"))
    for name, what in _COLUMN_NAMES.items():
        if name in figures:
            found.append((figure(figures[name]["p50"]), f"{what}, median (99 %: {figure(figures[name]['p99'])})"))
    if "prefixes" in figures and "infinite_cache_block_hit_ratio" in figures["prefixes"]:
        found.append((f"{figures['prefixes']['infinite_cache_block_hit_ratio']:.1%}", "of prefix blocks were there before"))
    if "sessions" in figures:
        found.append(
            (figure(figures["sessions"]["turns"]["mean"]), f"turns a session, of {figure(figures['sessions']['sessions'])} sessions")
        )
    return found


def panels(figures: Figures, curves: Mapping[str, Curve]) -> list[dict[str, str]]:
    """A plot for each subject that the trace has something for."""
    made = (
        _rate(curves), _gaps(figures, curves), _dispersion(curves), _lags(figures, curves), _popularity(figures, curves),
        _hits("hit_ratio", "Hit ratio of a cache", "keys", curves), _working_set(curves),
        _columns("Sizes", ("req_bytes", "resp_bytes"), "B", curves), _columns("Tokens", ("prompt_tokens", "output_tokens"), "", curves),
        _hits("prefix_hit_ratio", "Hit ratio of a prefix cache", "blocks", curves),
        _times("service_ns", "Time of service", curves), _times("between_turns", "Time between turns of a session", curves),
    )  # fmt: skip
    return [panel for panel in made if panel is not None]


def _panel(name: str, note: str, plot: Plot) -> dict[str, str]:
    return {"name": name, "note": note, "svg": draw(plot), "legend": legend(plot.lines) if len(plot.lines) > 1 else ""}


def _us(curve: Curve) -> Curve:
    return [(x * _US, y) for x, y in curve]


def _over_time(points: Curve) -> Axis:
    last = points[-1][0] + points[0][0]
    for size, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if last > 3 * size:
            axis = linear_axis(f"{name} since the first request", last / size)
            return Axis(axis.label, axis.low * size, last, [(at * size, text) for at, text in axis.ticks if at * size <= last])
    axis = linear_axis("seconds since the first request", last)
    return Axis(axis.label, axis.low, last, [tick for tick in axis.ticks if tick[0] <= last])


def _rate(curves: Mapping[str, Curve]) -> dict[str, str]:
    points = curves["rate"]
    line = Line("requests per second", points, 0, area=True)
    plot = Plot("rate over time", _over_time(points), linear_axis("requests per second", max(y for _, y in points) or 1), [line])
    return _panel("Rate over time", f"Means of windows of {duration(2 * points[0][0])}.", plot)


def _gaps(figures: Figures, curves: Mapping[str, Curve]) -> dict[str, str] | None:
    held = _us(curves.get("gaps", []))
    if not held:
        return None
    least = 1 / figures["arrival"]["rows"]  # the share of one gap: what is below has none
    mean = figures["arrival"]["iat_mean_s"] * _US
    x = log_axis("gap between neighbours", [mean, *(x for x, _ in held)], "us")
    points = [(x.low, held[0][1]), *((x, max(y, least)) for x, y in held)]
    steps = (x.low * (x.high / x.low) ** (i / 200) for i in range(201))
    poisson = [(at, share) for at in steps if (share := math.exp(-at / mean)) >= least]
    lines = [Line("this trace", points, 0), Line("Poisson of the same rate", poisson, 7, dashed=True)]
    plot = Plot("gaps", x, log_axis("share of gaps that are longer", [1.0, *(y for _, y in points)]), lines)
    return _panel("Gaps", "Both axes logarithmic: a line that falls later than Poisson's has longer silences between bursts.", plot)


def _dispersion(curves: Mapping[str, Curve]) -> dict[str, str] | None:
    points = _us(curves.get("dispersion", []))
    if len(points) < 3:
        return None
    x = log_axis("length of the window", [x for x, _ in points], "us")
    lines = [Line("this trace", points, 0, dots=True), Line("Poisson", [(x.low, 1), (x.high, 1)], 7, dashed=True)]
    plot = Plot("index of dispersion", x, log_axis("variance of counts over their mean", [1, *(y for _, y in points)]), lines)
    return _panel("Burstiness by scale", "A line that keeps rising has bursts within bursts; Poisson's stays at 1.", plot)


def _lags(figures: Figures, curves: Mapping[str, Curve]) -> dict[str, str] | None:
    points = curves.get("autocorrelation", [])
    if not points:
        return None
    within = figures["burstiness"]["autocorrelation"]["independent_within"]
    last = points[-1][0]
    low = -0.2 if min(y for _, y in points) >= -0.2 else -1.0
    y = Axis("correlation of counts", low, 1, [(at / 5, f"{at / 5:g}") for at in range(-5, 6) if at / 5 >= low])
    chance = [Line("within chance", [(0, level), (last, level)], 7, dashed=True) for level in (within, -within)]
    lines = [Line("this trace", points, 0), chance[0]]
    x = linear_axis("lag, seconds", last)
    plot = Plot("autocorrelation", Axis(x.label, 0, last, [tick for tick in x.ticks if tick[0] <= last]), y, [*lines, chance[1]])
    return {"name": "Memory", "note": "How counts depend on those so long before.", "svg": draw(plot), "legend": legend(lines)}


def _popularity(figures: Figures, curves: Mapping[str, Curve]) -> dict[str, str] | None:
    points = curves.get("popularity", [])
    if len(points) < 3:
        return None
    lines = [Line("this trace", points, 0)]
    note = ""
    fit = figures["zipf"]
    if fit is not None:
        lines.append(Line(f"Zipf, exponent {fit['exponent']:.3g}", [(x, y) for x, y in curves["zipf"] if y >= 0.5], 7, dashed=True))
        note = f"Cumulative shares differ from Zipf's by at most {fit['ks']:.1%}."
    x = log_axis("rank of the key", [x for x, _ in points])
    return _panel(
        "Popularity", note, Plot("popularity", x, log_axis("requests for it", [y for line in lines for _, y in line.points]), lines)
    )


def _hits(name: str, title: str, unit: str, curves: Mapping[str, Curve]) -> dict[str, str] | None:
    points = curves.get(name, [])
    if len(points) < 3:
        return None
    x = log_axis(f"{unit} that it holds", [x for x, _ in points])
    y = linear_axis("share of requests that hit", max(0.1, *(y for _, y in points)))
    return _panel(title, "The one used longest ago goes first (LRU).", Plot(title, x, y, [Line("hit ratio", points, 2, area=True)]))


def _working_set(curves: Mapping[str, Curve]) -> dict[str, str] | None:
    points = curves.get("working_set", [])
    if len(points) < 3:
        return None
    line = Line("different keys", points, 5, area=True)
    plot = Plot("working set over time", _over_time(points), linear_axis("different keys", max(y for _, y in points)), [line])
    return _panel("Working set over time", f"Different keys in each {duration(2 * points[0][0])}, within 2.3 %.", plot)


def _columns(title: str, names: Sequence[str], unit: str, curves: Mapping[str, Curve]) -> dict[str, str] | None:
    found = {name: [(max(x, 0.5), y) for x, y in curves[name]] for name in names if name in curves}
    lines = [Line(_COLUMN_NAMES[name], points, i) for i, (name, points) in enumerate(found.items())]
    if not lines:
        return None
    x = log_axis(lines[0].name if len(lines) == 1 else title.lower(), [x for line in lines for x, _ in line.points], unit)
    return _panel(title, "", Plot(title, x, linear_axis("share of requests up to that", 1), lines))


def _times(name: str, title: str, curves: Mapping[str, Curve]) -> dict[str, str] | None:
    points = [(max(x, 1e-3), y) for x, y in _us(curves.get(name, []))]
    if not points:
        return None
    x = log_axis(title.lower(), [x for x, _ in points], "us")
    return _panel(title, "", Plot(title, x, linear_axis("share up to that", 1), [Line(title, points, 3)]))
