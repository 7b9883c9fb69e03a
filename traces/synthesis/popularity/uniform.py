"""uniform: every key is as likely."""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64, uniform_all
from traces.synthesis.popularity import Ints


@dataclass(frozen=True)
class Uniform:
    key_space: int
    inserts = False

    def keys(self, key: int, seq: U64, there: Ints) -> U64:
        rank = (uniform_all(key, seq) * self.key_space).astype(np.int64)
        return np.minimum(rank, self.key_space - 1).astype(np.uint64)
