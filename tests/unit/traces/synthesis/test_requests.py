import numpy as np
import pytest

from tests.unit.traces.rows import arrivals, column, table, variation
from traces.characterise import describe
from traces.errors import InvalidInput
from traces.source import limit, open_trace


def test_a_poisson_trace_is_what_it_says() -> None:
    trace = open_trace("poisson:20000,keys=1000,zipf=0.99,size=128,get=0.8,key_bytes=24,for=5s")
    said = describe(trace)
    assert said["arrival"]["mean_rate_per_s"] == pytest.approx(20_000, rel=0.02)
    assert said["arrival"]["iat_cv"] == pytest.approx(1, abs=0.02) and said["arrival"]["span_s"] < 5
    assert said["ops"]["get"] / said["arrival"]["rows"] == pytest.approx(0.8, abs=0.01)
    assert said["keys"] <= 1000 and said["popularity"]["zipf_ols"] == pytest.approx(0.99, abs=0.05)
    assert said["req_bytes"]["p0"] == said["resp_bytes"]["p100"] == 128
    assert set(column(limit(trace, 10**8), "key_bytes")) == {24}
    assert said["req_bytes"]["n"] == said["ops"]["set"] and said["resp_bytes"]["n"] == said["ops"]["get"]


def test_the_same_seed_makes_the_same_trace_and_another_does_not() -> None:
    spec = "poisson:1000,keys=50,size=lognormal:300:1.2,rows=5000"
    assert table(open_trace(spec, seed=5)).equals(table(open_trace(spec, seed=5)))
    assert not table(open_trace(spec, seed=5)).equals(table(open_trace(spec, seed=6)))
    assert table(open_trace(spec + ",seed=5", seed=6)).equals(table(open_trace(spec, seed=5)))


def test_a_longer_synthesis_begins_with_the_shorter_one() -> None:
    shorter = table(open_trace("poisson:50000,rows=70000"))
    assert table(open_trace("poisson:50000,rows=140000")).slice(0, 70_000).equals(shorter)


def test_sizes_belong_to_keys() -> None:
    trace = open_trace("poisson:1000,keys=100,size=uniform:10:99,rows=5000")
    sizes: dict[int, set[int]] = {}
    for key, asked, given in zip(*(column(trace, n) for n in ("key_id", "req_bytes", "resp_bytes")), strict=True):
        sizes.setdefault(key, set()).add(asked if given is None else given)
    assert all(len(found) == 1 for found in sizes.values())
    assert all(10 <= size <= 99 for found in sizes.values() for size in found)


@pytest.mark.parametrize(
    ("law", "mean"),
    [("lognormal:1000:0.8", 1000), ("uniform:100:300", 200), ("pareto:100:3", 150), ("4KiB", 4096)],
)
def test_size_laws_have_their_means(law: str, mean: float) -> None:
    trace = open_trace(f"poisson:1000,keys=50000,get=0,size={law},rows=50000")
    assert np.mean(column(trace, "req_bytes")) == pytest.approx(mean, rel=0.05)


def test_http_synthesis_spells_keys_as_paths() -> None:
    trace = open_trace("constant:100,kind=http,keys=300,key_bytes=8,rows=100")
    assert set(column(trace, "op")) <= {"GET", "PUT"}
    for key, target in zip(column(trace, "key_id"), column(trace, "target"), strict=True):
        assert target == f"/{key:08x}"
    assert variation(arrivals(trace)) == 0


def test_a_synthesis_without_an_end_must_be_cut_before_it_is_described() -> None:
    trace = open_trace("poisson:1000")
    assert not trace.bounded
    with pytest.raises(InvalidInput, match="for=10s"):
        describe(trace)
    assert arrivals(limit(trace, 2 * 10**9))[-1] < 2 * 10**9


@pytest.mark.parametrize(
    "spec",
    [
        "poisson:",
        "poisson:fast",
        "poisson:0",
        "poisson:10,colour=red",
        "poisson:10,zipf=-1",
        "poisson:10,get=2",
        "poisson:10,size=uniform:9:1",
        "poisson:10,size=normal:1:1",
        "poisson:10,kind=llm",
        "poisson:10,for=10",
        "poisson:10,keys",
    ],
)
def test_a_wrong_synthesis_is_refused_in_one_line(spec: str) -> None:
    with pytest.raises(InvalidInput) as error:
        open_trace(spec)
    assert spec in str(error.value) and "expected" in str(error.value) and "\n" not in str(error.value)
