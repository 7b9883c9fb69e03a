"""Writes a run's report: report.html, report.md, scores.json, summary.parquet, doses.parquet, events.jsonl."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
from markupsafe import Markup

from controller.analysis.outcomes import told
from controller.analysis.retention import METRICS
from controller.attempts import AttemptRecord
from controller.campaign import NOMINAL
from controller.report.figures import latency_panels, ordered_conditions, time_lines, workload_panels
from controller.store import write_whole
from traces.page import style

_METRIC_NAMES = {
    "response_p50": "median response",
    "response_p99": "response p99",
    "goodput": "goodput",
    "throughput": "throughput",
    "efficiency": "requests per CPU second",
}

_SHOWN = {"cpu_model": "", "cores": " cores", "mem_gib": " GiB", "kernel": ""}
"""Of a node's labels, those by which a reader knows the machine."""


def write_report(
    run_dir: Path,
    document: Mapping[str, Any],
    records: Sequence[AttemptRecord],
    *,
    nodes: Mapping[str, Any],
    versions: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Returns the path of report.html. Nothing in it is fetched from anywhere."""
    by_attempt = {(r.trial, r.attempt): r for r in records}
    entries = document["trials"]
    view = {
        "document": document,
        "style": style(),
        "outcomes": told(entries),
        "banner": banner(entries),
        "tables": [t for m in METRICS if (t := retention_table(document, m))],
        "workload_panels": workload_panels(document),
        "latency": latency_panels(entries, run_dir),
        "time_lines": time_lines(entries, run_dir, by_attempt),
        "doses": [{"trial": e["id"], **d} for e in entries for d in e["dose"]],
        "clocks": [{"trial": r.trial, **c} for r in records for c in r.clock.values() if c],
        "placed": ran_on(entries, nodes),
        "nodes": nodes,
        "versions": versions,
    }
    for name, template in (("report.html", "report.html"), ("report.md", "report.md")):
        write_whole(run_dir / name, _render(template, view).encode())
    write_whole(run_dir / "scores.json", (json.dumps({"scores": document["scores"]}, indent=1) + "\n").encode())
    write_whole(run_dir / "events.jsonl", "".join(json.dumps(e) + "\n" for e in events).encode())
    _write_summary(run_dir, entries)
    _write_doses(run_dir, document)
    return run_dir / "report.html"


def _render(template: str, view: Mapping[str, Any]) -> str:
    loader = jinja2.PackageLoader("controller.report", "templates")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    environment.filters["safe_svg"] = environment.filters["safe_css"] = lambda text: Markup(text)
    return environment.get_template(template).render(view)


def number(value: float | None, digits: int = 3) -> str:
    """A figure for a table: grouped where large, so many significant digits where small, a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def banner(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first thing to know: how much of this may be believed."""
    kept = [e for e in entries if e["failure_class"] != "cancelled"]
    counts = {word: sum(e["verdict"] == word for e in kept) for word in ("valid", "suspect", "invalid")}
    if not kept or counts["valid"] + counts["suspect"] == 0:
        return {"kind": "invalid", "text": "Nothing here may be believed: no attempt was valid.", **counts}
    if counts["suspect"] or counts["invalid"]:
        text = (
            f"{counts['valid']} attempts are valid, {counts['suspect']} suspect (counted, marked), {counts['invalid']} invalid (left out)."
        )
        return {"kind": "suspect", "text": text, **counts}
    return {"kind": "valid", "text": f"All {counts['valid']} attempts are valid.", **counts}


def ran_on(entries: Sequence[Mapping[str, Any]], nodes: Mapping[str, Any]) -> list[dict[str, str]]:
    """Which node each condition's systems ran on, what it is, and where their load came from; a row a place."""
    there: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for condition in ordered_conditions(entries):
        mine = [e for e in entries if e["condition"] == condition and e["target_agent"]]
        for place in dict.fromkeys((e["target_agent"], tuple(e["load_agents"])) for e in mine):
            there.setdefault(place, []).append(condition)
    rows = []
    for (target, loads), conditions in there.items():
        labels = nodes.get(target, {}).get("labels", {})
        words = [f"{labels[name]}{unit}" for name, unit in _SHOWN.items() if name in labels]
        rows.append({"condition": ", ".join(conditions), "node": target, "machine": ", ".join(words), "load": ", ".join(loads)})
    return rows


def retention_table(document: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    """Variants down, conditions across; a cell's class says how much was kept, its text says it again."""
    scores = {(s["variant"], s["condition"]): s for s in document["scores"] if s["metric"] == metric and s["value"] is not None}
    if not scores:
        return None
    conditions = [c for c in ordered_conditions(document["trials"]) if c != NOMINAL]
    rows = []
    for variant in dict.fromkeys(v for v, _ in scores):
        cells = []
        for condition in conditions:
            score = scores.get((variant, condition))
            cells.append({"score": score, "class": _heat(score["value"]) if score else "none"})
        rows.append({"variant": variant, "cells": cells})
    return {"metric": metric, "name": _METRIC_NAMES[metric], "conditions": conditions, "rows": rows}


def _heat(value: float) -> str:
    for bound, name in ((0.9, "h5"), (0.8, "h4"), (0.5, "h3"), (0.2, "h2")):
        if value >= bound:
            return name
    return "h1"


def _write_summary(run_dir: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """One row an attempt, flat, for whoever loads it elsewhere."""
    rows = []
    for entry in entries:
        row = {k: v for k, v in entry.items() if not isinstance(v, dict | list)}
        for kind in ("slip_us", "service_us", "response_us"):
            row |= {f"{kind.removesuffix('_us')}_{q}_us": v for q, v in entry[kind].items()}
        row["errors"] = sum(entry["errors"].values())
        row["reasons"] = "; ".join(entry["reasons"])
        row["evidence"] = "; ".join(entry["evidence"])
        row["cleanup"] = entry["cleanup"]["verdict"]
        rows.append(row)
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_pylist(rows) if rows else pa.table({"id": pa.array([], pa.string())}),
        sink,
        compression="zstd",
    )
    write_whole(run_dir / "summary.parquet", sink.getvalue().to_pybytes())


_DOSES = pa.schema(
    [
        *((name, pa.string()) for name in ("trial", "variant", "condition")),
        *((name, pa.int64()) for name in ("block", "attempt")),
        *((name, pa.string()) for name in ("violation", "unit")),
        *((name, pa.float64()) for name in ("asked", "measured", "coverage")),
        *((name, pa.string()) for name in ("verdict", "mechanism", "fidelity", "remarks", "dimension")),
        *((name, pa.float64()) for name in ("distance", "floor")),
    ]
)


def _write_doses(run_dir: Path, document: Mapping[str, Any]) -> None:
    """One row a violation and attempt: what was asked and what was read back, and of a workload its distance from nominal."""
    far = {(each["condition"], each["violation"]): each for each in document["workloads"]}
    rows = []
    for entry in document["trials"]:
        of = {"trial": entry["id"], **{name: entry[name] for name in ("variant", "condition", "block", "attempt")}}
        for dose in entry["dose"]:
            off = far.get((entry["condition"], dose["violation"]), {})
            told = {name: off.get(name) for name in ("dimension", "distance", "floor")}
            rows.append(of | {name: dose[name] for name in _DOSES.names if name in dose} | told | {"remarks": "; ".join(dose["remarks"])})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, _DOSES), sink, compression="zstd")
    write_whole(run_dir / "doses.parquet", sink.getvalue().to_pybytes())
