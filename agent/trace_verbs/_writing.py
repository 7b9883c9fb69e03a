"""How every verb that makes a trace writes it and says so."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from traces.signal import Signal
    from traces.stream import Trace


def written_trace(trace: "Trace | Signal", out: str, as_json: bool, lines: Sequence[str] = (), **more: Any) -> int:
    """Writes canonical Parquet at a path or an object's address. `lines`: what is printed besides; `more`: what the JSON document says."""
    from traces.compile import save_trace
    from traces.signal import Signal, save_signal
    from traces.storage import written

    with written(out) as path:
        made = save_signal(trace, path) if isinstance(trace, Signal) else save_trace(trace, path)
    if as_json:
        document = {"path": out, "rows": made.rows, "bytes": made.bytes, "span_s": made.span_ns / 1e9, "format": trace.meta.importer}
        if not isinstance(trace, Signal):
            document["mean_rate_per_s"] = made.rows * 1e9 / made.span_ns if made.span_ns else None
        print(json.dumps({**document, **more}))
        return 0
    rate = "" if isinstance(trace, Signal) or not made.span_ns else f", {made.rows * 1e9 / made.span_ns:,.6g}/s on average"
    print(f"{out}: {made.rows:,} {'samples of a signal' if isinstance(trace, Signal) else 'rows'} over {made.span_ns / 1e9:,.3f} s{rate}")
    for line in lines:
        print(f"  {line}")
    for note in filter(None, trace.meta.loss_notes.split("; ")):
        print(f"offspec: note: {note}", file=sys.stderr)
    return 0
