"""`offspec inject`: one violation on this node, by hand, under the same guard as a campaign's."""

import argparse
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from agent import inventory, policy, quarantine
from agent.dose import DoseWatch, within
from agent.ledger import Ledger, work_folder
from agent.scope import Cgroups
from agent.undo import FAILED, default_state_dir, replay_leftovers
from agent.violations import Context, Varying, registry
from protos.dose_profiles import BadProfile, profile_of
from protos.profile import Profile
from protos.topology import PLACES
from protos.violation_options import WrongOption, options_of
from protos.violations import CATALOGUE, ViolationSpec
from traces.errors import InvalidInput, PreflightFailed, SafetyStop, UsageError
from traces.quantities import parse_duration, parse_quantity, seconds_of

_LONGEST_S = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    able = [n for n, spec in CATALOGUE.items() if spec.axis == "sharing"]
    parser.add_argument("violation", metavar="VIOLATION", help=f"one of {', '.join(able)}")
    parser.add_argument(
        "--dose",
        required=True,
        help="how much, in the violation's unit, such as 50 or 50%% or '1 GB/s'; "
        "over time as in a campaign, such as '{ramp: [0, 100], over: 10s}'",
    )
    parser.add_argument("--for", dest="duration", required=True, metavar="TIME", help="how long, such as 60s; always undone then")
    parser.add_argument("--core", type=int, default=0, help="the core that the neighbour is to share (default: %(default)s)")
    parser.add_argument("--place", choices=PLACES, help="where, seen from that core")
    parser.add_argument("--weight", type=int, help="cpu: 1024 is an ordinary neighbour; default: firm, gets its dose in any case")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the violation's own (docs/violations.md); may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def parse_dose(name: str, text: str) -> tuple[ViolationSpec, float]:
    """A dose in the catalogue's unit. Raises UsageError, one line."""
    spec = CATALOGUE.get(name)
    if spec is None or spec.axis != "sharing":
        able = ", ".join(n for n, s in CATALOGUE.items() if s.axis == "sharing")
        raise UsageError(f"inject {name}: not a violation that stands alone; there are {able}")
    try:
        value, unit = parse_quantity(text)
    except InvalidInput:
        raise UsageError(f"--dose {text}: not a number; give one in {spec.unit}") from None
    factor = 1.0 if unit in ("", spec.unit) else spec.aliases.get(unit)
    if factor is None:
        raise UsageError(f"--dose {text}: unit {unit!r} is unknown for {name}; use {spec.unit}")
    if not spec.low <= value * factor <= spec.high:
        raise UsageError(f"--dose {text}: out of range; give {spec.low:g} to {spec.high:g} {spec.unit}")
    return spec, value * factor


def parse_profile(name: str, text: str) -> tuple[ViolationSpec, Profile]:
    """A dose over time, as a campaign writes it; a signal's path is relative to where we are. Raises UsageError, one line."""
    spec, _ = parse_dose(name, f"{CATALOGUE[name].low:g}" if name in CATALOGUE else "0")
    if not spec.varies:
        raise UsageError(f"--dose {text}: the dose of {name} cannot change while it is in force; give one number")
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError:
        raw = None
    if not isinstance(raw, dict):
        raise UsageError(f"--dose {text}: expected a number, or a dose over time such as {{ramp: [0, 100], over: 10s}}")
    try:
        return spec, profile_of(raw, lambda dose: parse_dose(name, str(dose))[1], seconds_of, Path())
    except BadProfile as error:
        raise UsageError(f"--dose: {f'{error.at}: ' if error.at else ''}{error}") from None


def parse_options(spec: ViolationSpec, args: argparse.Namespace) -> dict[str, str]:
    """What --place, --weight and --option say. Raises UsageError, one line."""
    given: dict[str, Any] = {name: value for name in ("place", "weight") if (value := getattr(args, name)) is not None}
    for text in args.option:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--option {text}: give NAME=VALUE")
        try:
            number = float(value)
            given[name] = int(number) if number.is_integer() else number
        except ValueError:
            given[name] = value
    try:
        return options_of(spec, given)
    except WrongOption as error:
        raise UsageError(f"inject {spec.name}: {f'{error.key}: ' if error.key else ''}{error}") from None


def run(args: argparse.Namespace) -> int:
    profile = None
    if args.dose.lstrip().startswith("{"):
        spec, profile = parse_profile(args.violation, args.dose)
        dose = profile.most
    else:
        spec, dose = parse_dose(args.violation, args.dose)
    options = parse_options(spec, args)
    try:
        seconds = parse_duration(args.duration, "--for") / 1e9
    except InvalidInput as error:
        raise UsageError(str(error)) from None
    if not 0 < seconds <= _LONGEST_S:
        raise UsageError(f"--for {args.duration}: give more than 0s and at most 24h")
    rules = policy.enforce(spec.name, dose, seconds)
    cores = tuple(policy.cores_of(inventory.cores()))
    if args.core not in cores:
        raise UsageError(f"--core {args.core}: this node has, and its policy allows, cores {', '.join(map(str, cores))}")
    cgroups = Cgroups()
    able = registry()[spec.name].probe(cgroups, len(cores))
    if not able.supported:
        raise PreflightFailed(f"inject {spec.name}: {able.reason}")
    if able.max_dose is not None and dose > able.max_dose:
        raise PreflightFailed(f"inject {spec.name}: {dose:g} {spec.unit} asked, this node gives at most {able.max_dose:g}")
    state_dir = default_state_dir()
    if (held := quarantine.of(state_dir)) is not None:
        raise PreflightFailed(f"inject {spec.name}: this node is quarantined: {held}")
    replay_leftovers(state_dir)
    ended = threading.Event()
    heard: list[int] = []

    def end(number: int, frame: object) -> None:
        heard.append(number)
        ended.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)
    ledger = Ledger(state_dir)
    watch = DoseWatch()
    given: list[dict[str, Any]] = []
    result: dict[str, int] = {}
    try:
        # Whatever becomes of us, the guard takes it back a second after its time.
        ledger.end_at(time.clock_gettime(time.CLOCK_BOOTTIME) + seconds + 1)
        folder, _ = work_folder(ledger, state_dir / "work" / f"inject-{ledger.lease}")
        context = Context(ledger, cgroups, (args.core,), cores, folder)
        with ledger.ending(rules.time_for(spec.name)):
            applied = registry()[spec.name].apply(dose, options, context)
        if profile is not None:
            if not isinstance(applied, Varying):
                applied.undo()
                raise PreflightFailed(f"inject {spec.name}: a dose over time cannot be given by {applied.mechanism}, which the node has")
            applied.set(profile.at(0))
        watch.add(spec, dose, applied, profile)
        begun = looked = time.monotonic()
        watch.measure(applied)
        watch.set_t0(time.monotonic_ns())
        while not ended.wait(min(1.0, max(0.0, begun + seconds - time.monotonic()))):
            if time.monotonic() - begun >= seconds and len(given) >= int(seconds):
                break
            reading, now = watch.measure(applied), time.monotonic()
            due = dose if profile is None else profile.mean(looked - begun, now - begun)
            looked = now
            given.append({"second": len(given), "asked": due, "given": reading.given, "source": reading.source})
            shown = "unreadable" if reading.given is None else f"{reading.given:.4g}"
            print(f"{len(given):>5} s  {spec.name} asked {due:.4g} {spec.unit}, given {shown}", file=sys.stderr, flush=True)
            if not ledger.guarded:
                raise SafetyStop("guard: it ended, so the violation is undone now")
            if time.monotonic() - begun >= seconds:
                break
    finally:
        watch.undo()
        result = ledger.close()
    known = [g["given"] for g in given if g["given"] is not None]
    right = sum(within(spec, g["asked"], g["given"]) for g in given)
    coverage = right / len(given) if given else 0.0
    document = {
        "violation": spec.name,
        "unit": spec.unit,
        "asked": dose,
        "profile": None if profile is None else json.loads(profile.to_json()),
        "mechanism": applied.mechanism,
        "fidelity": applied.fidelity,
        "measured": sum(known) / len(known) if known else None,
        "coverage": coverage,
        "verdict": "inconclusive" if not known else "confirmed" if coverage >= 0.9 else "partial" if coverage >= 0.5 else "mismatch",
        "seconds": given,
        "undone": result.get(FAILED, 0) == 0,
        "interrupted": bool(heard),
    }
    if args.json:
        print(json.dumps(document, indent=1))
    else:
        mean = "-" if document["measured"] is None else f"{document['measured']:.4g}"
        most = "" if profile is None else "at most "
        cut = f"interrupted after {len(given)} s of {seconds:g} s, until then " if heard else ""
        end_words = "undone" if document["undone"] else "NOT undone: offspec undo --all, and offspec doctor says what is left"
        print(f"{spec.name}: {cut}asked {most}{dose:g} {spec.unit}, given {mean} on average, {document['verdict']}; {end_words}")
    if not document["undone"]:
        return SafetyStop.exit_code
    return 128 + heard[0] if heard else 0
