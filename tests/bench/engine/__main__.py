"""`python -m tests.bench.engine`: runs the races and writes what came of them. Ends 0 whatever the figures are."""

import argparse
import dataclasses
import datetime
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.engine import servers, table
from tests.bench.engine.contestant import GENERATOR_CORE, SERVER_CORE
from tests.bench.engine.machine import ROOT, commit, machine, steal_s
from tests.bench.engine.race import Plan, Race, Result, run
from tests.bench.engine.subjects import feed, http, redis, tcp, trace

SUBJECTS = {"http": http, "redis": redis, "tcp": tcp, "trace": trace, "feed": feed}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engine", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each run (default 2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(SUBJECTS), help="of " + ",".join(SUBJECTS))
    parser.add_argument("--setting", default="", help="only races in whose name this stands, such as '8 connections'")
    parser.add_argument("--without", default="", help="contestants in whose name one of these stands, such as Locust,hey")
    parser.add_argument("--long", action="store_true", help="60 s of TCP, 100 M rows of feed")
    parser.add_argument("--repeats", type=int, default=2, help="of a measurement that others disturbed (default 2)")
    parser.add_argument("--minutes", type=float, default=120, help="begin nothing after this long (default 120)")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "bench-engine.json")
    parser.add_argument("--markdown", type=Path, default=ROOT / "docs" / "bench-engine.md")
    return parser


def _without(race: Race, names: str) -> Race:
    """The race less some contestants; its first one, with which ratios are formed, stays."""
    left_out = [name for name in names.split(",") if name]
    stays = [c for at, c in enumerate(race.contestants) if at == 0 or not any(name in c.name for name in left_out)]
    return dataclasses.replace(race, contestants=stays, paced=[c for c in race.paced if not any(name in c.name for name in left_out)])


def main() -> int:
    parser = arguments()
    args = parser.parse_args()
    only = args.only.split(",")
    if unknown := [name for name in only if name not in SUBJECTS]:
        parser.error(f"--only: {', '.join(unknown)} is unknown; expected {', '.join(SUBJECTS)}")
    if args.rounds < 1 or args.seconds < 1:
        parser.error("--rounds and --seconds: expected at least 1")
    if not {SERVER_CORE, GENERATOR_CORE} <= os.sched_getaffinity(0):
        print("offspec: bench: wants cores 0 and 1: the server on one, the generator on the other; skipped", file=sys.stderr)
        return 0
    # Ended from outside, it must leave its `with`s, and so its servers.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    plan = Plan(args.rounds, args.seconds, args.seed, args.long, args.repeats, time.monotonic() + args.minutes * 60, say)
    before, results = steal_s(), list[Result]()
    with tempfile.TemporaryDirectory(prefix="offspec-bench-") as folder:
        for name in SUBJECTS:
            if name in only:
                races = [race for race in SUBJECTS[name].races(plan, Path(folder)) if args.setting in f"{race.subject}, {race.setting}"]
                results += [run(_without(race, args.without), plan) for race in races]
    told = table.document(
        results,
        {
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "commit": commit(),
            "rounds": args.rounds,
            "seconds": args.seconds,
            "seed": args.seed,
            "machine": machine(before),
            "servers": {"nginx": servers.nginx_version(), "redis": servers.redis_version()},
        },
    )
    args.json.write_text(json.dumps(told, indent=1) + "\n")
    args.markdown.write_text(table.markdown(told))
    print(table.markdown(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
