"""Make a trace from laws or published statistics, and write it as canonical Parquet; --list says what there is."""

import argparse
import json
from typing import Any

from agent.arguments import seed
from traces.errors import UsageError

HELP = "make a trace from laws or published statistics"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", nargs="?", help="what to make, such as gamma:5000,cv=4,keys=1000,zipf=0.99,for=60s (--list)")
    parser.add_argument("out", nargs="?", help="the Parquet file to write, or an object's address")
    parser.add_argument("--list", action="store_true", help="list laws and workloads, their parameters with units, and examples")
    parser.add_argument("--seed", type=seed, default=0, help="for a spec that names none (default 0)")


def run(args: argparse.Namespace) -> int:
    if args.list:
        return _list(args.json)
    if not args.spec or not args.out:
        raise UsageError(
            "trace synth: expected a spec and a file, such as poisson:1000,for=10s made.parquet; trace synth --list says what there is"
        )
    from agent.trace_verbs._writing import written_trace
    from traces.errors import InvalidInput
    from traces.synthesis import synthesis

    trace = synthesis(args.spec, args.seed)
    if not trace.bounded:
        raise InvalidInput(f"{args.spec}: it has no end; expected a length; add ,for=10s or ,rows=N")
    return written_trace(trace, args.out, args.json, expand_seed=trace.meta.expand_seed, about=dict(trace.meta.import_args))


def _list(as_json: bool) -> int:
    from traces.synthesis.listing import listing

    known = listing()
    if as_json:
        print(json.dumps(known, indent=1))
        return 0
    print("A spec is HEAD:ARGUMENT,name=value,... A bare rate is per second.\n")
    print("Laws of arrivals: the head, then parameters of requests on keys")
    for law in known["arrivals"]:
        _print_head(law)
    print("\nWorkloads that have a name")
    for workload in known["workloads"]:
        _print_head(workload)
        if workload["takes_parameters_of_requests"]:
            print("      and the parameters of requests on keys, which override what is published")
    print("\nRequests on keys")
    _print_parameters(known["requests"], "  ")
    print("\nLaws of sizes (size, key_bytes, prompt, output, system)")
    for law in known["sizes"]:
        print(f"  {law['form']:<32} {law['what']}; for example {law['example']}")
    return 0


def _print_head(each: dict[str, Any]) -> None:
    print(f"  {each['head']:<14} {each['what']}")
    _print_parameters(each["parameters"], "      ")
    print(f"      for example {each['example']}")


def _print_parameters(parameters: list[dict[str, str]], indent: str) -> None:
    for each in parameters:
        default = f" (default {each['default']})" if each["default"] else ""
        print(f"{indent}{each['example']:<28} {each['what']}: {each['expected']}{default}")
