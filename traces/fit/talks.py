"""Requests to a language model: tokens, sessions, shared system prompts, as parameters of `llm:`.

Without sessions in the source, what a prompt shares with an earlier one counts as its system prompt, the same for all: a tree of prefixes
deeper than that is not learnt, and the distance says so.
"""

from dataclasses import dataclass

import numpy as np

from traces.fit.sample import Ints, Sample, significant
from traces.fit.sizes import size_law
from traces.synthesis.workloads.llm import CONTEXT

_FEWEST = 50


@dataclass(frozen=True)
class Talks:
    """`first`: which rows begin a session; `turns`: mean turns of one."""

    parameters: dict[str, str]
    first: Ints
    turns: float
    notes: list[str]


def talks(sample: Sample) -> Talks:
    prompt, output = sample.columns["prompt_tokens"], sample.columns.get("output_tokens")
    notes: list[str] = []
    found: dict[str, str] = {}
    block = sample.meta.llm_block_tokens or 0
    has_blocks = bool(block and len(sample.block_ends))
    first = np.arange(sample.rows)
    turns = 1.0
    system, systems = 0, 1
    if "turn" in sample.columns and int(sample.columns["turn"].max()) > 0 and "session_id" in sample.columns:
        first = np.flatnonzero(sample.columns["turn"] == sample.columns["turn"][sample.known["turn"]].min())
        turns = sample.rows / max(1, len(first))
    if has_blocks:
        system, systems = _systems(sample, first, block)
    told = prompt[first]
    added = np.maximum(told[told >= 0] - system, 1)
    if turns > 1:
        later, think_s = _later(sample)
        if len(later) >= _FEWEST:
            added = np.maximum(later, 1)
        found |= {"turns": significant(min(turns, 100.0), 4), "think": f"{significant(think_s, 4)}s"}
    names = [("prompt", added)] + ([("output", np.maximum(output[output >= 0], 1))] if output is not None else [])
    for name, tokens in names:
        found[name], off = size_law(tokens)
        if found[name].startswith("quantiles"):
            notes.append(f"no law of {name} is near, its quantiles are used (off by {off:.3f})")
    if system:
        found |= {"system": str(system), "systems": str(systems)}
    if int(prompt.max()) > int(CONTEXT.default):
        found["context"] = str(int(prompt.max()))
    op = sample.ops[int(np.bincount(sample.op).argmax())]
    if len(sample.ops) > 1:
        notes.append(f"the source has {len(sample.ops)} ops, the made trace has {op} alone")
    if op != "chat":
        found["op"] = op
    found["block"] = str(block if has_blocks else 0)
    return Talks(found, first, turns, notes)


def _later(sample: Sample) -> tuple[Ints, float]:
    """Tokens that later turns add, and the mean time since the turn before, in seconds."""
    session, turn = sample.columns["session_id"], sample.columns["turn"]
    order = np.lexsort((turn, session))
    next_ = (session[order][1:] == session[order][:-1]) & (turn[order][1:] == turn[order][:-1] + 1)
    here, before = order[1:][next_], order[:-1][next_]
    prompt, output = sample.columns["prompt_tokens"], sample.columns.get("output_tokens", np.zeros(sample.rows, dtype=np.int64))
    waits = sample.arrival_ns[here] - sample.arrival_ns[before]
    mean_s = float(waits.mean()) / 1e9 if len(waits) else 1.0
    return prompt[here] - prompt[before] - np.maximum(output[before], 0), max(mean_s, 1e-6)


def _systems(sample: Sample, first: Ints, block: int) -> tuple[int, int]:
    """Tokens that a session's first prompt shares with another's, on average over sessions, and how many there are of such prefixes."""
    ends = sample.block_ends
    starts = np.concatenate(([0], ends[:-1]))
    seen: set[int] = set()
    heads: dict[int, int] = {}
    shared = 0
    for row in first.tolist():
        ids = sample.blocks[starts[row] : ends[row]].tolist()
        if not ids:
            continue
        heads[ids[0]] = heads.get(ids[0], 0) + 1
        for number, each in enumerate(ids):
            if each not in seen:
                seen.update(ids[number:])
                break
            shared += 1
    repeated = sum(1 for count in heads.values() if count > 1)
    return round(shared / max(1, len(first) - len(heads)) if repeated else 0) * block, max(1, repeated)
