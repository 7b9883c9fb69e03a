"""One replay: a compiled trace through the engine, to the tables of protos.records and a summary. Policy and bookkeeping; the
pacing is the engine's."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from agent import _engine, drivers, selfcheck
from agent.cluster import Servers
from agent.endpoint import Endpoint
from agent.request_log import RequestLog
from protos.records import ENGINE, HISTOGRAMS, INTERVALS
from traces.errors import InvalidInput, OutOfReach

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999, "max": 1.0}
_SHOWN = ("p50", "p99", "p99_9")
_KINDS = ("slip", "service", "response")
_TOKEN_KINDS = ("ttft", "tpot")
_CREW_ENDS_WITHIN_S = 2.0
# HTTP clients do not pipeline: one request a connection at a time.
_PIPELINE = {"http": 1, "openai": 1}
_DEEP = 1024
# Fewer gaps than these say nothing about their law.
_LEAST_GAPS = 500


@dataclass(frozen=True)
class ReplayOrder:
    """What to replay against. Seconds below `warmup_s` are phase `warmup` and not in the summary.

    `measure_s`: how long the trace goes on after them; None: to the second of its last request.
    """

    endpoint: Endpoint
    cores: tuple[int, ...] = ()
    connections: int = 8
    timeout_ms: int = 1000
    late: str = "send"
    warmup_s: int = 0
    measure_s: int | None = None
    window: int = 0
    think_us: int = 0
    think: str = "constant"
    pipeline: int | None = None
    cluster: Servers | None = None
    seed: int = 1
    kernel_stamps: int = 0
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
    verdict: str = "valid"
    reasons: tuple[str, ...] = ()


class Replay:
    """Arm, run (blocking), read. `stop` may come from any thread."""

    def __init__(
        self,
        order: ReplayOrder,
        agent: str = "local",
        on_live: Callable[[Live], None] | None = None,
        log: RequestLog | None = None,
    ) -> None:
        """Raises InvalidInput for options that the driver does not have, OutOfReach for a name without an address."""
        self.order = order
        self._agent = agent
        self._on_live = on_live
        self._log = log
        self._intervals: list[_engine.Interval] = []
        self._seconds: list[_engine.EngineSecond] = []
        self._lock = threading.Lock()
        self.totals: _engine.Totals | None = None
        self._t0_ns = 0
        self._crew: drivers.Crew | None = None
        to = order.endpoint
        self._driver = None if to.in_engine else drivers.load(to.driver, to.options.get("url", ""), to.options)
        try:
            self._engine = _engine.Replay(
                driver=to.driver if to.in_engine else "python",
                host=to.host,
                port=to.port,
                connections=order.connections,
                cores=order.cores,
                timeout_ms=order.timeout_ms,
                late=order.late,
                window=order.window,
                think_us=order.think_us,
                think=order.think,
                pipeline=order.pipeline or _PIPELINE.get(to.driver, _DEEP),
                options=dict(to.options) if to.in_engine else {},
                tls=to.tls,
                cluster=order.cluster,
                log_requests=log is not None,
                kernel_stamps=order.kernel_stamps,
                seed=order.seed,
            )
        except ValueError as error:
            raise InvalidInput(f"{to.driver}: {error}") from None
        except ConnectionError as error:
            raise OutOfReach(f"{to.driver}://{error}; is that its address?") from None

    def arm(self, timeout_ms: int = 5000) -> None:
        """Opens the connections. Raises OutOfReach, one line."""
        to = self.order.endpoint
        try:
            self._engine.connect(timeout_ms)
            if self._driver is not None:
                self._crew = drivers.Crew(self._driver, self._engine)
        except OSError as error:
            raise OutOfReach(f"{to.driver}://{error}; is the system up, and is that its address?") from None

    def run(self, rows: pa.RecordBatchReader, t0_ns: int) -> None:
        """To the end of the trace, or to a stop. Raises InvalidInput for rows that cannot be replayed."""
        self._t0_ns = t0_ns
        try:
            on_requests = None if self._log is None else self._log.write
            self.totals = self._engine.run(rows, t0_ns, self._heard, self._second, on_requests)
        except ValueError as error:
            raise InvalidInput(f"trace: {error}") from None
        finally:
            if self._crew is not None:
                self._crew.join(_CREW_ENDS_WITHIN_S)
            if self._log is not None:
                self._log.close()

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
            sent = _engine.hdr_count(slip) > 0
            second = intervals[0].second
            walls = [s for s in self._seconds if s.second == second]
            slip_p99 = _engine.hdr_quantiles(slip, [0.99])[0]
            judged = selfcheck.judge_second(
                slip_p99 if sent else None,
                max((s.run_delay_ns for s in walls), default=0),
                max((s.steal_ns for s in walls), default=0),
                self.order.gates,
            )
            p50, p99 = _engine.hdr_quantiles(response, [0.5, 0.99])
            self._on_live(
                Live(
                    second=second,
                    scheduled=sum(i.scheduled for i in intervals),
                    completed=sum(i.completed for i in intervals),
                    failed=sum(sum(i.errors.values()) + i.timed_out for i in intervals),
                    inflight=self._seconds[-1].inflight if self._seconds else 0,
                    slip_p99_ns=slip_p99,
                    response_p50_ns=p50,
                    response_p99_ns=p99,
                    verdict=judged.verdict,
                    reasons=judged.reasons,
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
            for kind in (*_KINDS, *_TOKEN_KINDS):
                hdr = getattr(i, kind)
                if not hdr:
                    continue
                empty = _engine.hdr_count(hdr) == 0
                values: Sequence[int | None] = (None,) * 3 if empty else _engine.hdr_quantiles(hdr, [0.5, 0.99, 1.0])
                if kind in _KINDS:
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
            {"agent": self._agent, "gap_ks": gap_ks(s), **{n: getattr(s, n) for n in ENGINE.names if n not in ("agent", "gap_ks")}}
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
        hdr = {kind: _merged(intervals, kind) for kind in _KINDS}
        judged = self._judged(intervals, total["scheduled"], ends, errors, hdr["slip"])
        seconds = self._measured_s(intervals, hdr["response"], ends["timed_out"] > 0)
        stopped = self.totals is not None and self.totals.stopped
        served_s = min(seconds, self._wall_s()) if stopped else seconds
        notes = list(self.totals.notes) if self.totals is not None else []
        if self._log is not None and self._log.failure is not None:
            notes.append(f"no log of requests: {self._log.failure}")
        return {
            "verdict": judged.verdict,
            "reasons": list(judged.reasons),
            "outcome": outcome(total["scheduled"], total["completed"]),
            "scheduled": total["scheduled"],
            "completed": total["completed"],
            "errors": dict(sorted(errors.items())),
            **ends,
            "rate_due_per_s": round(total["scheduled"] / seconds, 3) if seconds else 0.0,
            "rate_done_per_s": round(total["completed"] / served_s, 3) if served_s else 0.0,
            **{f"{kind}_us": _quantiles_us(hdr[kind], ends["timed_out"] if kind == "response" else 0) for kind in _KINDS},
            **self._tokens(intervals, served_s),
            **self._kernel(),
            "dose": [],
            "misses": total["misses"],
            "sent": total["sent"],
            "seconds": seconds,
            "saturated": judged.saturated,
            "interrupted": stopped,
            "notes": notes,
        }

    def _measured_s(self, intervals: Sequence[_engine.Interval], response: bytes, timed_out: bool) -> float:
        """The time over which the measured requests were due: seconds in which none was count too.

        A closed loop has no schedule, and took the time that its users took: at least that of one answer.
        """
        if not intervals or self.totals is None:
            return 0.0
        if self.order.window:
            took_ns = self.totals.last_due_ns - self._t0_ns - self.order.warmup_s * 1_000_000_000
            longest_ns = self.order.timeout_ms * 1_000_000 if timed_out else _engine.hdr_quantiles(response, [1.0])[0]
            return round(max(took_ns, longest_ns) / 1e9, 6)
        if self.order.measure_s is not None:
            return self.order.measure_s
        return max(i.second for i in intervals) + 1 - self.order.warmup_s

    def _wall_s(self) -> float:
        """Measured seconds that have begun."""
        return max((s.second + 1 for s in self._seconds), default=0) - self.order.warmup_s

    def _tokens(self, intervals: Sequence[_engine.Interval], seconds: float) -> dict[str, Any]:
        """Figures of streamed answers, where there are any."""
        streamed = [i for i in intervals if i.ttft]
        if not streamed:
            return {}
        tokens = sum(i.output_tokens for i in streamed)
        figures = {f"{kind}_us": _quantiles_us(_merged(streamed, kind), 0) for kind in _TOKEN_KINDS}
        return {**figures, "output_tokens": tokens, "output_tokens_per_s": round(tokens / seconds, 3) if seconds else 0.0}

    def _kernel(self) -> dict[str, Any]:
        """What the kernel's own stamps say of the way to it and back, where they were asked for; null: it gave none."""
        if not self.order.kernel_stamps:
            return {}
        found: dict[str, Any] = {}
        for kind in ("kernel_sent", "kernel_read"):
            blobs = [blob for s in self._seconds if (blob := getattr(s, kind)) and _engine.hdr_count(blob)]
            middles = sorted(_engine.hdr_quantiles(blob, [0.5])[0] / 1000 for blob in blobs)
            found[f"{kind}_p50_us"] = middles[len(middles) // 2] if middles else None
        return {**found, "kernel_stamps": sum(_engine.hdr_count(s.kernel_sent) for s in self._seconds if s.kernel_sent)}

    def merged(self, kind: str) -> bytes:
        """One histogram of the measured seconds, HdrHistogram V2."""
        return _merged(self.measured(), kind)

    def spectrum(self) -> dict[str, dict[str, float | None]]:
        """slip, service, response at p50 to the maximum, microseconds."""
        timed_out = sum(i.timed_out for i in self.measured())
        measured = self.measured()
        kinds = [*_KINDS, *(kind for kind in _TOKEN_KINDS if any(getattr(i, kind) for i in measured))]
        return {kind: _quantiles_us(self.merged(kind), timed_out if kind == "response" else 0, tuple(QUANTILES)) for kind in kinds}

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
            gap_ks=[ks for s in walls if (ks := gap_ks(s)) is not None and _engine.hdr_count(s.gap_sent) >= _LEAST_GAPS],
        )
        return selfcheck.judge(
            scheduled=scheduled,
            sent_late_by_us=ends["dropped"] + ends["unsent"] + errors.get("stopped", 0),
            slip_p99_ns=_engine.hdr_quantiles(slip, [0.99])[0] if _engine.hdr_count(slip) else None,
            slip_p99_by_second_ns=slips,
            engine=figures,
            feed_starved=self.totals.feed_starved if self.totals is not None else 0,
            gates=self.order.gates,
            timed_out=ends["timed_out"],
        )


def gap_ks(second: _engine.EngineSecond) -> float | None:
    """How far the gaps between requests, as they left, are from those of the schedule; None in a closed loop."""
    return _engine.hdr_ks(second.gap_due, second.gap_sent, selfcheck.GAP_FLOOR_NS) if second.gap_due else None


def outcome(scheduled: int, completed: int) -> str:
    """What the system did: half of the requests answered is the least that counts as functioning."""
    return "functions" if scheduled and completed >= 0.5 * scheduled else "fails"


def _merged(intervals: Sequence[_engine.Interval], kind: str) -> bytes:
    return _engine.hdr_merge([blob for i in intervals if (blob := getattr(i, kind))])


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
