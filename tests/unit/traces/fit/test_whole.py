"""Whole traces: what is made is fitted back to itself; real ones give a spec that opens, and a distance that is said."""

import numpy as np
import pytest

from tests.unit.traces.rows import real, trace_of
from traces.distance import compare_traces
from traces.errors import InvalidInput
from traces.fit import fit
from traces.source import open_trace
from traces.synthesis.spec import given

MADE = (
    "gamma:1000,cv=2,keys=5000,zipf=0.9,ops=get:0.7/set:0.25/delete:0.05,ttl=60s:0.8/1h:0.2,rows=12000",
    "poisson:500,kind=block,keys=3000,size=65536,rows=8000",
    "llm:20,arrivals=gamma,cv=2,prompt=lognormal:500:0.9,output=lognormal:200:0.7,block=0,op=completion,rows=8000",
    "llm:20,turns=3,think=5s,prompt=lognormal:200:1,output=lognormal:150:0.8,systems=5,system=640,rows=9000",
)


@pytest.mark.parametrize("spec", MADE)
def test_a_made_trace_is_not_told_apart_from_what_its_fit_makes(spec: str) -> None:
    source = open_trace(spec, seed=11)
    found = fit(source)
    far = compare_traces(source, open_trace(found.spec, seed=12))
    assert not far.only_a and not far.only_b
    for each in far.distances:
        if each.dimension != "prefixes":  # blocks come in runs, which the chance that is stated beside them leaves out
            assert each.apart.wasserstein < max(0.02, 1.5 * each.floor.wasserstein), each.words


def test_sessions_and_system_prompts_are_recovered() -> None:
    said = given(fit(open_trace(MADE[3], seed=11)).spec)
    assert float(said.argument) == pytest.approx(20, rel=0.08) and float(said.values["turns"]) == pytest.approx(3, rel=0.04)
    assert float(said.values["think"].removesuffix("s")) == pytest.approx(5, rel=0.04)
    assert (said.values["system"], said.values["systems"], said.values["block"]) == ("640", "5", "16")
    for name, mean, sigma in (("prompt", 200, 1.0), ("output", 150, 0.8)):
        law, *figures = said.values[name].split(":")
        assert law == "lognormal" and [float(x) for x in figures] == pytest.approx([mean, sigma], rel=0.06)


def test_ops_and_lifetimes_are_recovered() -> None:
    values = given(fit(open_trace(MADE[0], seed=11)).spec).values
    ops = dict(part.split(":") for part in values["ops"].split("/"))
    assert float(ops["set"]) == pytest.approx(0.25, abs=0.01) and float(ops["delete"]) == pytest.approx(0.05, abs=0.01)
    ttl = dict(part.split(":") for part in values["ttl"].split("/"))
    assert float(ttl["60000ms"]) == pytest.approx(0.8, abs=0.02) and set(ttl) == {"60000ms", "3600000ms"}


def test_a_fit_of_the_beginning_says_so() -> None:
    found = fit(open_trace("poisson:100,rows=5000"), most_rows=2000)
    assert found.notes[0] == "learnt from the first 2,000 rows" and found.rows == 2000


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(InvalidInput, match="of kind faas, which cannot be made"):
        fit(trace_of({"service_ns": np.arange(500)}, kind="faas", op="invoke"))
    with pytest.raises(InvalidInput, match="expected at least 100"):
        fit(open_trace("poisson:100,rows=99"))
    with pytest.raises(InvalidInput, match="without an end"):
        fit(open_trace("poisson:100"))


def test_two_services_of_one_interface_are_learnt_as_different_and_the_bursty_one_is_said_to_be_badly_met() -> None:
    far = {}
    for which in ("conv", "code"):
        source = open_trace(real(f"azure_llm_2023/AzureLLMInferenceTrace_{which}.csv"))
        found = fit(source)
        far[which] = compare_traces(source, open_trace(found.spec, seed=1))
        law = given(found.spec).values["arrivals"]
        assert law in (("weibull", "gamma") if which == "code" else ("diurnal", "flash"))
        tokens = far[which].in_dimension("prompt_tokens")
        assert tokens is not None and tokens.apart.wasserstein < 0.06
    for dimension in ("gaps", "burstiness"):
        conv, code = far["conv"].in_dimension(dimension), far["code"].in_dimension(dimension)
        assert conv is not None and code is not None and not conv.beyond_noise and code.beyond_noise


@pytest.mark.parametrize(
    ("path", "off"),
    [
        ("cloudphysics_libcachesim/cloudPhysicsIO.vscsi", "burstiness"),
        ("meta_cdn_2020/short_bigcache_traces.hashed.csv", "reuse"),
    ],
)
def test_a_real_trace_gives_a_spec_that_opens_and_a_distance_that_is_not_hidden(path: str, off: str) -> None:
    source = open_trace(real(path))
    found = fit(source)
    far = compare_traces(source, open_trace(found.spec, seed=1))
    along = far.in_dimension(off)
    assert along is not None and along.beyond_noise
    ops = far.in_dimension("ops")
    assert ops is not None and not ops.beyond_noise and not far.only_b


def test_figures_at_the_edge_of_what_a_spec_takes_still_give_one_that_opens() -> None:
    rng = np.random.default_rng(8)
    arrival = np.cumsum(np.where(rng.random(4000) < 0.01, 10**13, rng.integers(0, 3, 4000)))
    sizes = np.where(rng.random(4000) < 0.01, 2**40, rng.integers(1, 5, 4000))
    found = fit(trace_of({"arrival_ns": arrival, "key_id": np.arange(4000, dtype=np.uint64), "resp_bytes": sizes}))
    assert sum(batch.num_rows for batch in open_trace(found.spec).batches()) == 4000
    assert any("over 512 MiB" in note for note in found.notes)
    long = fit(trace_of({"prompt_tokens": rng.integers(1, 400_000, 500).astype(np.int32)}, kind="llm", op="chat"))
    made = next(iter(open_trace(long.spec).batches()))
    assert max(made.column("prompt_tokens").to_pylist()) > 300_000
