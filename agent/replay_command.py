"""`offspec replay TRACE URL`: the campaign's engine as a command, against one server."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.load_arguments import add_load_arguments, duration_ns, load_of, rate_of, run_until_interrupted, whole_seconds
from traces.errors import OutOfReach, UsageError
from traces.scratch import scratch

_QUIET_LIMIT_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_load_arguments(parser)
    parser.add_argument("--rate", help="replay at this mean rate, such as 20000/s, by speeding the trace up or down")
    parser.add_argument("--for", dest="duration", default="10s", metavar="TIME", help="measured time (default: %(default)s)")
    parser.add_argument("--late", choices=["send", "drop", "abort"], default="send", help="what to do with a late request")
    parser.add_argument(
        "--users", type=int, default=0, metavar="N", help="closed loop: N users, each waits for its answer; times are ignored"
    )
    parser.add_argument("--think", default="0s", metavar="TIME", help="users: pause after an answer; exponential:TIME draws it")
    parser.add_argument("--objective", action="append", default=[], metavar="BOUND", help="such as 'response_p99 < 2ms'; repeatable")
    parser.add_argument("--hdr", type=Path, metavar="FILE", help="write the response histogram (HdrHistogram V2)")
    parser.add_argument(
        "--requests", type=Path, metavar="FILE", help="write one row a request (Parquet); costs about 0.5 us of CPU and 15 bytes each"
    )
    parser.add_argument("--kernel-stamps", type=int, default=0, metavar="N", help="TCP: have the kernel stamp one in N writes and reads")
    parser.add_argument("--no-noise-floor", action="store_true", help="do not measure first what the instrument itself adds (1 s)")


def _think(text: str) -> tuple[int, str]:
    law, colon, time_ = text.rpartition(":")
    if colon and law not in ("constant", "exponential"):
        raise UsageError(f"--think {text}: expected TIME, constant:TIME or exponential:TIME")
    return duration_ns(time_, "--think") // 1000, law or "constant"


def run(args: argparse.Namespace) -> int:
    from agent.objectives import missed, parse_objective
    from agent.replay import Replay, ReplayOrder
    from agent.request_log import RequestLog
    from traces.compiled import shard_batches

    objectives = [parse_objective(text) for text in args.objective]
    measure_s, warmup_s = whole_seconds(args.duration, "--for", 1), whole_seconds(args.warmup, "--warmup", 0)
    think_us, think = _think(args.think)
    if args.users < 0 or (think_us and not args.users):
        raise UsageError(f"--users {args.users} --think {args.think}: only users think; expected at least one")
    if args.kernel_stamps < 0:
        raise UsageError(f"--kernel-stamps {args.kernel_stamps}: expected 0 or more")
    if args.hdr is not None and not args.hdr.parent.is_dir():
        raise UsageError(f"--hdr {args.hdr}: no such folder: {args.hdr.parent}; make it first")
    rate = rate_of(args.rate)
    load = load_of(
        args,
        warmup_s,
        lambda **given: ReplayOrder(
            late=args.late,
            measure_s=measure_s,
            window=args.users,
            think_us=think_us,
            think=think,
            kernel_stamps=args.kernel_stamps,
            **given,
        ),
    )
    order = load.order
    with scratch("replay") as folder:
        made = load.compiled(warmup_s + measure_s, rate, folder)
        if args.preload:
            load.preload(made.path)
        floor = None
        if not args.no_noise_floor:
            floor = _noise_floor(order, made.rows / (warmup_s + measure_s))
        live = _LiveLine(warmup_s + measure_s, args.quiet)
        replay = Replay(order, on_live=live, log=_log(args.requests, RequestLog))
        replay.arm()
        interrupted = run_until_interrupted(replay, shard_batches(made.path))
        live.close()
    summary = replay.summary() | ({"noise_floor": floor} if floor else {})
    if args.hdr is not None:
        _write(args.hdr, replay.merged("response"))
    misses = missed(summary, objectives)
    if args.json:
        print(json.dumps(summary, indent=1))
    else:
        print(_text(summary, replay.spectrum(), args.url))
    for text in misses:
        print(f"offspec: objective not held: {text}", file=sys.stderr)
    if interrupted is not None:
        raise interrupted
    if summary["scheduled"] == 0 or summary["completed"] == 0:
        return 11
    if summary["verdict"] == "invalid":
        return 12
    return 10 if misses else 0


def _noise_floor(order: Any, rate_due_per_s: float) -> dict[str, Any] | None:
    """None, and a line that says why, where it cannot be measured: the replay itself may be possible all the same."""
    from agent import noise_floor

    try:
        return noise_floor.measure(order.cores, order.connections, rate_due_per_s, by_python=not order.endpoint.in_engine)
    except OutOfReach as error:
        print(f"offspec: {error}; the replay goes on without it", file=sys.stderr)
        return None


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        # The figures are there; a file that cannot be written must not take them along.
        print(f"offspec: --hdr {path}: not written: {error.strerror}", file=sys.stderr)


def _log(path: Path | None, make: Any) -> Any:
    try:
        return None if path is None else make(path)
    except OSError as error:
        raise UsageError(f"--requests {path}: {error.strerror or error}; give a path that can be written") from None


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
        ) + (f"  {live.verdict}: {', '.join(live.reasons)}" if live.verdict != "valid" else "")
        if self._tty and live.verdict == "valid":
            print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)
        elif self._tty:
            # A second that is in doubt stays on the screen.
            print(f"\r\x1b[2K{line}", file=sys.stderr, flush=True)
        elif (live.second + 1) % self._every == 0 or time.monotonic() - self._last > _QUIET_LIMIT_S:
            print(line, file=sys.stderr, flush=True)
            self._last = time.monotonic()

    def close(self) -> None:
        if self._tty and not self._quiet:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}/s" if per_s >= 100 else f"{per_s:.3g}/s"


def _text(summary: Mapping[str, Any], spectrum: Mapping[str, Mapping[str, float | None]], url: str) -> str:
    """The summary for a person."""
    lines = [f"{url}: {summary['scheduled']:,} requests due in {summary['seconds']:g} s ({_rate(summary['rate_due_per_s'])})", ""]
    names = list(next(iter(spectrum.values())))
    lines.append("us".ljust(10) + "".join(name.replace("_", ".").rjust(12) for name in names))
    for kind, values in spectrum.items():
        cells = ("-" if v is None else f"{v:,.1f}" for v in values.values())
        lines.append(kind.ljust(10) + "".join(cell.rjust(12) for cell in cells))
    lines.append("")
    ends = {"completed": summary["completed"], **summary["errors"]}
    ends |= {name: summary[name] for name in ("timed_out", "dropped", "unsent") if summary[name]}
    lines.append("ends      " + ", ".join(f"{name} {n:,}" for name, n in ends.items()))
    if summary["interrupted"]:
        lines.append("stopped   before its end: what was due from then on is unsent")
    lines.append(f"verdict   {summary['verdict']}" + (f": {'; '.join(summary['reasons'])}" if summary["reasons"] else ""))
    lines.append(f"outcome   {summary['outcome']}" + (", saturated: requests piled up" if summary["saturated"] else ""))
    if "output_tokens" in summary:
        lines.append(f"tokens    {summary['output_tokens']:,} ({summary['output_tokens_per_s']:,.0f}/s)")
    if "kernel_stamps" in summary:
        sent, read = summary["kernel_sent_p50_us"], summary["kernel_read_p50_us"]
        words = f"sent {sent:,.1f} us after ours, read {read:,.1f} us before ours (medians)" if sent and read else "this kernel gave none"
        lines.append(f"kernel    {words}")
    if "noise_floor" in summary:
        floor = summary["noise_floor"]
        by = " asked by Python threads" if floor["by"] == "python" else ""
        figures = ", ".join(f"{k} p50 {floor[f'{k}_us']['p50']:,.1f} p99 {floor[f'{k}_us']['p99']:,.1f}" for k in ("slip", "response"))
        lines.append(f"floor     {figures} us against an echo{by} at {floor['rate_per_s']:,.0f}/s")
    lines += [f"note      {note}" for note in summary["notes"]]
    return "\n".join(lines)
