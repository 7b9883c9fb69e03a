"""The end of a run on a terminal: what survived, in a table that fits."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.analysis.outcomes import told
from controller.analysis.retention import usable
from controller.campaign import NOMINAL


def render_terminal(document: Mapping[str, Any]) -> str:
    entries = usable(document["trials"])
    if not entries:
        return "no attempt gave a measurement that may be believed; its reasons stand in the report's table of trials"
    rows = [
        [
            "variant",
            "condition",
            "p50 us",
            "p99 us",
            "in time",
            "req/CPU s",
            "keeps p50",
            "keeps goodput",
            "verdict",
        ]
    ]
    cells = dict.fromkeys((e["variant"], e["condition"]) for e in entries)
    ordered = sorted(cells, key=lambda c: (list(dict.fromkeys(v for v, _ in cells)).index(c[0]), c[1] != NOMINAL, c[1]))
    for variant, condition in ordered:
        mine = [e for e in entries if (e["variant"], e["condition"]) == (variant, condition)]
        rows.append(
            [
                variant,
                condition,
                _mean([e["response_us"]["p50"] for e in mine]),
                _mean([e["response_us"]["p99"] for e in mine]),
                _share([e["goodput_per_s"] / e["rate_due_per_s"] for e in mine if e["goodput_per_s"] is not None]),
                _mean([e["requests_per_cpu_s"] for e in mine]),
                _kept(document, variant, condition, "response_p50"),
                _kept(document, variant, condition, "goodput"),
                _verdicts(mine),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        text = [cell.ljust(w) if i in (0, 1, 8) else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(text).rstrip())
    lines.insert(1, "  ".join("-" * w for w in widths))
    for seen in told(document["trials"]):
        if seen["outcomes"].keys() - {"functions"} and seen["evidence"]:
            lines += ["", f"{seen['variant']} under {seen['condition']}: {seen['said']}: {'; '.join(seen['evidence'])}"]
    within = document.get("goodput_within_us")
    if within:
        lines += [
            "",
            f"in time: answered within {within:g} us of being due; keeps: share of nominal [95 % interval]",
        ]
    return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    mean = sum(known) / len(known)
    return f"{mean:,.0f}" if mean >= 100 else f"{mean:.1f}"


def _share(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.1%}" if values else "-"


def _kept(document: Mapping[str, Any], variant: str, condition: str, metric: str) -> str:
    for score in document["scores"]:
        if (score["variant"], score["condition"], score["metric"]) == (variant, condition, metric):
            if score["value"] is None:
                return "-"
            interval = "" if score["low"] is None else f" [{score['low']:.2g}, {score['high']:.2g}]"
            return f"{score['value']:.2g}{interval}"
    return "1" if condition == NOMINAL else "-"


def _verdicts(entries: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for entry in entries:
        word = entry["outcome"].replace("_", " ") if entry["outcome"] in ("fails", "falls_back") else entry["verdict"]
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{n} {word}" for word, n in counts.items())
