"""Which plots a report has, and the data in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.analysis.hdr import merged
from controller.analysis.retention import usable
from controller.analysis.tables import by_second, histograms, read_table
from controller.campaign import NOMINAL
from traces.plots import Band, Line, Plot, draw, legend, linear_axis, log_axis, quantile_axis

Entry = Mapping[str, Any]


def latency_panels(entries: Sequence[Entry], run_dir: Path) -> list[dict[str, str]]:
    """One panel a variant, one line a condition: response time by the share of requests that it covers; trials merged exactly."""
    believed = usable(entries)
    conditions = ordered_conditions(believed)
    panels = []
    top = []
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for variant, condition in dict.fromkeys((e["variant"], e["condition"]) for e in believed):
        mine = [e for e in believed if (e["variant"], e["condition"]) == (variant, condition)]
        whole = merged(histograms(read_table(run_dir, "histograms", e["id"], e["attempt"]))["response"] for e in mine)
        if whole.total:
            reached, values = whole.curve()
            least = 1 / (whole.total * 2)
            points = [(1 / max(1 - q, least), v / 1000) for q, v in zip(reached.tolist(), values.tolist(), strict=True)]
            curves[variant, condition] = [p for p in points if p[0] <= 2e4]
            top += [y for _, y in curves[variant, condition]]
    for variant in dict.fromkeys(e["variant"] for e in believed):
        lines = [
            Line(condition, curves[variant, condition], i % 8) for i, condition in enumerate(conditions) if (variant, condition) in curves
        ]
        if lines:
            title = f"{variant}: response time by percentile, one line a condition"
            plot = Plot(title, quantile_axis(), log_axis("response time", top, "us"), lines)
            panels.append({"name": variant, "svg": draw(plot), "legend": legend(lines)})
    return panels


def ordered_conditions(entries: Sequence[Entry]) -> list[str]:
    return sorted(dict.fromkeys(e["condition"] for e in entries), key=lambda c: (c != NOMINAL, c))


def workload_panels(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """One panel a violation of the workload and metric, one line a variant: what is kept, by how far the workload was from nominal."""
    panels = []
    for violation in dict.fromkeys(each["violation"] for each in document["workloads"]):
        mine = [each for each in document["workloads"] if each["violation"] == violation]
        far = {each["condition"]: each["distance"] for each in mine}
        for metric, name in (("response_p99", "response p99"), ("goodput", "goodput")):
            scores = [s for s in document["scores"] if s["metric"] == metric and s["condition"] in far and s["value"] is not None]
            lines = []
            for i, variant in enumerate(dict.fromkeys(s["variant"] for s in scores)):
                points = sorted((far[s["condition"]], s["value"]) for s in scores if s["variant"] == variant)
                lines.append(Line(variant, [(0.0, 1.0), *points], i % 8, dots=True))
            if lines:
                x = linear_axis(f"distance from nominal in {mine[0]['what']}", max(far.values()))
                y = linear_axis("share of nominal kept", max(1.0, *(y for line in lines for _, y in line.points)))
                svg = draw(Plot(f"{name} kept, by how far {violation} took the workload", x, y, lines))
                panels.append({"name": f"{violation}: {name} kept", "svg": svg, "legend": legend(lines)})
    return panels


def time_lines(entries: Sequence[Entry], run_dir: Path, records: Mapping[tuple[str, int], Any]) -> list[dict[str, str]]:
    """One trial of each variant and condition, second by second, with its violation marked and the dose that was given."""
    panels = []
    seen: set[tuple[str, str]] = set()
    order = ordered_conditions(usable(entries))
    for entry in sorted(usable(entries), key=lambda e: (order.index(e["condition"]), e["variant"], e["block"])):
        cell = (entry["variant"], entry["condition"])
        if cell in seen:
            continue
        seen.add(cell)
        record = records[entry["id"], entry["attempt"]]
        seconds = by_second(read_table(run_dir, "histograms", entry["id"], entry["attempt"]), "response")
        if not seconds:
            continue
        last = max(seconds) + 1
        p50 = [(s + 0.5, (h.quantile(0.5) or 0) / 1000) for s, h in seconds.items() if h.total]
        p99 = [(s + 0.5, (h.quantile(0.99) or 0) / 1000) for s, h in seconds.items() if h.total]
        lines = [Line("p99", p99, 1), Line("p50", p50, 0)]
        bands = [Band(0, record.warmup_s, "warm-up")] if record.warmup_s else []
        running = [a for a in record.applied if a.get("at_second") is not None]
        if running:
            doses = ", ".join(f"{a['violation']} {a['asked']:g} {a['unit']}" for a in running)
            bands = [Band(0, last, f"{doses} in force throughout")]
        axis = log_axis("response time", [y for line in lines for _, y in line.points], "us")
        x = linear_axis("second of the trial (by due time)", last)
        title = f"{entry['variant']} under {entry['condition']}: response per second of trial {entry['id']}"
        svg = draw(Plot(title, x, axis, lines, bands))
        panels.append(
            {"name": f"{entry['variant']} · {entry['condition']}", "svg": svg, "legend": legend(lines)} | _dose(entry, record, run_dir)
        )
    return panels


def _dose(entry: Entry, record: Any, run_dir: Path) -> dict[str, str]:
    """The dose second by second, as a small line below."""
    rows = [r for r in read_table(run_dir, "doses", entry["id"], entry["attempt"]).to_pylist() if r["second"] >= 0]
    if not rows:
        return {"dose": "", "dose_legend": ""}
    lines = []
    for i, name in enumerate(dict.fromkeys(r["violation"] for r in rows)):
        mine = [r for r in rows if r["violation"] == name and r["given"] is not None]
        unit = next(r["unit"] for r in rows if r["violation"] == name)
        lines.append(Line(f"{name} given ({unit})", [(r["second"] + 0.5, r["given"]) for r in mine], 2 + i))
        lines.append(Line("asked", [(r["second"] + 0.5, r["asked"]) for r in rows if r["violation"] == name], 7, dashed=True))
    high = max(y for line in lines for _, y in line.points)
    x = linear_axis("second of the trial", record.warmup_s + record.measure_s)
    svg = draw(Plot("dose asked and given", x, linear_axis("dose", high * 1.2 or 1), lines))
    return {"dose": svg, "dose_legend": legend(lines)}
