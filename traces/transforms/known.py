"""Whether a trace says what a transform would bend: one that does not is refused, not passed on as it was."""

from collections.abc import Sequence

import numpy as np

from traces.errors import InvalidInput
from traces.schema import ints
from traces.stream import Trace, narrowed


def known(trace: Trace, columns: Sequence[str], what: str, asks: str) -> None:
    """Reads `trace` as far as the first request that has one of these columns above 0; of a synthesis without an end its first batch.
    Raises InvalidInput, in the name of what `asks`, where none has.
    """
    rows = 0
    for batch in narrowed(trace, columns):
        if any(np.any(ints(batch, name) > 0) for name in columns):
            return
        rows += batch.num_rows
        if not trace.bounded:
            break
    if rows:
        raise InvalidInput(
            f"{asks}: {trace.meta.name} has no {what} ({', '.join(columns)}), so nothing would change; expected a trace that has"
        )
