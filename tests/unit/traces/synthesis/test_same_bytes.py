"""Specs that were written once make the same trace for ever."""

import pytest

from traces.contents import Tally
from traces.source import open_trace

KNOWN = {
    "poisson:50000,keys=1000,zipf=0.99,size=lognormal:300:1.2,get=0.9,rows=100000": (
        100_000,
        "0b684805fb74672987b46f1e890b85cf231a2da17f6d2bed1111337cb107daf8",
    ),
    "constant:1000,kind=http,keys=300,key_bytes=8,size=pareto:100:1.3,get=0.8,seed=9,rows=5000": (
        5000,
        "935c00310570e139925c96130f87f01cdbc08a9e5f21924c4ae875746e1253b7",
    ),
    "poisson:20000,keys=777,size=uniform:10:99,get=0.5,for=2s": (
        40_123,
        "c8877a5e62d355ffb7f0d3fdeffc34d0005a0bdc6c4d801373771ba8c7a1c637",
    ),
}


@pytest.mark.parametrize("spec", KNOWN)
def test_a_spec_of_the_first_version_still_makes_the_same_content(spec: str) -> None:
    tally = Tally()
    for batch in open_trace(spec, seed=3).batches():
        tally.add(batch)
    assert (tally.rows, tally.content_sha256()) == KNOWN[spec]
