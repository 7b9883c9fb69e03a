"""Laws of popularity are known again, with the number of keys that were never asked for."""

import numpy as np
import pytest

from tests.unit.traces.rows import column
from traces.fit.popularity import popularity
from traces.source import open_trace


def learnt(spec: str) -> tuple[str, dict[str, str]]:
    keys = np.array(column(open_trace(f"constant:1000,{spec},rows=40000", seed=5), "key_id"), dtype=np.int64)
    best = popularity(keys)[0]
    return best.law, dict(part.split("=") for part in best.spec.split(","))


@pytest.mark.parametrize("keys", [300, 20_000, 200_000])
def test_uniform_keys_are_counted(keys: int) -> None:
    law, found = learnt(f"keys={keys}")
    assert law == "uniform" and float(found["keys"]) == pytest.approx(keys, rel=0.05)


@pytest.mark.parametrize(("keys", "exponent"), [(2000, 0.99), (100_000, 0.8), (20_000, 1.3)])
def test_zipf_is_recovered(keys: int, exponent: float) -> None:
    law, found = learnt(f"keys={keys},zipf={exponent}")
    assert law == "zipf" and float(found["zipf"]) == pytest.approx(exponent, abs=0.03)
    assert float(found["keys"]) == pytest.approx(keys, rel=0.25)


def test_zipf_mandelbrot_is_recovered() -> None:
    law, found = learnt("keys=5000,zipf=1.2,q=30")
    assert (
        law == "zipf-mandelbrot"
        and float(found["zipf"]) == pytest.approx(1.2, abs=0.15)
        and float(found["q"]) == pytest.approx(30, rel=0.4)
    )


def test_a_hotspot_is_recovered() -> None:
    law, found = learnt("keys=4000,hotspot=0.2:0.8")
    hot, requests = map(float, found["hotspot"].split(":"))
    assert law == "hotspot" and hot == pytest.approx(0.2, abs=0.01) and requests == pytest.approx(0.8, abs=0.01)
    assert float(found["keys"]) == pytest.approx(4000, rel=0.03)


def test_names_of_keys_do_not_matter() -> None:
    keys = np.array(column(open_trace("constant:1000,keys=500,zipf=1,rows=5000"), "key_id"), dtype=np.int64)
    assert popularity(keys)[0].spec == popularity(keys * -7919 + 3)[0].spec
