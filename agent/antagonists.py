"""`python -m agent.antagonists cpu`, or `paced ORDER`: one neighbour with a known demand, in a process of its own.

The dose of `cpu` is held by the cgroup around it, the others' by their own pace. ORDER is the arguments of _engine.antagonist_paced as a
JSON object. Ends on SIGTERM or SIGINT; what keeps it from starting is one line on stderr.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from agent.targets import stop_descriptor


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.antagonists", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    cpu = kinds.add_parser("cpu", help="spin with integer work")
    cpu.add_argument("--core", type=int)
    kinds.add_parser("paced", help="paced work of one kind").add_argument("order", type=json.loads)
    args = parser.parse_args(argv)

    from agent import _engine

    stop_fd = stop_descriptor(until_stdin_closes=False)
    try:
        if args.kind == "cpu":
            _engine.antagonist_cpu(core=args.core, stop_fd=stop_fd)
        else:
            _engine.antagonist_paced(**args.order, stop_fd=stop_fd)
    except (OSError, ValueError) as error:
        print(error.strerror if isinstance(error, OSError) and error.strerror else error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
