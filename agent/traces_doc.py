"""`python -m agent.traces_doc`: writes docs/traces.md from the registries of formats, transforms and laws of made traces.

A new one appears there by itself; a test holds the page fresh.
"""

from pathlib import Path
from typing import Any

from traces.formats import formats
from traces.synthesis.listing import listing
from traces.transforms import Dosed, transforms

PAGE = Path(__file__).parents[1] / "docs" / "traces.md"
_HEAD = """\
<!-- Made by `python -m agent.traces_doc` from traces/formats/, traces/transforms/ and traces/synthesis/: change those, or its words. -->
# Traces

A trace is one row a request in one schema (`traces/schema.py`); null means that the source does not say. It comes from a file of any
format below, compressed or not, here or in an object store, or from a specification of a made one.

    offspec trace info FILE [--html PAGE]               what it is: rates by scale, popularity, reuse, sizes, ops, tokens, sessions
    offspec trace distance A B                          how far apart two are, along what, and what of it is chance
    offspec trace import FILE OUT.parquet               canonical Parquet
    offspec trace transform A OUT.parquet --do zipf=1.2 --do burst=4
    offspec trace synth gamma:5000,cv=4,for=60s OUT.parquet
    offspec trace fit FILE                              a specification learnt from a trace, and how far it is from it
    offspec trace export A OUT --to mooncake            for other tools: fio_iolog, mooncake
    offspec trace fetch NAME                            a public trace from its owner, licence first

`replay` and `capacity` take all of these for their TRACE, and `--do` as `transform` does.

Times are the source's own. A clock coarser than a millisecond says nothing of pacing: a paced replay of such a trace wants `--spread
poisson`, `equidistant` or `start`, by a seeded integer rule under which every request has the same time on every machine. Counts a minute
become single invocations by the same rule. Usage of machines is a *signal*: described and converted, never replayed. Rows out of order
are sorted within `sort=TIME`, or refused with their row.
"""
_DISTANCE = """\
## Distance

`trace distance` compares laws, dimension by dimension: gaps over their mean, rate, burstiness by scale, popularity, reuse, sizes, ops,
tokens, prefixes. Wasserstein is divided by the sum of the two means (0 to 1; a factor f lies (f-1)/(f+1) away); Kolmogorov-Smirnov and
Jensen-Shannon stand beside it. The floor beside each is how far apart two halves of one trace lie by chance: what is below it is no
finding. A campaign gives each workload condition its distance from nominal along what it bends, and plots what was kept over it.
"""
_LIMITS = """\
## What it costs, and what it does not do

Measured on 2 cores (KVM): import of 10^8 oracleGeneral rows 28 s in 235 MiB at its peak, `info` of them 86 s in 407 MiB, 0.9 µs a row
from 3·10^6 rows on. A day of Azure Functions 2019 with 13,037,064 invocations is read in 3.1 s in 182 MiB. Transforms run at 3 to 6
million rows a second on a core, those that look keys up in a table (`zipf`, `hotset_shift`, `churn`, `correlated_burst`, `mix`,
`shuffle`) at 1.2 to 2.5. `make bench-traces` measures them here.

Zipf exponents from 0 to 10, by likelihood over all objects of the source: within 0.002 of what was asked where there are ten requests an
object, within 0.031 where there is one (3·10^5 rows; of fewer, steep laws are rounded more). Call graphs (Alibaba's microservices) are
sorted within five minutes of the trace in memory, about a kilobyte a call. A fit learns no ties between size and popularity, and takes
the likeliest law of gaps, which for real bursts may have another variation: its distance says so.
"""


def page() -> str:
    """The whole page; names in the order of the alphabet."""
    known = listing()
    parts = [_HEAD, "## Formats", "", "| name | what is read |", "|---|---|"]
    parts += [f"| `{name}` | {_cell(each.summary)} |" for name, each in formats().items()]
    parts += [
        "",
        "## Transforms",
        "",
        "Pure, seeded, in the order given. *Read back*: a violation of the workload whose dose is measured in the trace.",
        "",
    ]
    parts += ["| name | what it does | changes | value | options | needs | read back |", "|---|---|---|---|---|---|---|"]
    for name, each in transforms().items():
        cells = (each.summary, each.changes, each.value, _options(each.options), each.needs)
        parts.append(f"| `{name}` | {' | '.join(map(_cell, cells))} | {'yes' if isinstance(each, Dosed) else ''} |")
    parts += [
        "",
        "## Made traces",
        "",
        "`HEAD:ARGUMENT,name=value,...`; a bare rate is per second. `offspec trace synth --list` explains every parameter.",
        "",
    ]
    parts += ["| head | what | for example |", "|---|---|---|"]
    parts += [_head(each) for each in (*known["arrivals"], *known["workloads"])]
    parts += ["", "Requests on keys: " + ", ".join(f"`{each['example']}`" for each in known["requests"]) + ".", ""]
    parts += ["Laws of sizes: " + ", ".join(f"`{each['form']}`" for each in known["sizes"]) + ".", "", _DISTANCE, _LIMITS]
    return "\n".join(parts)


def _head(each: dict[str, Any]) -> str:
    return f"| `{each['head']}` | {_cell(each['what'])} | `{each['example']}` |"


def _options(options: Any) -> str:
    """Names alone where each is only one of many alike."""
    return ", ".join(f"`{name}`" for name in options) if len(options) <= 6 else "a share for each op"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
