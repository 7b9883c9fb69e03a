"""`python -m agent.targets resp`: the built-in systems under test, each in a process of its own.

Prints one line, `ready PORT`, once it listens. Ends on SIGTERM or SIGINT, or when the process that gave it a pipe as standard
input closes it (`--until-stdin-closes`).
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=["resp"], help="resp: a key-value store that speaks RESP")
    parser.add_argument("--mode", choices=["spin", "block"], default="block", help="spin: own a core; block: sleep in epoll")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (default)")
    parser.add_argument("--core", type=int, help="spin only: the core that it takes for its own")
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


def run(args: argparse.Namespace) -> int:
    from agent import _engine

    def ready(port: int) -> None:
        print(f"ready {port}", flush=True)

    try:
        _engine.serve_resp(
            host=args.host,
            port=args.port,
            mode=args.mode,
            core=args.core if args.mode == "spin" else None,
            stop_fd=stop_descriptor(args.until_stdin_closes),
            ready=ready,
        )
    except OSError as error:
        print(
            f"offspec: error: target {args.name}: {error.strerror or error}; give another --port or --core",
            file=sys.stderr,
        )
        return 4
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.targets", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
