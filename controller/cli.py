"""The command `offspec`: arguments, exit codes, and which module does the work. Nothing heavy is imported before it is needed,
so that --help and a typing error answer at once. Node-local commands run as a process of their own (`agent.cli`)."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from traces.errors import OffspecError

NODE_COMMANDS = {
    "replay": "replay one trace against one server, as one would use wrk",
    "capacity": "find the highest rate that a server takes within an objective",
    "trace": "import, describe and list traces",
    "inject": "apply one violation to this machine for a while, under the guard",
    "undo": "undo whatever a dead agent left on this machine",
    "doctor": "what this machine can do and cannot do, and what to install",
    "target": "run a built-in system with known behaviour",
}

_EXITS = """exit codes: 0 done and objectives held; 1 internal error; 2 usage; 3 campaign or trace invalid; 4 preflight failed;
10 objective not held; 11 no data; 12 measurement invalid; 13 some trials without a valid attempt; 20 safety stop;
30 out of reach; 31 refused; 124 time budget; 130 interrupted, resumable. Data goes to stdout, progress and errors to stderr."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="offspec",
        description="Run a system off its spec, and see what is left of its optimisation.",
        epilog=_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"offspec {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    demo = command("demo", "the main job on this machine, in about two minutes, with a report")
    plan = command(
        "plan",
        "show trials, order, nodes, refusals and the time a campaign will take; starts nothing on the system",
    )
    run = command("run", "run a campaign")
    resume = command("resume", "finish a run that was interrupted; repeats only what is unfinished")
    report = command("report", "rebuild the report of a run")
    schema = command("schema", "print the JSON Schema of the campaign document, for editors")
    for sub in (plan, run):
        sub.add_argument("campaign", help="campaign document (YAML)")
    for sub in (resume, report):
        sub.add_argument("run", help="a run's folder, its name, or `last`")
    plan.add_argument(
        "--offline", action="store_true", help="do not start agents: check document and trace, and plan without looking at the nodes"
    )
    for sub in (demo, plan, run, resume):
        _fleet_arguments(sub)
    for sub in (demo, run, resume, report, plan):
        sub.add_argument("--runs", default="runs", metavar="DIR", help="where runs are kept (default: %(default)s)")
        sub.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    for sub in (demo, run, resume):
        sub.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    schema.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    for name, text in NODE_COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def _fleet_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fleet",
        default="embedded",
        metavar="MODE",
        help="embedded: a Ray of our own on this machine (default); ray[:ADDRESS]: a running Ray cluster; "
        "static:N: wait for N agents started by hand",
    )
    parser.add_argument(
        "--listen",
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help="where agents dial (default: %(default)s)",
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("offspec")
    except PackageNotFoundError:
        return "unknown (not installed)"


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; never raises for what a user can cause."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in NODE_COMMANDS:
        os.execv(sys.executable, [sys.executable, "-m", "agent.cli", *words])
    args = _parser().parse_args(words)
    try:
        return _dispatch(args)
    except OffspecError as error:
        print(f"offspec: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("offspec: interrupted before anything was started", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our stdout went away (| head): not an error; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(args: argparse.Namespace) -> int:
    if args.command == "schema":
        from controller.schema import campaign_schema

        print(json.dumps(campaign_schema(), indent=2))
        return 0
    from controller import campaign_run
    from controller.exits import HELD, NOT_HELD, PARTIAL

    runs = Path(args.runs)
    if args.command == "report":
        return campaign_run.rebuild_report(args.run, runs, as_json=args.json)
    options = campaign_run.Options(
        runs=runs,
        fleet=args.fleet,
        listen=args.listen,
        as_json=args.json,
        quiet=getattr(args, "quiet", False),
    )
    if args.command == "plan":
        return campaign_run.show_plan(Path(args.campaign), options, offline=args.offline)
    if args.command == "resume":
        return campaign_run.resume(args.run, options)
    if args.command == "run":
        return campaign_run.start(Path(args.campaign), options)
    code = campaign_run.start(Path(__file__).with_name("demo.yaml"), options)
    if code in (NOT_HELD, PARTIAL):
        print("offspec: this machine was too busy for some of the demo's trials: their reasons stand in the report", file=sys.stderr)
        return HELD
    return code


if __name__ == "__main__":
    sys.exit(main())
