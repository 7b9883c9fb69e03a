"""Made traces: `poisson:50000,keys=100000,zipf=0.99,size=lognormal:300:1.2,get=0.9,for=10s`, `twitter:cluster26,for=1m`.

The head of the text is a law of arrivals (`arrivals/`: requests on keys, whose popularity is in `popularity/` and whose sizes are in
`sizes/`), or a workload that has a name (`workloads/`). Every value depends only on the seed and on the number of the row, key or session;
what must be a running sum or state (times, states of a law, sessions) is carried in lots that do not depend on how the trace is read.
"""

from traces.errors import InvalidInput
from traces.stream import StreamTrace
from traces.synthesis.arrivals import laws as arrival_laws
from traces.synthesis.requests import requests_of
from traces.synthesis.spec import given
from traces.synthesis.workloads import workloads

__all__ = ["heads", "is_synthesis", "synthesis"]


def heads() -> tuple[str, ...]:
    return (*arrival_laws(), *workloads())


def is_synthesis(spec: str) -> bool:
    head, colon, _ = spec.partition(",")[0].partition(":")
    return bool(colon) and head in heads()


def synthesis(spec: str, seed: int) -> StreamTrace:
    """The trace that a spec asks for; without `rows` and `for` most have no end. `seed` is for a spec that names none.

    Raises InvalidInput naming the part that is wrong.
    """
    said = given(spec)
    if said.head in workloads():
        return workloads()[said.head].trace(said, seed)
    law = arrival_laws().get(said.head)
    if law is None:
        raise InvalidInput(f"{spec}: {said.head!r} is not a law or workload; expected one of {', '.join(heads())}, such as poisson:50000")
    return requests_of(said, seed, law)
