"""Scrapes Prometheus endpoints while a trial runs and hands back the samples as one table.

For looking and for efficiency; latencies of the scores come from HDR histograms, never from here. A failed scrape is a row
`up` 0 and nothing else: a gap, never a zero.
"""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

import pyarrow as pa
from prometheus_client.parser import text_string_to_metric_families

from protos.records import METRICS

_MOST_BYTES = 8 << 20
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a lab's http_proxy must not see loopback


class Scraper:
    """Scrapes `targets` (instance name -> URL) every `interval_s` from start() to stop()."""

    def __init__(self, targets: Mapping[str, str], interval_s: float = 1.0, timeout_s: float = 0.8) -> None:
        self._targets = dict(targets)
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._rows: list[tuple[int, int, str, str, list[tuple[str, str]], float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="scrape", daemon=True)

    def start(self) -> None:
        if self._targets:
            self._thread.start()

    def stop(self, t0_mono_ns: int | None) -> pa.Table:
        """Ends the scraping; `second` in the table counts from `t0_mono_ns` of this process's monotonic clock."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(self._timeout_s * (len(self._targets) + 1))
        rows = list(self._rows)
        columns = {
            "t_ns": [r[0] for r in rows],
            "second": [None if t0_mono_ns is None else (r[1] - t0_mono_ns) / 1e9 for r in rows],
            "instance": [r[2] for r in rows],
            "name": [r[3] for r in rows],
            "labels": [r[4] for r in rows],
            "value": [r[5] for r in rows],
        }
        return pa.table(columns, schema=METRICS)

    def _loop(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            for instance, url in self._targets.items():
                self._scrape(instance, url)
            due = max(due + self._interval_s, time.monotonic())
            self._ended.wait(max(0.0, due - time.monotonic()))

    def _scrape(self, instance: str, url: str) -> None:
        now_ns, mono_ns = time.time_ns(), time.monotonic_ns()
        found: list[tuple[int, int, str, str, list[tuple[str, str]], float]] = []
        up = 1.0
        try:
            with _opener.open(url, timeout=self._timeout_s) as answer:
                text = answer.read(_MOST_BYTES).decode("utf-8")
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    labels = sorted(sample.labels.items())
                    found.append((now_ns, mono_ns, instance, sample.name, labels, float(sample.value)))
        except (OSError, urllib.error.URLError, ValueError):
            found, up = [], 0.0
        self._rows.append((now_ns, mono_ns, instance, "up", [], up))
        self._rows += found
