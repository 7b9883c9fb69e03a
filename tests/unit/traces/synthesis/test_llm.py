"""Made conversations: prefixes grow, hits are as asked for, rows do not depend on how they are drawn."""

from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from tests.unit.traces.rows import column, table
from traces.errors import InvalidInput
from traces.source import open_trace
from traces.stream import Trace
from traces.synthesis import sessions
from traces.synthesis.arrivals import laws
from traces.synthesis.popularity.uniform import Uniform
from traces.synthesis.sessions import Talk, placed
from traces.synthesis.sizes.constant import Same
from traces.synthesis.sizes.lognormal import Lognormal
from traces.synthesis.spec import given

TALK = "llm:20,turns=4,think=5s,prompt=lognormal:150:1,output=lognormal:120:0.8,systems=5,system=700"


def hit_ratio(trace: Trace) -> float:
    """Of an unlimited cache, as it is known of Mooncake's traces: references that are not the first of their block."""
    blocks: npt.NDArray[np.uint64] = table(trace).column("prefix_hashes").combine_chunks().flatten().to_numpy()
    return 1 - len(np.unique(blocks)) / len(blocks)


@pytest.mark.parametrize(
    ("spec", "hit"),
    [
        ("llm:50,hit=0.3,systems=20", 0.3),
        ("llm:50,hit=0.6,block=512,prompt=lognormal:1500:1", 0.6),
        ("llm:50,turns=3,think=5s,prompt=lognormal:400:1,hit=0.7,systems=10,system_zipf=1", 0.7),
        ("llm:50,turns=3,think=5s,prompt=lognormal:400:1,hit=0.75,block=512", 0.75),
        ("llm:50,hit=0", 0.0),
    ],
)
def test_the_hit_ratio_asked_for_is_met_within_three_points(spec: str, hit: float) -> None:
    trace = open_trace(f"{spec},rows=15000", seed=4)
    assert hit_ratio(trace) == pytest.approx(hit, abs=0.03)
    assert trace.meta.import_args["expected_block_hit"] == pytest.approx(hit, abs=0.005) and f"{hit:.1%}" in trace.meta.loss_notes


def test_a_hit_ratio_that_cannot_be_is_refused_with_what_can() -> None:
    with pytest.raises(InvalidInput, match=r"hit 0.1 cannot be met; expected from 0\.\d+ .* to 0\.9\d+"):
        open_trace("llm:10,turns=5,hit=0.1,rows=10")


@pytest.mark.parametrize("block", [16, 512])
def test_the_blocks_of_a_turn_lead_those_of_the_next(block: int) -> None:
    made = table(open_trace(f"{TALK},block={block},rows=5000", seed=2))
    rows = made.select(
        ["session_id", "turn", "prompt_tokens", "output_tokens", "prefix_hashes", "parent_seq", "seq", "arrival_ns"]
    ).to_pylist()
    of_session: dict[int, dict[int, dict[str, object]]] = {}
    by_seq = {row["seq"]: row for row in rows}
    checked = 0
    for row in rows:
        assert len(row["prefix_hashes"]) == -(-row["prompt_tokens"] // block)
        before = of_session.setdefault(row["session_id"], {}).get(row["turn"] - 1)
        of_session[row["session_id"]][row["turn"]] = row
        if before is None:
            assert row["parent_seq"] is None
            continue
        checked += 1
        assert row["parent_seq"] == before["seq"] and by_seq[row["parent_seq"]]["turn"] == row["turn"] - 1
        full = int(str(before["prompt_tokens"])) // block
        assert row["prefix_hashes"][:full] == before["prefix_hashes"][:full]  # type: ignore[index]
        assert row["prompt_tokens"] > int(str(before["prompt_tokens"])) + int(str(before["output_tokens"]))
    assert checked > 2500
    shared = {tuple(row["prefix_hashes"][: 700 // block]) for row in rows}
    assert len(shared) == (5 if block < 700 else 1)
    tails = [row["prefix_hashes"][-1] for row in rows if row["prompt_tokens"] % block]
    assert len(set(tails)) == len(tails)


def test_sessions_keep_the_rate_from_the_first_second_on() -> None:
    trace = open_trace("llm:200,turns=4,think=10s,prompt=30,output=20,for=100s")
    arrival = np.array(column(trace, "arrival_ns"))
    per_s = np.histogram(arrival / 1e9, np.arange(0, 101, 10))[0] / 10
    assert len(arrival) / 100 == pytest.approx(200, rel=0.03) and per_s[0] == pytest.approx(200, rel=0.1)
    turn = np.array(column(trace, "turn"))
    assert turn.max() > 8 and np.all(np.diff(arrival) >= 0)
    # Of all requests a share of 1/mean are first turns.
    assert (turn == 0).mean() == pytest.approx(0.25, abs=0.02)


def test_rows_do_not_depend_on_how_many_sessions_are_drawn_at_once() -> None:
    talk = Talk(Lognormal(100, 1), Lognormal(50, 1), 4.0, 5 * 10**9, Uniform(3), Same(64), 131_072)
    law = laws()["gamma"].of(5.0, given("gamma:5,cv=2"))

    def first(at_once: int) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        for ready in placed(talk, 3, law, 10**11, at_once):
            turns = ready.turns
            columns = (ready.arrival_ns, turns.session, turns.turn, turns.prompt, turns.output, ready.parent)
            found += list(zip(*(each.tolist() for each in columns), strict=True))
            if len(found) > 9000:
                break
        return found[:9000]

    assert first(4096) == first(100) == first(7)


def test_a_context_ends_sessions_and_cuts_first_prompts() -> None:
    trace = open_trace("llm:50,turns=20,think=1s,prompt=lognormal:500:1.5,output=100,context=4096,rows=16000")
    tokens = np.array(column(trace, "prompt_tokens"))
    assert tokens.max() == 4096 and (np.array(column(trace, "turn")) > 10).any()
    arrival = column(trace, "arrival_ns")
    assert 16000 * 1e9 / arrival[-1] == pytest.approx(50, rel=0.1)


def test_single_requests_have_no_sessions_and_follow_any_law() -> None:
    trace = open_trace("llm:50,arrivals=flash,peak=5,at=10s,rise=0s,hold=10s,decay=0s,for=40s")
    made = table(trace)
    assert made.column("session_id").null_count == made.num_rows and trace.meta.causality == "open"
    per_s = np.histogram(made.column("arrival_ns").to_numpy() / 1e9, np.arange(0, 41))[0]
    assert per_s[:10].mean() == pytest.approx(50, rel=0.15) and per_s[10:20].mean() == pytest.approx(250, rel=0.1)


def test_memory_holds_only_sessions_that_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    before = sessions._Held.before

    def watched(self: sessions._Held, horizon: int, done: int) -> tuple[sessions.Placed, sessions._Held]:
        ready, rest = before(self, horizon, done)
        held.append(len(rest.arrival))
        return ready, rest

    monkeypatch.setattr(sessions._Held, "before", watched)
    batches = list(islice(open_trace("llm:1000,turns=3,think=1s,prompt=20,output=20,block=512,rows=100000").batches(), 100))
    assert pa.Table.from_batches(batches).num_rows == 100_000
    assert len(held) > 7 and max(held) < 15_000  # about rate * turns * think of them, and what one lot has more
