"""latest: popularity follows insertion, as in YCSB's workload D: each set makes a key, and the newest are asked for most, by zipf."""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64
from traces.synthesis.popularity import Ints
from traces.synthesis.popularity.rejection import ranks


@dataclass(frozen=True)
class Latest:
    key_space: int
    exponent: float
    inserts = True

    def keys(self, key: int, seq: U64, there: Ints) -> U64:
        return (there - 1 - ranks(key, seq, there, self.exponent)).astype(np.uint64)
