"""`python -m agent.antagonists cpu | membw`: one neighbour with a known demand, in a process of its own.

Its dose is held by the cgroup around it (cpu) or by its own pace (membw). Ends on SIGTERM or SIGINT.
"""

import argparse
import sys
from collections.abc import Sequence

from agent.targets import stop_descriptor

_LARGER_THAN_CACHES = 256 << 20


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.antagonists", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    cpu = kinds.add_parser("cpu", help="spin with integer work")
    cpu.add_argument("--core", type=int)
    membw = kinds.add_parser("membw", help="stream through memory at a pace")
    membw.add_argument("--gbps", type=float, required=True, help="1e9 bytes per second; 0: as fast as it goes")
    membw.add_argument("--threads", type=int, default=1)
    membw.add_argument("--buffer-bytes", type=int, default=_LARGER_THAN_CACHES)
    membw.add_argument("--counter", required=True, help="file for the 8-byte count of bytes moved")
    args = parser.parse_args(argv)

    from agent import _engine

    stop_fd = stop_descriptor(until_stdin_closes=False)
    if args.kind == "cpu":
        _engine.antagonist_cpu(core=args.core, stop_fd=stop_fd)
    else:
        _engine.antagonist_membw(
            gb_per_s=args.gbps,
            threads=args.threads,
            buffer_bytes=args.buffer_bytes,
            counter_path=args.counter,
            stop_fd=stop_fd,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
