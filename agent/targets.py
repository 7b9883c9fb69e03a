"""`python -m agent.targets NAME`: the built-in systems under test, each in a process of its own.

Prints one line, `ready PORT`, once it listens. Ends on SIGTERM or SIGINT, or when the process that gave it a pipe as standard
input closes it (`--until-stdin-closes`). A target with a service time then prints one JSON line: what its queue really did.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence

from agent.arguments import OneLineParser
from traces.errors import InvalidInput, UsageError
from traces.quantities import parse_duration, parse_size

Law = tuple[str, list[float]]

_KINDS = ["echo", "udp-echo", "resp", "http"]
_SERVICES = "0, constant:200us, exponential:200us, bimodal:0.9:50us:1ms or request"
_MOST_BODY_BYTES = 16 << 20
_TOLD_BYTES = 8

_EPILOG = """All connections feed one queue, first come first served by one server; a service is a busy loop of exactly the time drawn, and
reading and writing come on top. So with Poisson arrivals constant is an M/D/1, exponential an M/M/1 and bimodal an M/G/1 queue.
With `--service request` each request tells its own time (0 where it tells none, at most 60 s): http by service_us=N in its target
(GET /?service_us=200), resp by service_us=N in its key (GET key?service_us=200), echo and udp-echo by their first 8 bytes,
little-endian nanoseconds. At its end the target prints one JSON line: jobs, busy_mean_ns and busy_second_moment_ns2 (E[S] and
E[S^2], reading and writing included), drawn_mean_ns (of the law alone), connections, and first_ns and last_ns (CLOCK_MONOTONIC).
A stall begins once the request in service is done. resp without --service and --stall is the plain store: no queue, no JSON line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "name",
        choices=_KINDS,
        help="echo: TCP, gives back what it gets; udp-echo: each datagram; resp: a key-value store that speaks RESP; http: 200 for all",
    )
    parser.add_argument("--mode", choices=["spin", "block"], default="block", help="spin: never sleep; block: sleep in epoll (default)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (default)")
    parser.add_argument("--core", type=int, help="the core to be pinned to (default: none)")
    parser.add_argument("--service", metavar="LAW", help=f"service time of a request: {_SERVICES} (default: 0; resp: no queue)")
    parser.add_argument("--seed", type=int, default=0, help="of the law's draws (default: 0)")
    parser.add_argument(
        "--stall",
        metavar="AFTER:FOR",
        action="append",
        default=[],
        help="serve nothing for a while, so long after the first request: 2s:1s; may be repeated",
    )
    parser.add_argument("--frame-bytes", metavar="SIZE", help="echo: a request is so many bytes (default: whatever has arrived at once)")
    parser.add_argument("--body-bytes", metavar="SIZE", help="http: length of the answer's body (default: 128)")
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def stop_descriptor(until_stdin_closes: bool) -> int:
    """A descriptor that becomes readable when this process is to stop."""
    if until_stdin_closes:
        return sys.stdin.fileno()
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for each in (signal.SIGTERM, signal.SIGINT):
        # The handler does nothing: the byte that the wakeup descriptor gets is what stops the server.
        signal.signal(each, lambda number, frame: None)
    return read


def _service(text: str) -> Law:
    """The law and its parameters in nanoseconds. Raises UsageError."""
    name, *rest = text.split(":")
    try:
        match name, rest:
            case "0", []:
                return "constant", [0.0]
            case (("constant" | "exponential"), [time]):
                return name, [float(parse_duration(time))]
            case "bimodal", [share, low, high] if 0.0 <= float(share) <= 1.0:
                return name, [float(share), float(parse_duration(low)), float(parse_duration(high))]
            case "request", []:
                return name, []
    except (InvalidInput, ValueError) as error:
        raise UsageError(f"--service {text}: {error}; expected {_SERVICES}") from None
    raise UsageError(f"--service {text}: expected {_SERVICES}")


def _stall(text: str) -> tuple[int, int]:
    """Nanoseconds (after the first request, for). Raises UsageError."""
    expected = "expected AFTER:FOR such as 2s:1s"
    after, colon, lasts = text.partition(":")
    if not colon:
        raise UsageError(f"--stall {text}: {expected}")
    try:
        return parse_duration(after), parse_duration(lasts)
    except InvalidInput as error:
        raise UsageError(f"--stall {text}: {error}; {expected}") from None


def _bytes(flag: str, text: str | None, default: int, least: int, most: int) -> int:
    if text is None:
        return default
    try:
        value = parse_size(text)
    except InvalidInput as error:
        raise UsageError(f"{flag} {text}: {error}") from None
    if not least <= value <= most:
        raise UsageError(f"{flag} {text}: expected {least} to {most} bytes")
    return value


def _within(flag: str, value: int, most: int) -> int:
    if not 0 <= value <= most:
        raise UsageError(f"{flag} {value}: expected 0 to {most}")
    return value


def _frame_bytes(args: argparse.Namespace, law: Law | None) -> int:
    if args.frame_bytes is not None and args.name != "echo":
        raise UsageError(f"--frame-bytes: {args.name} marks its requests itself; give it with echo only")
    frame = _bytes("--frame-bytes", args.frame_bytes, 0, 1, 1 << 24)
    if args.name == "echo" and law is not None and law != ("constant", [0.0]) and frame == 0:
        raise UsageError("--service: echo is a stream without requests of its own; say how long one is with --frame-bytes")
    if args.name == "echo" and law == ("request", []) and frame < _TOLD_BYTES:
        raise UsageError(f"--frame-bytes {frame}: a request that tells its service time has {_TOLD_BYTES} bytes or more")
    return frame


def run(args: argparse.Namespace) -> int:
    """Serves until stopped. Raises UsageError for arguments that cannot be."""
    law = None if args.service is None else _service(args.service)
    stalls = [_stall(text) for text in args.stall]
    if law is None and (args.name != "resp" or stalls):
        law = ("constant", [0.0])
    if args.body_bytes is not None and args.name != "http":
        raise UsageError(f"--body-bytes: {args.name} has no body of a length of its own; give it with http only")
    port = _within("--port", args.port, 65_535)
    core = None if args.core is None else _within("--core", args.core, 1023)
    seed = _within("--seed", args.seed, 2**64 - 1)
    frame_bytes = _frame_bytes(args, law)
    body_bytes = _bytes("--body-bytes", args.body_bytes, 128, 0, _MOST_BODY_BYTES)

    from agent import _engine

    def ready(port: int) -> None:
        print(f"ready {port}", flush=True)

    try:
        truth = _engine.serve(
            kind=args.name,
            host=args.host,
            port=port,
            mode=args.mode,
            core=core,
            stop_fd=stop_descriptor(args.until_stdin_closes),
            ready=ready,
            service=law,
            seed=seed,
            stalls=stalls,
            frame_bytes=frame_bytes,
            body_bytes=body_bytes,
        )
    except OSError as error:
        print(
            f"offspec: error: target {args.name}: {error.strerror or error}; give another --port or --core",
            file=sys.stderr,
        )
        return 4
    if law is not None:
        print(json.dumps(truth), flush=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = OneLineParser(prog="python -m agent.targets", description=__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except UsageError as error:
        print(f"offspec: error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
