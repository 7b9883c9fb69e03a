"""Medians, spread and ratios of a race; the document that is written as JSON, and the same as Markdown."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from tests.bench.engine.contestant import Measured
from tests.bench.engine.race import MAXIMUM, Lane, Result

Document = dict[str, Any]
Figure = Callable[[Measured], float | None]
SHOWN = ("slip_p99_ms", "response_p99_ms")
"""Details that every table has a column for, if any contestant gives them; the rest stand in a line below it."""
JSON_ONLY = ("slip_p50_ms", "response_p50_ms", "engine_thread_cpu_s_per_million")


def summary(values: Sequence[float]) -> Document | None:
    """Median, quartiles, and spread: (max - min) / median. None of no values."""
    if not values:
        return None
    median = statistics.median(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    spread = (max(values) - min(values)) / median if median else None
    return {"median": median, "quartiles": [low, high], "spread": spread, "values": list(values)}


def figures(lane: Lane, figure: Figure) -> list[float | None]:
    """A place for each round."""
    return [None if isinstance(each, str) else figure(each) for each in lane.rounds]


def ratio(over: Lane | None, under: Lane, figure: Figure) -> Document | None:
    """`over` / `under` formed within each round that has both."""
    if over is None:
        return None
    pairs = zip(figures(over, figure), figures(under, figure), strict=False)
    return summary([a / b for a, b in pairs if a is not None and b])


def rate(each: Measured) -> float | None:
    return each.rate_per_s


def cpu(each: Measured) -> float | None:
    return each.cpu_s_per_million


def row_of(lane: Lane, lanes: Sequence[Lane], alike: str | None) -> Document:
    """One line of a table. Ratios are ours / theirs: at the maximum of rates, at the common rate of CPU time."""
    peers = [each for each in lanes if each.regime == lane.regime]
    twin = next((each for each in peers if each.label == alike), None)
    compared = rate if lane.regime == MAXIMUM else cpu
    known = [each for each in lane.rounds if isinstance(each, Measured)]
    names = dict.fromkeys(name for each in known for name in each.details)
    return {
        "contestant": lane.contestant,
        "loop": lane.loop,
        "version": lane.version,
        "absent": lane.absent,
        "failed": [each for each in lane.rounds if isinstance(each, str)],
        "foreign": summary(lane.foreign),
        "rate_per_s": summary([each.rate_per_s for each in known]),
        "cpu_s_per_million": summary([each.cpu_s_per_million for each in known if each.cpu_s_per_million is not None]),
        "first_over_this": ratio(peers[0], lane, compared) if lane is not peers[0] else None,
        "alike": alike if twin is not None else None,
        "alike_over_this": ratio(twin, lane, compared),
        "details": {name: summary([each.details[name] for each in known if name in each.details]) for name in names},
    }


def document(results: Sequence[Result], machine: Document) -> Document:
    races = []
    for result in results:
        race = result.race
        tables = {}
        for regime in dict.fromkeys(lane.regime for lane in result.lanes):
            tables[regime] = [
                row_of(lane, result.lanes, race.alike.get(lane.label)) for lane in result.lanes if lane.regime == regime
            ]  # fmt: skip
        races.append({
            "subject": race.subject, "setting": race.setting, "connections": race.connections, "unit": race.unit, "skipped": result.failed,
            "common_rate_per_s": result.pace_per_s, "tables": tables,
        })  # fmt: skip
    return {"bench": "engine", **machine, "races": races}


def markdown(told: Document) -> str:
    machine = told["machine"]
    lines = [
        "# The engine beside its peers",
        "",
        f"Made by `make bench-engine` ({told['rounds']} rounds, {told['seconds']} s each, seed {told['seed']}), {told['date']}, "
        f"offspec {told['commit']}. {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; "
        f"{machine['steal_s']:.1f} s stolen from it meanwhile.",
        "",
        "Servers have core 0, generators core 1, all generators the least nice value where it is allowed. Each round runs every contestant "
        "once in shuffled order. Quartiles and spread, (max - min) / median, are over the rounds; ratios are formed within a round, then "
        "their median is taken. `ours ÷` is the first line of the table over this one: above 1 at the maximum, the engine reaches more; "
        "below 1 at the common rate, it takes less CPU. `alike ÷` is the same with ours that goes by this one's rule. CPU is "
        "user and system time of the process over its requests, its start included; the engine's is of its run, "
        "without the making of the requests. `others` is the most that processes from outside, and the hypervisor, took of the "
        "two cores in a round (100% is one core): above a few percent that line is in doubt.",
        "",
        "Servers: " + ", ".join(f"{name} {version}" for name, version in told["servers"].items()) + ".",
    ]
    for race in told["races"]:
        lines += ["", f"## {race['subject']}, {race['setting']}"]
        if race["skipped"]:
            lines += ["", f"Skipped: {race['skipped']}."]
        for regime, rows in race["tables"].items():
            title = "Maximum" if regime == MAXIMUM else f"At a common {race['common_rate_per_s']:,.0f}/s"
            lines += ["", f"### {title}", "", *_table(rows, race["unit"], regime)]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Document], unit: str, regime: str) -> list[str]:
    present = [row for row in rows if row["rate_per_s"] is not None]
    lines: list[str] = []
    if present:
        shown = [name for name in SHOWN if any(name in row["details"] for row in present)]
        first, second = ("rate_per_s", unit), ("cpu_s_per_million", "CPU s per million")
        if regime != MAXIMUM:
            first, second = second, first
        head = ["", "version", first[1], "quartiles", "spread", "ours ÷", "alike ÷", second[1], *(_words(name) for name in shown), "others"]
        lines += [_line(head), _line(["---", "---", *(["---:"] * (len(head) - 2))])]
        for row in present:
            figure = row[first[0]]
            lines.append(
                _line([
                    f"{row['contestant']} ({row['loop']})", row["version"], _number(_median(figure)), _quartiles(figure), _spread(figure),
                    _number(_median(row["first_over_this"])), _number(_median(row["alike_over_this"])), _number(_median(row[second[0]])),
                    *(_number(_median(row["details"].get(name))) for name in shown), f"{max(row['foreign']['values']):.0%}",
                ])
            )  # fmt: skip
        for row in present:
            more = [name for name in row["details"] if name not in (*shown, *JSON_ONLY)]
            if more:
                told = "; ".join(f"{_words(name)} {_number(_median(row['details'][name]))}" for name in more)
                lines += ["", f"{row['contestant']} ({row['loop']}): {told}."]
    absent = [row["absent"] for row in rows if row["absent"]]
    if absent:
        lines += ["", "Absent: " + "; ".join(dict.fromkeys(absent)) + "."]
    for row in rows:
        if row["failed"]:
            lines += ["", f"Without a figure in {len(row['failed'])} round(s): {row['contestant']} ({row['loop']}): {row['failed'][-1]}."]
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _median(of: Document | None) -> float | None:
    return None if of is None else of["median"]


def _quartiles(of: Document | None) -> str:
    return "" if of is None else " to ".join(_number(each) for each in of["quartiles"])


def _spread(of: Document | None) -> str:
    return "" if of is None or of["spread"] is None else f"{of['spread']:.0%}"


def _number(value: float | None) -> str:
    """Three figures; whole numbers from a hundred on."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value else "0"
