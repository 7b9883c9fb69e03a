"""/metrics of an agent: Prometheus text on loopback, in a thread of its own. For looking; scores never come from here.

Histograms are classic, with log-spaced buckets that are the same in every agent, so that they add up exactly by `le`.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from agent import _engine

BUCKETS_S = tuple(10e-6 * 10 ** (i / 8) for i in range(49))
"""10 us to 10 s, eight a decade."""
_HISTOGRAMS = {
    "slip": ("offspec_send_lag_seconds", "Our own lateness: from due and free to go to sent"),
    "service": ("offspec_service_time_seconds", "From sent to done"),
    "response": ("offspec_response_time_seconds", "From due to done"),
}


class Figures:
    """What the agent has to say now; written by the trial, read by the scrape."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: dict[str, Any] = {}

    def set(self, **figures: Any) -> None:
        with self._lock:
            self._now.update(figures)

    def read(self) -> Mapping[str, Any]:
        with self._lock:
            return dict(self._now)


class _AgentCollector(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        now = self._figures.read()
        yield InfoMetricFamily("offspec_build", "Version of this agent", {"version": _engine.__version__})
        yield InfoMetricFamily("offspec_trial", "The attempt that this agent works on", {"attempt": now.get("attempt", "")})
        replay = now.get("replay")
        if replay is not None:
            yield from _replay(replay.counts())
        asked = GaugeMetricFamily("offspec_dose_requested", "Dose asked for", labels=["violation", "unit"])
        given = GaugeMetricFamily("offspec_dose_delivered", "Dose given in the last second", labels=["violation", "unit"])
        for dose in now["doses"]() if now.get("doses") else ():
            asked.add_metric([dose["violation"], dose["unit"]], dose["asked"])
            if dose["given"] is not None:
                given.add_metric([dose["violation"], dose["unit"]], dose["given"])
        yield asked
        yield given
        target = now.get("target")
        if target is not None:
            cpu_ns = target.usage_ns()
            if cpu_ns is not None:
                cpu = CounterMetricFamily("offspec_target_cpu_seconds", "CPU time of the system under test")
                cpu.add_metric([], cpu_ns / 1e9)
                yield cpu
            yield GaugeMetricFamily(
                "offspec_target_resident_memory_bytes",
                "Memory of the system under test",
                value=target.resident_bytes(),
            )
        dirty = float(bool(now.get("dirty", False)))
        yield GaugeMetricFamily("offspec_host_dirty", "1: something was left behind after a trial, and no other begins", value=dirty)
        if "lease_left_s" in now:
            left = now["lease_left_s"]()
            yield GaugeMetricFamily("offspec_lease_remaining_seconds", "Until this agent undoes everything by itself", value=left)


def _replay(counts: Mapping[str, Any]) -> Iterable[Metric]:
    for name in ("scheduled", "sent", "completed"):
        family = CounterMetricFamily(f"offspec_requests_{name}", f"Requests {name} in this attempt")
        family.add_metric([], counts.get(name, 0))
        yield family
    failed = CounterMetricFamily("offspec_requests_failed", "Requests without an answer, by cause", labels=["kind"])
    causes = {**counts["errors"], **{k: counts.get(k, 0) for k in ("timed_out", "dropped", "unsent")}}
    for kind, n in causes.items():
        failed.add_metric([kind], n)
    yield failed
    yield GaugeMetricFamily("offspec_inflight_requests", "Requests under way", value=counts["inflight"])
    intervals = counts["intervals"]
    if not intervals:
        return
    for kind, (name, text) in _HISTOGRAMS.items():
        merged = _engine.hdr_merge([getattr(i, kind) for i in intervals])
        below = _engine.hdr_counts_below(merged, [round(b * 1e9) for b in BUCKETS_S])
        total = _engine.hdr_count(merged)
        buckets = [(f"{b:.6g}", n) for b, n in zip(BUCKETS_S, below, strict=True)] + [("+Inf", total)]
        histogram = HistogramMetricFamily(name, text)
        histogram.add_metric([], buckets, _engine.hdr_mean(merged) * total / 1e9)
        yield histogram


def serve(figures: Figures, host: str = "127.0.0.1") -> tuple[str, WSGIServer]:
    """Starts serving; returns the URL."""
    registry = CollectorRegistry()
    registry.register(_AgentCollector(figures))
    server, _ = start_http_server(0, addr=host, registry=registry)
    return f"http://{host}:{server.server_port}/metrics", server
