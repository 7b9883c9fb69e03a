"""`offspec replay TRACE URL`: the campaign's engine as a command, against one server."""

import argparse
import ipaddress
import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from traces.errors import InvalidInput, UsageError

_PORTS = {"redis": 6379, "http": 80}
_LEAD_NS = 200_000_000
_QUIET_LIMIT_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="a trace file, or a synthesis such as poisson:50000,keys=1000,get=0.9")
    parser.add_argument("url", metavar="URL", help="redis://HOST:PORT, http://HOST:PORT/PATH or tcp://HOST:PORT")
    parser.add_argument("--rate", help="replay at this mean rate, such as 20000/s, by speeding the trace up or down")
    parser.add_argument("--for", dest="duration", default="10s", metavar="TIME", help="measured time (default: %(default)s)")
    parser.add_argument("--warmup", default="0s", metavar="TIME", help="before it, not counted (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--cores", default="", metavar="LIST", help="pin one engine thread to each, such as 1 or 2,3 (default: unpinned)")
    parser.add_argument("--timeout", default="1s", metavar="TIME", help="of one request, from when it was due (default: %(default)s)")
    parser.add_argument("--late", choices=["send", "drop", "abort"], default="send", help="what to do with a late request")
    parser.add_argument("--preload", action="store_true", help="store every key of the trace first")
    parser.add_argument("--format", help="the trace's format, where the content does not tell")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the format; repeatable")
    parser.add_argument("--spread", choices=["poisson", "equidistant", "start"], help="how to spread stamps that are too coarse")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--objective", action="append", default=[], metavar="BOUND", help="such as 'response_p99 < 2ms'; repeatable")
    parser.add_argument("--hdr", type=Path, metavar="FILE", help="write the response histogram (HdrHistogram V2)")
    parser.add_argument("--yes", action="store_true", help="load a server that is not on this machine")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="no live line")


def _seconds(text: str, flag: str, least: int) -> int:
    from traces.quantities import parse_duration

    try:
        nanoseconds = parse_duration(text, flag)
    except InvalidInput as error:
        raise UsageError(str(error)) from None
    if nanoseconds % 1_000_000_000 or nanoseconds < least * 1_000_000_000:
        raise UsageError(f"{flag} {text}: figures are kept by the second; give whole seconds, at least {least}s")
    return nanoseconds // 1_000_000_000


def _address(url: str, yes: bool) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("redis", "http", "tcp") or not parts.hostname or not port:
        raise UsageError(f"{url}: expected redis://HOST:PORT, http://HOST:PORT/PATH or tcp://HOST:PORT")
    if not _loopback(parts.hostname) and not yes:
        raise UsageError(f"{url}: not on this machine; a replay can take a server down: say --yes if it is yours to load")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, parts.hostname, port, path


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _cores(text: str) -> tuple[int, ...]:
    if text and not re.fullmatch(r"\d+(,\d+)*", text):
        raise UsageError(f"--cores {text}: expected core numbers, such as 1 or 2,3")
    return tuple(int(part) for part in text.split(",") if part)


def run(args: argparse.Namespace) -> int:
    from agent.objectives import missed, parse_objective
    from agent.replay import Replay, ReplayOrder
    from agent.trace_command import options_of
    from traces.compile import compile_workload
    from traces.compiled import preload_rows, shard_batches
    from traces.quantities import parse_duration, parse_rate
    from traces.source import open_trace

    driver, host, port, path = _address(args.url, args.yes)
    objectives = [parse_objective(text) for text in args.objective]
    measure_s, warmup_s = _seconds(args.duration, "--for", 1), _seconds(args.warmup, "--warmup", 0)
    if args.connections < 1:
        raise UsageError(f"--connections {args.connections}: expected 1 or more")
    try:
        timeout_ms = max(1, parse_duration(args.timeout, "--timeout") // 1_000_000)
        rate = None if args.rate is None else parse_rate(args.rate, "--rate")
    except InvalidInput as error:
        raise UsageError(str(error)) from None
    order = ReplayOrder(driver, host, port, path, _cores(args.cores), args.connections, timeout_ms, args.late, warmup_s)
    trace = open_trace(args.trace, format=args.format, options=options_of(args.option), seed=args.seed)
    with tempfile.TemporaryDirectory(prefix="offspec-replay-") as folder:
        made = compile_workload(
            trace,
            [],
            driver=driver,
            duration_ns=(warmup_s + measure_s) * 1_000_000_000,
            out_dir=Path(folder),
            rate_per_s=rate,
            seed=args.seed,
            spread=args.spread,
            rate_over="replayed",
        )
        for note in () if args.quiet else made.notes:
            print(f"trace: {note}", file=sys.stderr)
        if args.preload:
            loader = Replay(ReplayOrder(driver, host, port, path, order.cores, timeout_ms=30_000, window=64))
            loader.arm()
            loader.run(preload_rows(made.path).to_reader(), time.monotonic_ns())
        live = _LiveLine(warmup_s + measure_s, args.quiet)
        replay = Replay(order, on_live=live)
        replay.arm()
        interrupted = _run(replay, shard_batches(made.path))
        live.close()
    summary = replay.summary()
    if args.hdr is not None:
        args.hdr.write_bytes(replay.merged("response"))
    misses = missed(summary, objectives)
    if args.json:
        print(json.dumps(summary, indent=1))
    else:
        print(_text(summary, replay.spectrum(), args.url))
    for text in misses:
        print(f"offspec: objective not held: {text}", file=sys.stderr)
    if interrupted:
        return 130
    if summary["scheduled"] == 0 or summary["completed"] == 0:
        return 11
    if summary["verdict"] == "invalid":
        return 12
    return 10 if misses else 0


def _run(replay: Any, rows: Any) -> bool:
    """The engine on a thread, so that Ctrl-C is heard; true if it was."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            replay.run(rows, time.monotonic_ns() + _LEAD_NS)
        except InvalidInput as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="replay")
    thread.start()
    interrupted = False
    while thread.is_alive():
        try:
            thread.join(0.2)
        except KeyboardInterrupt:
            interrupted = True
            replay.stop()
    if failed:
        raise failed[0]
    return interrupted


class _LiveLine:
    """One second as it closes: rewritten on a terminal, else a line every 10 % or 30 s."""

    def __init__(self, total_s: int, quiet: bool) -> None:
        self._total_s = total_s
        self._quiet = quiet
        self._tty = sys.stderr.isatty()
        self._every = max(1, total_s // 10)
        self._last = 0.0

    def __call__(self, live: Any) -> None:
        if self._quiet:
            return
        line = (
            f"{live.second + 1:>4}/{self._total_s} s  due {live.scheduled:>8,}  done {live.completed:>8,}  lost {live.failed:>6,}  "
            f"slip p99 {live.slip_p99_ns / 1e3:>7.0f} us  response p50 {live.response_p50_ns / 1e3:>7.0f} us  "
            f"p99 {live.response_p99_ns / 1e3:>8.0f} us"
        )
        if self._tty:
            print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)
        elif (live.second + 1) % self._every == 0 or time.monotonic() - self._last > _QUIET_LIMIT_S:
            print(line, file=sys.stderr, flush=True)
            self._last = time.monotonic()

    def close(self) -> None:
        if self._tty and not self._quiet:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _text(summary: Mapping[str, Any], spectrum: Mapping[str, Mapping[str, float | None]], url: str) -> str:
    """The summary for a person."""
    lines = [f"{url}: {summary['scheduled']:,} requests due in {summary['seconds']} s ({summary['rate_due_per_s']:,.0f}/s)", ""]
    names = list(next(iter(spectrum.values())))
    lines.append("us".ljust(10) + "".join(name.replace("_", ".").rjust(12) for name in names))
    for kind, values in spectrum.items():
        cells = ("-" if v is None else f"{v:,.1f}" for v in values.values())
        lines.append(kind.ljust(10) + "".join(cell.rjust(12) for cell in cells))
    lines.append("")
    ends = {"completed": summary["completed"], **summary["errors"]}
    ends |= {name: summary[name] for name in ("timed_out", "dropped", "unsent") if summary[name]}
    lines.append("ends      " + ", ".join(f"{name} {n:,}" for name, n in ends.items()))
    lines.append(f"verdict   {summary['verdict']}" + (f": {'; '.join(summary['reasons'])}" if summary["reasons"] else ""))
    lines.append(f"outcome   {summary['outcome']}" + (", saturated: requests piled up" if summary["saturated"] else ""))
    lines += [f"note      {note}" for note in summary["notes"]]
    return "\n".join(lines)
