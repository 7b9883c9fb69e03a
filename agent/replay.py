"""One replay: a compiled trace through the engine, to the tables of protos.records and a summary. Policy and bookkeeping; the
pacing is the engine's."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from agent import _engine, selfcheck
from protos.records import ENGINE, HISTOGRAMS, INTERVALS
from traces.errors import InvalidInput, OutOfReach

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999, "max": 1.0}
_SHOWN = ("p50", "p99", "p99_9")
_KINDS = ("slip", "service", "response")


@dataclass(frozen=True)
class ReplayOrder:
    """What to replay against. Seconds below `warmup_s` are phase `warmup` and not in the summary."""

    driver: str
    host: str
    port: int
    path: str = "/"
    cores: tuple[int, ...] = ()
    connections: int = 8
    timeout_ms: int = 1000
    late: str = "send"
    warmup_s: int = 0
    window: int = 0
    gates: selfcheck.Gates = field(default_factory=selfcheck.Gates)


@dataclass(frozen=True)
class Live:
    """One second as it closed, for whoever watches."""

    second: int
    scheduled: int
    completed: int
    failed: int
    inflight: int
    slip_p99_ns: int
    response_p50_ns: int
    response_p99_ns: int


class Replay:
    """Arm, run (blocking), read. `stop` may come from any thread."""

    def __init__(self, order: ReplayOrder, agent: str = "local", on_live: Callable[[Live], None] | None = None) -> None:
        self.order = order
        self._agent = agent
        self._on_live = on_live
        self._intervals: list[_engine.Interval] = []
        self._seconds: list[_engine.EngineSecond] = []
        self._lock = threading.Lock()
        self.totals: _engine.Totals | None = None
        self._engine = _engine.Replay(
            driver=order.driver,
            host=order.host,
            port=order.port,
            connections=order.connections,
            cores=order.cores,
            timeout_ms=order.timeout_ms,
            late=order.late,
            window=order.window,
            pipeline=1 if order.driver == "http" else 1024,  # HTTP clients do not pipeline: one request a connection at a time
            options={"path": order.path} if order.driver == "http" else {},
        )

    def arm(self, timeout_ms: int = 5000) -> None:
        """Opens the connections. Raises OutOfReach, one line."""
        try:
            self._engine.connect(timeout_ms)
        except ConnectionError as error:
            raise OutOfReach(f"{self.order.driver}://{error}; is the system up, and is that its address?") from None

    def run(self, rows: pa.RecordBatchReader, t0_ns: int) -> None:
        """To the end of the trace, or to a stop. Raises InvalidInput for rows that cannot be replayed."""
        try:
            self.totals = self._engine.run(rows, t0_ns, self._heard, self._second)
        except ValueError as error:
            raise InvalidInput(f"trace: {error}") from None

    def stop(self) -> None:
        self._engine.stop()

    def counts(self) -> dict[str, Any]:
        """Cumulative counts and merged histograms so far, for /metrics."""
        with self._lock:
            intervals = list(self._intervals)
        counts: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for i in intervals:
            for name in ("scheduled", "sent", "completed", "timed_out", "dropped", "unsent"):
                counts[name] += getattr(i, name)
            errors.update(i.errors)
        inflight = self._seconds[-1].inflight if self._seconds else 0
        return {**counts, "errors": dict(errors), "inflight": inflight, "intervals": intervals}

    def _heard(self, intervals: list[_engine.Interval]) -> None:
        with self._lock:
            self._intervals += intervals
        if self._on_live is not None:
            slip = _merged(intervals, "slip")
            response = _merged(intervals, "response")
            p50, p99 = _engine.hdr_quantiles(response, [0.5, 0.99])
            self._on_live(
                Live(
                    second=intervals[0].second,
                    scheduled=sum(i.scheduled for i in intervals),
                    completed=sum(i.completed for i in intervals),
                    failed=sum(sum(i.errors.values()) + i.timed_out for i in intervals),
                    inflight=self._seconds[-1].inflight if self._seconds else 0,
                    slip_p99_ns=_engine.hdr_quantiles(slip, [0.99])[0],
                    response_p50_ns=p50,
                    response_p99_ns=p99,
                )
            )

    def _second(self, second: _engine.EngineSecond) -> None:
        with self._lock:
            self._seconds.append(second)

    def _phase(self, second: int) -> str:
        return "warmup" if second < self.order.warmup_s else "measure"

    def tables(self) -> dict[str, pa.Table]:
        """intervals, histograms, engine: as protos.records says."""
        rows, histograms = [], []
        for i in sorted(self._intervals, key=lambda i: (i.second, i.op)):
            row: dict[str, Any] = {
                "agent": self._agent,
                "second": i.second,
                "op": i.op,
                "phase": self._phase(i.second),
            }
            for name in INTERVALS.names[4:]:
                if not name.endswith("_ns"):
                    row[name] = getattr(i, name)
            row["errors"] = list(i.errors.items())
            for kind in _KINDS:
                hdr = getattr(i, kind)
                empty = _engine.hdr_count(hdr) == 0
                values: Sequence[int | None] = (None,) * 3 if empty else _engine.hdr_quantiles(hdr, [0.5, 0.99, 1.0])
                for name, value in zip(("p50", "p99", "max"), values, strict=True):
                    row[f"{kind}_{name}_ns"] = value
                histograms.append(
                    {
                        "agent": self._agent,
                        "second": i.second,
                        "op": i.op,
                        "phase": row["phase"],
                        "kind": kind,
                        "hdr": hdr,
                    }
                )
            rows.append(row)
        engine = [
            {"agent": self._agent, **{n: getattr(s, n) for n in ENGINE.names if n != "agent"}}
            for s in sorted(self._seconds, key=lambda s: (s.second, s.core))
        ]
        return {
            "intervals": pa.Table.from_pylist(rows, INTERVALS),
            "histograms": pa.Table.from_pylist(histograms, HISTOGRAMS),
            "engine": pa.Table.from_pylist(engine, ENGINE),
        }

    def measured(self) -> list[_engine.Interval]:
        return [i for i in self._intervals if i.second >= self.order.warmup_s]

    def summary(self) -> dict[str, Any]:
        """The figures of the measured seconds, in the shape of one trial of a run's document."""
        intervals = self.measured()
        total = {n: sum(getattr(i, n) for i in intervals) for n in ("scheduled", "sent", "completed", "misses")}
        ends = {n: sum(getattr(i, n) for i in intervals) for n in ("timed_out", "dropped", "unsent")}
        errors: Counter[str] = Counter()
        for i in intervals:
            errors.update(i.errors)
        seconds = len({i.second for i in intervals})
        hdr = {kind: _merged(intervals, kind) for kind in _KINDS}
        judged = self._judged(intervals, total["scheduled"], ends, errors, hdr["slip"])
        stopped = errors.get("stopped", 0)
        notes = list(self.totals.notes) if self.totals is not None else []
        return {
            "verdict": judged.verdict,
            "reasons": list(judged.reasons),
            "outcome": outcome(total["scheduled"], total["completed"]),
            "scheduled": total["scheduled"],
            "completed": total["completed"],
            "errors": dict(sorted(errors.items())),
            **ends,
            "rate_due_per_s": round(total["scheduled"] / seconds, 3) if seconds else 0.0,
            "rate_done_per_s": round(total["completed"] / seconds, 3) if seconds else 0.0,
            **{f"{kind}_us": _quantiles_us(hdr[kind], ends["timed_out"] if kind == "response" else 0) for kind in _KINDS},
            "dose": [],
            "misses": total["misses"],
            "sent": total["sent"],
            "seconds": seconds,
            "saturated": judged.saturated,
            "interrupted": stopped > 0 or ends["unsent"] > 0,
            "notes": notes,
        }

    def merged(self, kind: str) -> bytes:
        """One histogram of the measured seconds, HdrHistogram V2."""
        return _merged(self.measured(), kind)

    def spectrum(self) -> dict[str, dict[str, float | None]]:
        """slip, service, response at p50 to the maximum, microseconds."""
        timed_out = sum(i.timed_out for i in self.measured())
        return {kind: _quantiles_us(self.merged(kind), timed_out if kind == "response" else 0, tuple(QUANTILES)) for kind in _KINDS}

    def _judged(
        self,
        intervals: Sequence[_engine.Interval],
        scheduled: int,
        ends: dict[str, int],
        errors: Counter[str],
        slip: bytes,
    ) -> selfcheck.Judged:
        by_second: dict[int, list[_engine.Interval]] = {}
        for i in intervals:
            by_second.setdefault(i.second, []).append(i)
        slips = [_engine.hdr_quantiles(_merged(here, "slip"), [0.99])[0] for _, here in sorted(by_second.items())]
        last = max(by_second, default=-1)
        walls = [s for s in self._seconds if self.order.warmup_s <= s.second <= last]
        figures = selfcheck.EngineFigures(
            run_delay_ns=[s.run_delay_ns for s in walls],
            steal_ns=[s.steal_ns for s in walls],
            inflight=[s.inflight + s.backlog for s in walls],
            pinned=all(s.pinned for s in walls),
        )
        return selfcheck.judge(
            scheduled=scheduled,
            sent_late_by_us=ends["dropped"] + ends["unsent"] + errors.get("stopped", 0),
            slip_p99_ns=_engine.hdr_quantiles(slip, [0.99])[0] if _engine.hdr_count(slip) else None,
            slip_p99_by_second_ns=slips,
            engine=figures,
            feed_starved=self.totals.feed_starved if self.totals is not None else 0,
            gates=self.order.gates,
        )


def outcome(scheduled: int, completed: int) -> str:
    """What the system did: half of the requests answered is the least that counts as functioning."""
    return "functions" if scheduled and completed >= 0.5 * scheduled else "fails"


def _merged(intervals: Sequence[_engine.Interval], kind: str) -> bytes:
    return _engine.hdr_merge([getattr(i, kind) for i in intervals])


def _quantiles_us(hdr: bytes, censored: int, names: Sequence[str] = _SHOWN) -> dict[str, float | None]:
    """Quantiles in microseconds. Timeouts are censored: a quantile that lies among them is no number, but null."""
    n = _engine.hdr_count(hdr)
    if n == 0:
        return dict.fromkeys(names)
    total = n + censored
    found: dict[str, float | None] = {}
    for name in names:
        rank = QUANTILES[name] * total / n
        found[name] = None if rank > 1 else round(_engine.hdr_quantiles(hdr, [rank])[0] / 1000, 3)
    return found
