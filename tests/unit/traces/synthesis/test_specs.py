"""What a spec says wrong is refused in one line; what there is to say is listed, and every example works."""

from itertools import islice
from typing import Any

import pytest

from tests.unit.traces.rows import column
from traces.errors import InvalidInput
from traces.schema import SCHEMA
from traces.source import open_trace
from traces.synthesis import heads, synthesis
from traces.synthesis.listing import listing


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gamma:100", "cv is missing"),
        ("gamma:100,cv=fast", "such as cv=4|for example cv=4"),
        ("gamma:100,cv=4,cv=5", "given twice"),
        ("gamma:100,cv=2,burst=5", "'burst=5' is not known"),
        ("mmpp:10,burst=20,calm_for=0s,burst_for=1s", "above 0"),
        ("poisson:10,zipf=0.9,hotspot=0.2:0.8", "zipf and hotspot are both"),
        ("poisson:10,q=5", "q needs an exponent"),
        ("poisson:10,hotspot=0.2", "KEYS:REQUESTS"),
        ("poisson:10,get=0.5,ops=get:1", "get and ops both"),
        ("poisson:10,ops=get:1/get:2", "each value once"),
        ("poisson:10,ops=fetch:1", "a known one"),
        ("poisson:10,kind=http,ops=get:1", "is not of kind http"),
        ("poisson:10,ttl=5:1", "time unit"),
        ("poisson:10,key_bytes=0", "1 to 65535"),
        ("poisson:10,keys=2000000000000", "whole number"),
        ("twitter:cluster99,rows=1", "cluster1 to cluster54"),
        ("llm:10,hit=0.5,system=10,rows=1", "expected one of them"),
        ("llm:10,arrivals=gamma,rows=1", "cv is missing"),
        ("llm:10,arrivals=burst,rows=1", "constant or"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_part_and_what_is_expected(spec: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as error:
        open_trace(spec)
    assert spec in str(error.value) and "expected" in str(error.value) and "\n" not in str(error.value)


def test_a_head_that_is_unknown_is_answered_with_those_that_are() -> None:
    with pytest.raises(InvalidInput, match="constant, diurnal, flash, gamma, gpareto, mmpp, poisson, weibull, etc, llm, twitter, ycsb"):
        synthesis("poissn:10,rows=1", 0)


def _examples() -> list[str]:
    known: dict[str, Any] = listing()
    specs = [each["example"] for part in ("arrivals", "workloads") for each in known[part]]
    laws = [f"constant:100,rows=50,size={each['example']}" for each in known["sizes"] if not each["form"].startswith("file")]
    alone = ("q", "ops", "ttl", "kind", "hotspot", "latest")
    more = [f"constant:100,rows=50,{each['example']}" for each in known["requests"] if each["name"] not in (*alone, "rows", "for")]
    mixes = [f"constant:100,for=1s,{each['example']}" for each in known["requests"] if each["name"] in alone[1:]]
    return [*specs, *laws, *more, *mixes]


@pytest.mark.parametrize("spec", _examples())
def test_every_example_of_the_list_makes_requests(spec: str) -> None:
    batch = next(iter(open_trace(spec).batches()))
    assert batch.num_rows and batch.schema.equals(SCHEMA)


def test_the_list_has_every_head() -> None:
    known = listing()
    assert {each["head"].split(":")[0] for part in ("arrivals", "workloads") for each in known[part]} == set(heads())


def test_lifetimes_are_set_by_writes_alone() -> None:
    trace = open_trace("constant:100,rows=5000,ops=get:0.5/set:0.3/delete:0.2,ttl=60s:0.5/1h:0.5")
    for op, ttl in zip(column(trace, "op"), column(trace, "ttl_ms"), strict=True):
        assert ttl in ((60_000, 3_600_000) if op == "set" else (None,))


def test_a_batch_is_the_same_whoever_reads_it() -> None:
    trace = open_trace("mmpp:1000,burst=9000,calm_for=1s,burst_for=1s,latest=1.1,get=0.8,rows=200000", seed=6)
    again = list(trace.batches())
    assert all(one.equals(other) for one, other in zip(islice(trace.batches(), 2), again, strict=False)) and len(again) == 4
