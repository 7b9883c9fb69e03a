"""What `offspec replay` and `offspec capacity` have in common: which trace, against which server, by which means."""

import argparse
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from agent.arguments import seed
from traces.errors import InvalidInput, OutOfReach, UsageError

NS_PER_S = 1_000_000_000
PRELOAD_WINDOW = 64
_LONGEST_TIMEOUT_NS = 3600 * NS_PER_S
_LEAD_NS = 200_000_000
_PRELOAD_TIMEOUT_MS = 30_000
_FILES_BESIDE = 256
"""Open files of a replay that are no connections: libraries, the trace, epoll, logs; generously."""


def add_load_arguments(parser: argparse.ArgumentParser) -> None:
    from agent.endpoint import EXAMPLES, schemes
    from agent.transform_arguments import add_transform_arguments

    parser.add_argument("trace", metavar="TRACE", help="a trace file, or a synthesis such as poisson:50000,keys=1000,get=0.9")
    parser.add_argument("url", metavar="URL", help=f"{EXAMPLES}; schemes: {', '.join(schemes())}")
    parser.add_argument("--warmup", default="0s", metavar="TIME", help="before what is measured (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=8, help="in all; of a cluster to each server (default: %(default)s)")
    parser.add_argument(
        "--pipeline",
        type=int,
        metavar="N",
        help="most requests under way on one connection (default: 1 for http and openai, else 1024: what is due together leaves together)",
    )
    parser.add_argument("--cores", default="", metavar="LIST", help="pin one engine thread to each, such as 1 or 2,3 (default: unpinned)")
    parser.add_argument("--timeout", default="1s", metavar="TIME", help="of one request, from when it was due (default: %(default)s)")
    parser.add_argument("--preload", action="store_true", help="store every key of the trace first")
    parser.add_argument("--with", dest="driver_options", action="append", default=[], metavar="NAME=VALUE", help="an option of the driver")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="of HTTP, gRPC and the like; repeatable")
    parser.add_argument("--ca", metavar="FILE", help="believe these certificate authorities (PEM) instead of the system's")
    parser.add_argument("--insecure", action="store_true", help="believe any certificate")
    parser.add_argument("--cluster", action="store_true", help="redis: the server is one of a cluster; load all of it")
    parser.add_argument("--format", help="the trace's format, where the content does not tell")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the format; repeatable")
    add_transform_arguments(parser, "those of the source's time first, then of pace, then all others")
    parser.add_argument("--spread", choices=["poisson", "equidistant", "start"], help="how to spread stamps that are too coarse")
    parser.add_argument("--seed", type=seed, default=1)
    parser.add_argument("--yes", action="store_true", help="load a server that is not on this machine; write over a file or device")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="no live line")


def duration_ns(text: str, flag: str) -> int:
    from traces.quantities import parse_duration

    try:
        return parse_duration(text, flag)
    except InvalidInput as error:
        raise UsageError(str(error)) from None


def whole_seconds(text: str, flag: str, least: int) -> int:
    nanoseconds = duration_ns(text, flag)
    if nanoseconds % NS_PER_S or nanoseconds < least * NS_PER_S:
        raise UsageError(f"{flag} {text}: figures are kept by the second; give whole seconds, at least {least}s")
    return nanoseconds // NS_PER_S


def _whole_ms(text: str, flag: str) -> int:
    nanoseconds = duration_ns(text, flag)
    if nanoseconds % 1_000_000 or not 1_000_000 <= nanoseconds <= _LONGEST_TIMEOUT_NS:
        raise UsageError(f"{flag} {text}: expected whole milliseconds, from 1ms to 1h")
    return nanoseconds // 1_000_000


def rate_of(text: str | None, flag: str = "--rate") -> float | None:
    from traces.quantities import parse_rate

    try:
        return None if text is None else parse_rate(text, flag)
    except InvalidInput as error:
        raise UsageError(str(error)) from None


def cores_of(text: str) -> tuple[int, ...]:
    if text and not re.fullmatch(r"\d+(,\d+)*", text):
        raise UsageError(f"--cores {text}: expected core numbers, such as 1 or 2,3")
    cores = tuple(int(part) for part in text.split(",") if part)
    if len(set(cores)) < len(cores):
        raise UsageError(f"--cores {text}: expected each core once: threads that share one would wait for each other")
    return cores


@dataclass(frozen=True)
class Load:
    """A trace and the way to replay it; makes replays of any part of it."""

    args: argparse.Namespace
    order: Any
    trace: Any
    transforms: Any
    quiet: bool

    def compiled(self, seconds: int, rate_per_s: float | None, folder: Path) -> Any:
        from traces.compile import compile_workload

        made = compile_workload(
            self.trace,
            self.transforms,
            driver=self.order.endpoint.driver,
            duration_ns=seconds * NS_PER_S,
            out_dir=folder,
            rate_per_s=rate_per_s,
            seed=self.args.seed,
            spread=self.args.spread,
            rate_over="replayed",
        )
        for note in () if self.quiet else made.notes:
            print(f"trace: {note}", file=sys.stderr)
        return made

    def preload(self, path: Path) -> None:
        """Stores every key. Raises OutOfReach where that fails."""
        import dataclasses

        from agent.replay import Replay
        from traces.compiled import preload_rows

        order = dataclasses.replace(
            self.order, timeout_ms=_PRELOAD_TIMEOUT_MS, window=PRELOAD_WINDOW, pipeline=None, warmup_s=0, think_us=0, late="send"
        )
        rows = preload_rows(path)
        loader = Replay(order)
        loader.arm()
        loader.run(rows.to_reader(), time.monotonic_ns())
        done = loader.counts().get("completed", 0)
        if done != rows.num_rows:
            raise OutOfReach(f"{self.args.url}: --preload: {done} of {rows.num_rows} keys were stored; errors {loader.counts()['errors']}")


def _allow_files(connections: int) -> None:
    """Raises this process's limit of open files to what the connections need, or UsageError where that is not allowed."""
    wanted = connections + _FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, soft) and wanted > soft:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and wanted > soft:
        most = soft - _FILES_BESIDE
        remedy = f"ask for at most {most}, or raise ulimit -n" if most > 0 else f"raise ulimit -n to {wanted} or more"
        raise UsageError(f"--connections {connections}: this process may open {soft} files; {remedy}")


def load_of(args: argparse.Namespace, warmup_s: int, make_order: Callable[..., Any]) -> Load:
    """`make_order` takes the fields of a ReplayOrder. Raises UsageError, InvalidInput, OutOfReach."""
    from agent.cluster import discover
    from agent.endpoint import TRUST_ANYBODY, parse_endpoint
    from agent.trace_verbs._opening import options_of
    from agent.transform_arguments import transforms_of
    from traces.source import open_trace

    if args.insecure and args.ca:
        raise UsageError("--insecure --ca: give one of them")
    endpoint = parse_endpoint(args.url, args.driver_options, args.header, TRUST_ANYBODY if args.insecure else args.ca)
    if endpoint.in_engine and not endpoint.is_harmless() and not args.yes:
        if endpoint.driver == "block":
            raise UsageError(
                f"{args.url}: is there already, and writes would destroy it: --with access=ro reads only; say --yes if it may go"
            )
        raise UsageError(f"{args.url}: not on this machine; a replay can take a server down: say --yes if it is yours to load")
    if args.connections < 1:
        raise UsageError(f"--connections {args.connections}: expected 1 or more")
    _allow_files(args.connections)
    if args.pipeline is not None and args.pipeline < 1:
        raise UsageError(f"--pipeline {args.pipeline}: expected 1 or more")
    if args.cluster and endpoint.driver != "redis":
        raise UsageError("--cluster: only redis has one")
    order = make_order(
        endpoint=endpoint,
        cores=cores_of(args.cores),
        connections=args.connections,
        pipeline=args.pipeline,
        timeout_ms=_whole_ms(args.timeout, "--timeout"),
        warmup_s=warmup_s,
        cluster=discover(endpoint) if args.cluster else None,
        seed=args.seed,
    )
    trace = open_trace(args.trace, format=args.format, options=options_of(args.option), seed=args.seed)
    return Load(args, order, trace, transforms_of(args), args.quiet)


def run_until_interrupted(replay: Any, rows: Any) -> KeyboardInterrupt | None:
    """The engine on a thread, so that Ctrl-C and SIGTERM are heard while it runs; what their handler raised is returned. Raises what the
    engine does.

    The handlers are replaced meanwhile: an exception that a signal raises between any two steps of this thread, as between the start of the
    other one and the wait for it, would leave the engine running with nobody to stop it.
    """
    failed: list[BaseException] = []
    heard: list[KeyboardInterrupt] = []
    ended = threading.Event()

    def work() -> None:
        try:
            replay.run(rows, time.monotonic_ns() + _LEAD_NS)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            failed.append(error)
        finally:
            ended.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hear(number: int, frame: FrameType | None) -> None:
        try:
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
        except KeyboardInterrupt as interrupt:
            heard.append(interrupt)
            replay.stop()

    here = threading.current_thread() is threading.main_thread()
    heeded = [number for number, handler in before.items() if here and callable(handler)]
    try:
        for number in heeded:
            signal.signal(number, hear)
        threading.Thread(target=work, name="replay").start()
        ended.wait()
    finally:
        for number in heeded:
            signal.signal(number, before[number])
    if failed:
        raise failed[0]
    return heard[0] if heard else None
