"""hotspot: a share of the keys, the first, gets a share of the requests; within and without them each key is as likely."""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64, stream, uniform_all
from traces.synthesis.popularity import Ints


@dataclass(frozen=True)
class Hotspot:
    key_space: int
    hot_keys: float
    hot_requests: float
    inserts = False

    def keys(self, key: int, seq: U64, there: Ints) -> U64:
        hot = min(self.key_space, max(1, round(self.key_space * self.hot_keys)))
        in_hot = (uniform_all(stream(key, "hotspot", "which"), seq) < self.hot_requests) | (hot == self.key_space)
        u = uniform_all(key, seq)
        rank = np.where(in_hot, (u * hot).astype(np.int64), hot + (u * (self.key_space - hot)).astype(np.int64))
        return np.minimum(rank, self.key_space - 1).astype(np.uint64)
