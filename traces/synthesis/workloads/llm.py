"""llm:RATE: requests to a language model: token lengths, system prompts that groups share, sessions of several turns, prefix blocks.

Sessions begin by a law of arrivals (`arrivals=gamma,cv=13`; its parameters by their own names), at RATE over the mean number of turns. A
turn's prompt is the system prompt, all that was said before in the session, and what it adds. With `hit` the system prompts have the length
at which an unlimited prefix cache would find that share of the blocks; it is then said in the trace's notes, and refused where no length
gives it. Models no regeneration, no branching of sessions, no images.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from traces.draws import stream
from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS, OPS, TraceMeta, batch_of, masked
from traces.stream import StreamTrace
from traces.synthesis.arrivals import Arrivals, laws
from traces.synthesis.popularity.ladder import Ladder
from traces.synthesis.popularity.uniform import Uniform
from traces.synthesis.prefixes import block_count, prefix_column
from traces.synthesis.requests import FOR, LENGTH, ROWS, SEED
from traces.synthesis.sessions import MOST_TURNS, Placed, Talk, expected_hit, mean_turns, placed
from traces.synthesis.sizes import size_form
from traces.synthesis.sizes.constant import Same
from traces.synthesis.spec import LASTING, Form, Given, Parameter, number, whole, word


def _thinking(text: str, where: str) -> int:
    value = LASTING.read(text, where)
    if value > _LONGEST_NS:
        raise InvalidInput(f"{where}: {text!r}; expected at most 30d, a mean time between turns")
    return value


_LONGEST_NS = 30 * 86_400 * 10**9
_THINKING = Form(LASTING.said, _thinking)
ARRIVALS = Parameter("arrivals", word(*laws()), "law by which sessions begin", "gamma", "poisson")
OP = Parameter("op", word(*OPS["llm"]), "what is asked for", "completion", "chat")
PROMPT = Parameter("prompt", size_form(), "tokens that a turn adds to the prompt, a law of sizes", "lognormal:1155:1.1", "lognormal:1000:1")
OUTPUT = Parameter("output", size_form(), "tokens of the answer, a law of sizes", "lognormal:211:0.8", "lognormal:200:0.8")
TURNS = Parameter("turns", number(1, 100), "mean turns of a session, geometric", "3", "1")
THINK = Parameter("think", _THINKING, "mean time from a turn to the next, exponential", "30s", "30s")
SYSTEMS = Parameter("systems", whole(1, 1_000_000), "how many system prompts there are", "20", "1")
SYSTEM_ZIPF = Parameter("system_zipf", number(0, 10), "how unevenly sessions fall on them", "1", "0")
SYSTEM = Parameter("system", size_form(), "tokens of a system prompt, a law of sizes", "1024", "0")
BLOCK = Parameter(
    "block", whole(0, 65_536), "tokens of a prefix block: 16 is vLLM's and Qwen's, 512 Mooncake's, 0 is no blocks", "512", "16"
)
HIT = Parameter("hit", number(0, 0.99), "share of blocks that an unlimited prefix cache finds; sets the length of system prompts", "0.6")
CONTEXT = Parameter("context", whole(2, 10_000_000), "longest prompt; a session ends before it", "131072", "131072")
_MOST_BLOCKS = 1 << 20
"""Of one batch, but for a single longer prompt."""
_RARE = 1e-4


@dataclass(frozen=True)
class _Recipe:
    starts: Arrivals
    talk: Talk
    block: int
    lead_ns: int
    op: str
    seed: int
    rows: int | None
    for_ns: int | None


class Llm:
    name = "llm"
    summary = "requests to a language model: tokens, shared system prompts, sessions of turns, prefix blocks"
    argument = "a rate of requests"
    example = "llm:10,turns=3,think=20s,prompt=lognormal:200:1,output=lognormal:211:0.8,systems=20,hit=0.8,for=10m"
    parameters: tuple[Parameter[Any], ...] = (
        ARRIVALS, PROMPT, OUTPUT, TURNS, THINK, SYSTEMS, SYSTEM_ZIPF, SYSTEM, BLOCK, HIT, CONTEXT, OP, *LENGTH,
    )  # fmt: skip

    def trace(self, given: Given, seed: int) -> StreamTrace:
        law = laws()[given.need(ARRIVALS)]
        given.only((*self.parameters, *law.parameters))
        own = given.get(SEED)
        seed = seed if own is None else own
        talk, block = _talk(given, seed), given.need(BLOCK)
        turns = mean_turns(talk, seed)
        starts = law.of(given.rate_per_s() / turns, given)
        lead_ns = _lead_ns(talk) if starts.steady else 0
        recipe = _Recipe(starts, talk, block, lead_ns, given.need(OP), seed, given.get(ROWS), given.get(FOR))
        return _trace(given.spec, recipe, turns)


def _talk(given: Given, seed: int) -> Talk:
    systems, exponent = given.need(SYSTEMS), given.need(SYSTEM_ZIPF)
    talk = Talk(
        prompt=given.need(PROMPT),
        output=given.need(OUTPUT),
        turns=given.need(TURNS),
        think_ns=given.need(THINK),
        systems=Ladder(systems, exponent) if exponent else Uniform(systems),
        system=given.need(SYSTEM),
        context=given.need(CONTEXT),
    )
    hit = given.get(HIT)
    if hit is None:
        return talk
    if given.has(SYSTEM):
        raise InvalidInput(f"{given.spec}: hit sets the length of system prompts and so does system; expected one of them; leave one out")
    return _for_hit(given, talk, seed, hit)


def _for_hit(given: Given, talk: Talk, seed: int, hit: float) -> Talk:
    """With system prompts of the length that gives the hit ratio, by bisection over whole blocks, then over the sessions that have one
    more.
    """
    block = given.need(BLOCK)
    if not block:
        raise InvalidInput(f"{given.spec}: hit needs prefix blocks; expected block above 0; for example block=16")

    def having(blocks: int) -> Talk:
        return dataclasses.replace(talk, system=Same(blocks * block))

    low, high = 0, max(1, talk.context // (2 * block))
    least, most = expected_hit(having(low), seed, block), expected_hit(having(high), seed, block)
    if not least - 0.005 <= hit <= most:
        raise InvalidInput(
            f"{given.spec}: hit {hit:g} cannot be met; expected from {least:.3f} (no system prompt) to {most:.3f} (the longest); "
            "fewer turns or shorter outputs lower it, shorter prompts raise it"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if expected_hit(having(middle), seed, block) <= hit else (low, middle)
    share, step = 0.0, 0.5
    for _ in range(8):  # between two whole blocks: to 1/256 of the sessions
        if expected_hit(dataclasses.replace(having(low), longer=(block, share + step)), seed, block) <= hit:
            share += step
        step /= 2
    return dataclasses.replace(having(low), longer=(block, share))


def _lead_ns(talk: Talk) -> int:
    """How long before the trace sessions must begin, so that but one in ten thousand that reaches into it is missed."""
    if talk.turns <= 1:
        return 0
    turns = min(float(MOST_TURNS), 1 + math.log(_RARE) / math.log(1 - 1 / talk.turns))
    return round(turns * talk.think_ns)


def _trace(name: str, recipe: _Recipe, turns: float) -> StreamTrace:
    hit = expected_hit(recipe.talk, recipe.seed, recipe.block) if recipe.block else 0.0
    said = "" if not recipe.block else f"an unlimited prefix cache finds {hit:.1%} of the blocks once it knows the system prompts"
    if said and isinstance(recipe.talk.system, Same) and recipe.talk.system.size + recipe.talk.longer[1]:
        said += f", of {recipe.talk.system.size + recipe.talk.longer[0] * recipe.talk.longer[1]:.0f} tokens on average"
    meta = TraceMeta(
        name=name,
        kinds=("llm",),
        importer="synthesis",
        arrival_model="generated",
        expand_seed=recipe.seed,
        llm_block_tokens=recipe.block or None,
        llm_hash_scope="file" if recipe.block else "",
        causality="session" if recipe.talk.turns > 1 else "open",
        rows=recipe.rows if recipe.for_ns is None else None,
        import_args={"expected_block_hit": round(hit, 4), "mean_turns": round(turns, 4)},
        loss_notes=said,
    )
    rate = recipe.starts.rate_per_s * turns
    bounded = recipe.rows is not None or recipe.for_ns is not None
    hint = recipe.rows
    if hint is None and recipe.for_ns is not None:
        hint = round(recipe.starts.expected(recipe.for_ns) * turns)
    return StreamTrace(meta, lambda: _rows(recipe), lambda: repr(recipe), hint, bounded, rate)


def _rows(recipe: _Recipe) -> Iterator[pa.RecordBatch]:
    done = 0
    keys = tuple(stream(recipe.seed, "llm", which) for which in ("system block", "session block", "tail block"))
    until_ns = min(recipe.for_ns if recipe.for_ns is not None else 2**62, 2**62)
    for ready in placed(recipe.talk, recipe.seed, recipe.starts, recipe.lead_ns):
        keep = int(np.searchsorted(ready.arrival_ns, until_ns, side="left"))
        if recipe.rows is not None:
            keep = min(keep, recipe.rows - done)
        blocks = np.cumsum(block_count(ready.turns.prompt[:keep], recipe.block or _MOST_BLOCKS))
        begin = 0
        while begin < keep:
            fitting = int(np.searchsorted(blocks, (blocks[begin - 1] if begin else 0) + _MOST_BLOCKS, side="right"))
            end = min(keep, begin + BATCH_ROWS, max(begin + 1, fitting))
            yield _batch(recipe, ready, begin, end, done, (keys[0], keys[1], keys[2]))
            done, begin = done + end - begin, end
        if keep < len(ready.arrival_ns) or done == recipe.rows:
            return


def _batch(recipe: _Recipe, ready: Placed, begin: int, end: int, done: int, keys: tuple[int, int, int]) -> pa.RecordBatch:
    turns, part, count = ready.turns, slice(begin, end), end - begin
    once = turns.session[part] * np.uint64(MOST_TURNS) + turns.turn[part].astype(np.uint64)
    columns: dict[str, Any] = {
        "arrival_ns": ready.arrival_ns[part],
        "seq": np.arange(done, done + count, dtype=np.uint64),
        "kind": "llm",
        "op": recipe.op,
        "prompt_tokens": turns.prompt[part].astype(np.int32),
        "output_tokens": turns.output[part].astype(np.int32),
    }  # fmt: skip
    if recipe.block:
        tokens, system, group, session = turns.prompt[part], turns.system[part], turns.group[part], turns.session[part]
        columns["prefix_hashes"] = prefix_column(keys, recipe.block, tokens, system, group, session, once)
    if recipe.talk.turns > 1:
        parent = ready.parent[part]
        columns["session_id"] = turns.session[part]
        columns["turn"] = turns.turn[part].astype(np.int32)
        columns["parent_seq"] = masked(parent.astype(np.uint64), parent >= 0)
    return batch_of(columns, count)


WORKLOAD = Llm()
