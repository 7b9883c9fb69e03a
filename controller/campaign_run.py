"""From a document on the command line to a finished run's report: opens things in the right order and closes them in the
reverse, however it ends. The only place that knows fleet, link, journal, runner and report at once."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from controller import exits
from controller.campaign import Campaign, load_campaign
from controller.fleet import FleetOptions, make_fleet
from controller.journal import Journal
from controller.link import LinkServer
from controller.placement import NodeInfo
from controller.plan import Plan, make_plan, placed_again
from controller.plan_text import notes, plan_text
from controller.progress import Progress, human_duration
from controller.runner import Runner
from controller.store import RunFolder, write_whole
from controller.versions import versions
from controller.workload_distance import off_nominal
from controller.workloads import check_trace, compile_all, doses_amiss
from protos.offspec.v1 import agent_link_pb2 as pb
from traces.errors import Interrupted, InvalidInput, PreflightFailed
from traces.projection import DRIVER_KINDS
from traces.scratch import scratch

T = TypeVar("T")

_ATTACH_S = 60.0
_PROBE_MS = 20_000


def state_dir() -> Path:
    """Where agents of an embedded fleet keep undo journals: one place a machine, so that any later agent finds what is left."""
    if given := os.environ.get("OFFSPEC_STATE_DIR"):
        return Path(given)
    return Path("/var/lib/offspec") if os.geteuid() == 0 else Path.home() / ".local/state/offspec"


@dataclass(frozen=True)
class Options:
    """What the command line says about how to run, not what to run."""

    runs: Path
    fleet: str = "embedded"
    listen: str = "127.0.0.1:0"
    as_json: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class _Cluster:
    """Attached agents and what they said of their nodes."""

    link: LinkServer
    nodes: tuple[NodeInfo, ...]
    fingerprints: Mapping[str, Any]


def start(document: Path, options: Options) -> int:
    """A new run of a campaign document; returns the exit code."""
    campaign = load_campaign(document)
    return asyncio.run(_interruptible(_start(campaign, document, options)))


def resume(named: str, options: Options) -> int:
    """Finishes a run: the same plan, minus what has ended."""
    folder = RunFolder.open(named, options.runs)
    campaign = _campaign_of(folder)
    return asyncio.run(_interruptible(_resume(campaign, folder, options)))


def _campaign_of(folder: RunFolder) -> Campaign:
    """The run's own copy of its document; its paths are relative to where it came from."""
    return load_campaign(folder.campaign_file, Path(folder.read_json("origin.json")["folder"]))


def show_plan(document: Path, options: Options, *, offline: bool) -> int:
    campaign = load_campaign(document)
    check_trace(campaign, document)
    plan = make_plan(campaign, None) if offline else asyncio.run(_interruptible(_plan(campaign, options)))
    print(json.dumps(plan.to_json(), indent=2) if options.as_json else plan_text(plan))
    return 0


def rebuild_report(named: str, runs: Path, *, as_json: bool) -> int:
    folder = RunFolder.open(named, runs)
    campaign = _campaign_of(folder)
    with Journal.open(folder.journal, read_only=True) as journal:
        return _report(campaign, folder, journal, as_json=as_json)


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Ctrl-C and SIGTERM cancel the work once, so that it can undo; a second one is left to the guard."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        print(
            "\noffspec: interrupted: undoing and keeping what was measured (again to leave it to the guard)",
            file=sys.stderr,
        )
        task.cancel()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)

    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        raise Interrupted("interrupted before the first trial; nothing to resume") from None


async def _start(campaign: Campaign, document: Path, options: Options) -> int:
    await asyncio.to_thread(check_trace, campaign, document)
    folder = RunFolder.create(options.runs, campaign.campaign)
    try:
        return await _first_time(campaign, document, folder, options)
    except PreflightFailed:
        if not folder.journal.exists():
            shutil.rmtree(folder.path)  # nothing was begun, so there is nothing to keep
        raise


async def _first_time(campaign: Campaign, document: Path, folder: RunFolder, options: Options) -> int:
    async with _cluster(campaign, options, folder.logs) as cluster:
        plan = make_plan(campaign, cluster.nodes)
        write_whole(folder.campaign_file, document.read_bytes())
        folder.write_json(
            "origin.json", {"document": str(document.resolve()), "folder": str(document.resolve().parent), "signals": campaign.signals}
        )
        folder.write_json("plan.json", plan.to_json())
        folder.write_json("nodes.json", cluster.fingerprints)
        folder.write_json("versions.json", versions())
        with Journal.create(folder.journal, plan) as journal:
            return await _run(campaign, plan, folder, journal, cluster, options)


async def _resume(campaign: Campaign, folder: RunFolder, options: Options) -> int:
    plan = Plan.from_json(folder.read_json("plan.json"))
    was = folder.read_json("origin.json").get("signals", {})
    if other := [name for name, digest in campaign.signals.items() if was.get(name, digest) != digest]:
        raise InvalidInput(
            f"{Path(campaign.folder) / other[0]}: its content differs from the signal that this run's doses followed so far; "
            "restore it, or start a new run with `offspec run`"
        )
    if plan.spec_hash != campaign.spec_hash:
        raise InvalidInput(
            f"{folder.campaign_file}: its content differs from what this run was planned for; "
            "restore it, or start a new run with `offspec run`"
        )
    with Journal.open(folder.journal) as journal:
        if not journal.unfinished():
            return _report(campaign, folder, journal, as_json=options.as_json)
        async with _cluster(campaign, options, folder.logs) as cluster:
            placed = placed_again(plan, campaign, cluster.nodes, journal.unfinished())
            folder.write_json("nodes.json", cluster.fingerprints)
            return await _run(campaign, placed, folder, journal, cluster, options)


async def _plan(campaign: Campaign, options: Options) -> Plan:
    with scratch("plan") as logs:
        async with _cluster(campaign, options, logs, measure_floor=False) as cluster:
            return make_plan(campaign, cluster.nodes)


async def _run(campaign: Campaign, plan: Plan, folder: RunFolder, journal: Journal, cluster: _Cluster, options: Options) -> int:
    _say(
        options,
        f"{campaign.campaign}: {len(plan.trials)} trials, about {human_duration(plan.eta_s)}; {folder.path}",
    )
    for text in notes(plan):
        _say(options, f"  {text}")
    workloads = await asyncio.to_thread(compile_all, campaign, plan, folder.traces)
    for text in dict.fromkeys(note for made in workloads.values() for note in made.notes):
        _say(options, f"  trace: {text}")
    distances = await asyncio.to_thread(off_nominal, plan.trials, workloads)
    for condition, each in distances.items():
        for violation, said in each.items():
            _say(options, f"  {condition}: {violation} takes the workload this far from nominal: {said['words']}")
    for text in await asyncio.to_thread(doses_amiss, workloads, plan):
        _say(options, f"  {text}")
    for made in workloads.values():
        cluster.link.offer_trace(made.sha256, made.path)
    cluster.link.artifact_path = folder.artifact
    progress = Progress(len(plan.trials), len(plan.trials) - len(journal.unfinished()), plan.trial_s, quiet=options.quiet)
    runner = Runner(
        campaign=campaign,
        plan=plan,
        folder=folder,
        journal=journal,
        link=cluster.link,
        workloads=workloads,
        off_nominal=distances,
        progress=progress,
    )
    cluster.link.on_telemetry = progress.telemetry
    interrupted = False
    try:
        await runner.run()
    except asyncio.CancelledError:
        interrupted = True
    finally:
        progress.close()
    code = _report(campaign, folder, journal, as_json=options.as_json)
    if interrupted:
        print(
            f"offspec: interrupted; what was measured is kept. Go on with: offspec resume {folder.path}",
            file=sys.stderr,
        )
        return Interrupted.exit_code
    return code


@asynccontextmanager
async def _cluster(campaign: Campaign, options: Options, logs: Path, *, measure_floor: bool = True) -> AsyncIterator[_Cluster]:
    """Agents attached and probed, with the noise floor of their load generators unless there will be no load.

    On leaving, agents and fleet are ended, also when the fleet came up only in part.
    """
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInput(f"--listen {options.listen}: expected HOST:PORT, such as 127.0.0.1:0")
    fleet = make_fleet(options.fleet)
    link = LinkServer()
    bound = await link.start(host, int(port))
    logs.mkdir(parents=True, exist_ok=True)
    try:
        _say(options, f"starting agents ({options.fleet})")
        given = FleetOptions(
            address=f"{host}:{bound}",
            state_dir=state_dir(),
            log_dir=logs,
            housekeeping=campaign.nodes.load.cores,
        )
        count = await fleet.start(link, given)
        sessions = await link.wait_for(count, _ATTACH_S)
        asking = _floor_probe(campaign) if measure_floor else pb.Probe()
        asked = (s.command(asking, attempt="probe", epoch=0, timeout_ms=_PROBE_MS) for s in sessions)
        probes = await asyncio.gather(*asked)
        nodes = tuple(NodeInfo.from_probe(s.agent, p) for s, p in zip(sessions, probes, strict=True))
        yield _Cluster(link, nodes, {s.agent: p for s, p in zip(sessions, probes, strict=True)})
    finally:
        await asyncio.shield(_close(fleet, link))


def _floor_probe(campaign: Campaign) -> pb.Probe:
    """Asks for the noise floor of the kind of driver that the campaign's systems have."""
    by_python = any(system.driver not in DRIVER_KINDS for system in campaign.systems.values())
    return pb.Probe(load_cores=campaign.nodes.load.cores, connections=campaign.workload.connections, by_python=by_python)


async def _close(fleet: Any, link: LinkServer) -> None:
    try:
        await fleet.stop()
    finally:
        await link.stop()


def _report(campaign: Campaign, folder: RunFolder, journal: Journal, *, as_json: bool) -> int:
    """Scores what there is, writes the report, prints it, and says by the exit code what it is worth."""
    from controller.analysis.document import build_document
    from controller.report import write_report
    from controller.report.terminal import render_terminal

    document = build_document(
        run=folder.run,
        campaign=campaign.campaign,
        records=journal.records(),
        run_dir=folder.path,
        objectives=campaign.objectives,
        design=campaign.design,
        looks=journal.looks(),
        falls_back=campaign.system.falls_back,
    )
    code = exits.exit_code(document, campaign.objectives, journal.planned())
    written = write_report(
        folder.path,
        document,
        journal.records(),
        nodes=folder.read_json("nodes.json"),
        versions=folder.read_json("versions.json"),
        events=journal.events(),
    )
    if as_json:
        print(json.dumps(document, indent=1))
    else:
        print(render_terminal(document))
        print(f"report: {written.resolve()}")
        print(f"look further: offspec report {folder.path} --json   or any Parquet reader on {folder.path}/intervals")
    return code


def _say(options: Options, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)
