"""How requests of a made trace follow one another: at a rate, with the gaps of a law."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.draws import U64, uniform_all
from traces.errors import InvalidInput

LAWS = ("poisson", "constant")


@dataclass(frozen=True)
class Pace:
    """Requests per second, 0 for no times, and the law of the gaps."""

    per_s: float
    law: str

    def arrivals(self, key: int, index: U64, clock_ns: float) -> tuple[npt.NDArray[np.int64], float]:
        """When the requests `index`, which follow one another, arrive, and the clock after them; it is 0 before the first."""
        if self.law == "poisson":
            exact = clock_ns + np.cumsum(-np.log(uniform_all(key, index))) * (1e9 / self.per_s)
        else:
            exact = index.astype(np.float64) * (1e9 / self.per_s)
        if exact[-1] >= 2.0**62:
            raise InvalidInput(f"rate {self.per_s:g}/s: as many requests would take over a century; expected a higher rate")
        return np.floor(exact).astype(np.int64), float(exact[-1])
