"""etc:RATE: Facebook's ETC pool (Atikoglu et al., "Workload Analysis of a Large-Scale Key-Value Store", SIGMETRICS 2012).

Published and taken over: gaps by a generalised Pareto law (16.0292 us, 0.154971: 52,715/s at its own rate), key lengths by a generalised
extreme value law, value sizes (`sizes/etc.py`), 30 gets for each set. The paper gives no figure for deletes (`ops` adds some) and no law of
popularity; zipf 0.99 over a million keys is assumed. Every one of these can be overridden.
"""

import dataclasses
from typing import Any

from traces.stream import StreamTrace
from traces.synthesis.arrivals.gpareto import LAW as GPARETO
from traces.synthesis.arrivals.gpareto import SHAPE
from traces.synthesis.requests import PARAMETERS, recipe_of, synthesised
from traces.synthesis.spec import Given, Parameter

_KNOWN = {
    "shape": "0.154971", "key_bytes": "gev:30.7984:8.20449:0.078688", "size": "etc", "keys": "1000000",
}  # fmt: skip
_NOTE = (
    "popularity is not part of the published model, zipf 0.99 is assumed; deletes are left out, their share is not published as a figure"
)


class Etc:
    name = "etc"
    summary = "Facebook's ETC pool: gaps, key and value sizes and gets to sets as published (SIGMETRICS 2012)"
    argument = "a rate; the pool's own is 52715/s"
    example = "etc:52715,for=10s"
    parameters: tuple[Parameter[Any], ...] = (SHAPE, *PARAMETERS)

    def trace(self, given: Given, seed: int) -> StreamTrace:
        given.only(self.parameters)
        known = dict(_KNOWN)
        if not {"hotspot", "latest"} & given.values.keys():
            known["zipf"] = "0.99"
        if not {"get", "kind"} & given.values.keys():
            known["ops"] = "get:30/set:1"
        filled = dataclasses.replace(given, values={**known, **given.values})
        made = synthesised(recipe_of(filled, seed, GPARETO.of(given.rate_per_s(), filled)), given.spec, _NOTE)
        return dataclasses.replace(made, meta=dataclasses.replace(made.meta, citation="Atikoglu et al., SIGMETRICS 2012"))


WORKLOAD = Etc()
