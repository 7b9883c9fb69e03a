"""`offspec capacity TRACE URL --objective 'response_p99 < 2ms'`: the highest rate that a server takes within an objective."""

import argparse
import json
import sys

from agent.load_arguments import add_load_arguments, load_of, rate_of, run_until_interrupted, whole_seconds
from traces.errors import MeasurementInvalid, UsageError
from traces.scratch import scratch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_load_arguments(parser)
    parser.add_argument(
        "--objective", action="append", default=[], metavar="BOUND", required=True, help="such as 'response_p99 < 2ms'; repeatable"
    )
    parser.add_argument("--for", dest="duration", default="5s", metavar="TIME", help="of one probe (default: %(default)s)")
    parser.add_argument("--from", dest="start", default="1000/s", metavar="RATE", help="the first rate tried (default: %(default)s)")
    parser.add_argument("--to", dest="most", default="1000000/s", metavar="RATE", help="the highest rate tried (default: %(default)s)")
    parser.add_argument("--resolution", type=float, default=0.02, metavar="SHARE", help="of the rate (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Exit code 10 where not even a thousandth of the first rate holds, 12 where the generator, not the server, is the limit."""
    from agent.capacity import Probe, search
    from agent.objectives import missed, parse_objective
    from agent.replay import Replay, ReplayOrder
    from traces.compiled import shard_batches

    objectives = [parse_objective(text) for text in args.objective]
    measure_s, warmup_s = whole_seconds(args.duration, "--for", 1), whole_seconds(args.warmup, "--warmup", 0)
    start, most = rate_of(args.start, "--from"), rate_of(args.most, "--to")
    if start is None or most is None or start > most:
        raise UsageError(f"--from {args.start} --to {args.most}: expected the lower rate first")
    if not 0.001 <= args.resolution <= 0.5:
        raise UsageError(f"--resolution {args.resolution}: expected 0.001 to 0.5")
    load = load_of(args, warmup_s, lambda **given: ReplayOrder(**given))
    preloaded = False

    def probe(rate: float) -> Probe:
        nonlocal preloaded
        with scratch("capacity") as folder:
            made = load.compiled(warmup_s + measure_s, rate, folder)
            if args.preload and not preloaded:
                load.preload(made.path)
                preloaded = True
            replay = Replay(load.order)
            replay.arm()
            if (interrupted := run_until_interrupted(replay, shard_batches(made.path))) is not None:
                raise interrupted
        summary = replay.summary()
        misses = missed(summary, objectives)
        late = summary["verdict"] == "invalid"
        why = "; ".join(summary["reasons"]) if late else "; ".join(misses)
        found = Probe(rate, not misses and not late, why, {"verdict": summary["verdict"], "response_us": summary["response_us"]})
        if not args.quiet:
            words = "holds" if found.holds else "the generator was late" if late else "does not hold"
            print(f"{rate:>12,.0f}/s  {words}{': ' + why if why else ''}", file=sys.stderr, flush=True)
        return found

    found = search(probe, start, most, args.resolution)
    generator = [p for p in found.probes if p.summary["verdict"] == "invalid"]
    if args.json:
        document = {
            "rate_per_s": found.rate_per_s,
            "at_least": found.at_least,
            "limited_by_generator": bool(generator) and not any(p.summary["verdict"] != "invalid" and not p.holds for p in found.probes),
            "objectives": args.objective,
            "probes": [{"rate_per_s": p.rate_per_s, "holds": p.holds, "why": p.why, **p.summary} for p in found.probes],
        }
        print(json.dumps(document, indent=1))
    elif found.rate_per_s is not None:
        print(f"{args.url}: {'at least ' if found.at_least else ''}{found.rate_per_s:,.0f}/s within {' and '.join(args.objective)}")
    if found.rate_per_s is None:
        print(f"offspec: no rate down to {start / 1024:,.0f}/s holds {' and '.join(args.objective)}", file=sys.stderr)
        return 10
    if generator and not any(p.summary["verdict"] != "invalid" and not p.holds for p in found.probes):
        raise MeasurementInvalid(
            f"{args.url}: the generator, not the server, is the limit at {found.rate_per_s:,.0f}/s: {generator[-1].why}; give it more cores"
        )
    return 0
