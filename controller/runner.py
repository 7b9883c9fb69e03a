"""Runs a plan: every trial through its attempts until the journal wants no more of them.

Decides only what to do next; what a measurement is worth is `verdict`'s business, what it means `analysis`'s. Whatever
happens in an attempt, its violations are undone and its system is ended before the next one starts.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from controller.analysis.doses import dose_summaries, workload_dose_summaries
from controller.analysis.sequential import Look, due, look
from controller.analysis.tables import last_samples, read_table
from controller.analysis.trial import trial_entry
from controller.attempts import AttemptRecord
from controller.campaign import NOMINAL, Campaign
from controller.journal import Journal
from controller.link import AgentLost, CommandFailed, LinkServer
from controller.plan import Plan, Trial
from controller.progress import Progress
from controller.scrape import Scraper
from controller.steps import Gathered, Steps
from controller.store import RunFolder, attempt_key
from controller.verdict import Evidence, judge
from controller.workloads import doses_given
from protos.violations import CATALOGUE
from traces.compile import Compiled
from traces.errors import PreflightFailed


class Runner:
    """One run of one plan on agents that are attached already. `workloads` maps a trial's workload key to its trace."""

    def __init__(
        self,
        *,
        campaign: Campaign,
        plan: Plan,
        folder: RunFolder,
        journal: Journal,
        link: LinkServer,
        workloads: Mapping[str, Compiled],
        off_nominal: Mapping[str, Mapping[str, Any]],
        progress: Progress,
    ) -> None:
        self._campaign = campaign
        self._plan = plan
        self._folder = folder
        self._journal = journal
        self._link = link
        self._workloads = workloads
        self._off_nominal = off_nominal
        self._progress = progress
        self._served = {r.variant for r in journal.records() if r.failure_class is None}

    async def run(self) -> None:
        """Until no trial is left, or enough is known. Cancelled, it ends the attempt under way as `cancelled`, undone, and raises."""
        for trial in self._plan.trials:
            begun = False
            while self._journal.wants(trial.id):
                if not begun:
                    self._progress.trial(trial.title)
                    begun = True
                record = await self._attempt(trial)
                self._tell(trial, record)
                if record.failure_class == "spec":
                    self._folder.write_json("stopped.json", {"trial": trial.id, "reason": record.reasons[0]})
                    raise PreflightFailed(f"{self._campaign.system_name}/{trial.variant}: {record.reasons[0]}")
                await asyncio.sleep(self._campaign.phases.cooldown_ms / 1000)
            if await self._enough(trial):
                return

    async def _enough(self, trial: Trial) -> bool:
        """Looks after the last trial of a block whether enough is known. Once for each block, also over a restart."""
        design, block = self._campaign.design, trial.block
        last = max((t for t in self._plan.trials if t.block == block), key=lambda t: t.order)
        if trial.id != last.id or not due(design, block) or any(seen["block"] == block for seen in self._journal.looks()):
            return False
        records = self._journal.records()
        cells = {(t.variant, t.condition) for t in self._plan.trials if t.condition != NOMINAL}
        seen = await asyncio.to_thread(self._seen, records, cells, block)
        self._journal.look(seen.to_json())
        if seen.stop:
            self._progress.say(f"block {block} of {design.blocks}: {seen.metric} is known within {seen.widest:.3g} everywhere: enough")
        else:
            known = "has no interval yet" if seen.widest is None else f"is known within {seen.widest:.3g}"
            self._progress.say(f"block {block} of at most {design.blocks}: {seen.metric} of {seen.where} {known}: going on")
        return seen.stop

    def _seen(self, records: Sequence[AttemptRecord], cells: Collection[tuple[str, str]], block: int) -> Look:
        goodput_us = self._campaign.objectives.goodput_us
        entries = [trial_entry(r, self._folder.path, goodput_us) for r in records if r.block <= block]
        return look(entries, cells, self._campaign.design, block)

    def _tell(self, trial: Trial, record: AttemptRecord) -> None:
        line = f"{record.verdict}, {record.outcome.replace('_', ' ')}"
        if record.reasons:
            line += f" ({'; '.join(record.reasons[:2])})"
        if self._journal.wants(trial.id):
            self._progress.again(f"attempt {record.attempt} {line}: will be repeated")
        else:
            self._progress.ended(line)

    async def _attempt(self, trial: Trial) -> AttemptRecord:
        number, epoch = self._journal.begin_attempt(trial.id)
        begun_unix_ns = time.time_ns()
        steps = Steps(
            campaign=self._campaign,
            trial=trial,
            workload=self._workloads[trial.workload],
            link=self._link,
            journal=self._journal,
            progress=self._progress,
            key=attempt_key(trial.id, number),
            number=number,
            epoch=epoch,
        )
        got = steps.got
        scraper = Scraper(self._scrape_targets(trial))
        interrupted = False
        scraper.start()
        try:
            await steps.all()
        except CommandFailed as error:
            got.failure_class, got.failure = error.failure_class, str(error)
            if got.failure_class == "system" and not self._ever_served(trial, got):
                # Not even unviolated: that is no finding about the system but a campaign that cannot work.
                got.failure_class = "spec"
                got.failure += "; look at its command, or give it more time to be ready"
        except AgentLost as error:
            got.failure_class, got.failure = "infra", str(error)
        except asyncio.CancelledError:
            got.failure_class, got.failure, interrupted = "cancelled", f"interrupted in step {got.step}", True
        finally:
            if got.ready:
                self._served.add(trial.variant)
            await asyncio.shield(steps.clean_up())
        metrics = await asyncio.to_thread(scraper.stop, got.t0_mono_ns)
        if metrics.num_rows:
            self._folder.write_table(steps.key, "controller", "metrics", metrics)
        record = self._record(trial, number, begun_unix_ns, got)
        self._journal.end_attempt(record)
        if interrupted:
            raise asyncio.CancelledError
        return record

    def _ever_served(self, trial: Trial, got: Gathered) -> bool:
        """Whether the variant became ready, in this attempt or before. What a violation keeps from starting is a result."""
        violated = any(CATALOGUE[v.name].stage in ("deploy", "place") for v in trial.violations)
        return violated or bool(got.ready) or trial.variant in self._served

    def _scrape_targets(self, trial: Trial) -> dict[str, str]:
        urls = {}
        for name in (trial.target_agent, *trial.load_agents):
            session = self._link.agents.get(name)
            if session is not None and session.metrics_url:
                urls[name] = session.metrics_url
        return urls | self._campaign.exporters()

    def _record(self, trial: Trial, number: int, begun_unix_ns: int, got: Gathered) -> AttemptRecord:
        phases = self._campaign.phases
        target = got.finished.get(trial.target_agent, {}).get("target", {})
        self_check = {a: f["summary"] for a, f in got.finished.items() if "summary" in f}
        workload_doses = doses_given(self._workloads, trial)
        judged = judge(
            Evidence(
                self_check=self_check,
                target=target,
                child=got.deployed.get("child", {}),
                doses=[
                    *dose_summaries(self._folder.path, trial.id, number, phases.warmup_s, phases.measure_s),
                    *workload_dose_summaries(trial.violations, workload_doses),
                ],
                dose_gate=self._campaign.gates.dose.value,
                foreign_gate=self._campaign.gates.foreign.value,
                failure_class=got.failure_class,
                failure=got.failure,
                step=got.step,
                not_cleaned=tuple(got.not_cleaned),
                cleanup=got.cleanup,
                ready_s=got.ready.get("ready_s"),
                signs=self._campaign.system.falls_back,
                log=self._folder.read_log(trial.id, number, trial.target_agent),
                metrics=last_samples(read_table(self._folder.path, "metrics", trial.id, number)),
            )
        )
        return AttemptRecord(
            trial=trial.id,
            variant=trial.variant,
            condition=trial.condition,
            repeat=trial.repeat,
            block=trial.block,
            order=trial.order,
            attempt=number,
            violations=trial.violations,
            verdict=judged.verdict,
            reasons=judged.reasons,
            outcome=judged.outcome,
            evidence=judged.evidence,
            failure_class=judged.failure_class,
            warmup_s=phases.warmup_s,
            measure_s=phases.measure_s,
            target_agent=trial.target_agent,
            load_agents=trial.load_agents,
            applied=tuple(self._at_second(a, got) for a in got.applied),
            target=target,
            cleanup=got.cleanup,
            summaries=got.undone.get(trial.target_agent, {}).get("summaries", {}),
            workload_doses=workload_doses,
            off_nominal=self._off_nominal.get(trial.condition, {}),
            clock={a: f.get("clock", {}) for a, f in got.finished.items()},
            self_check=self_check,
            started_unix_ns=begun_unix_ns,
            ended_unix_ns=time.time_ns(),
        )

    def _at_second(self, applied: dict[str, Any], got: Gathered) -> dict[str, Any]:
        """When a violation took hold, in seconds of the trial: it is applied before T0."""
        clock = got.started.get(next(iter(got.started), ""), {})
        t0_ns = clock.get("t0_mono_ns")
        at = None if t0_ns is None else round((applied["at_mono_ns"] - t0_ns) / 1e9, 3)
        return {**applied, "at_second": at}
