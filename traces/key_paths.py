"""Keys as paths of URLs, spelt as the engine spells keys."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64
from traces.schema import LABEL


def key_targets(key_id: U64, key_bytes: npt.NDArray[np.uint32]) -> pa.Array:
    """/<key>: hex of the id, padded with zeros to its length."""
    pairs = np.rec.fromarrays([key_id, key_bytes], names="id,length")  # type: ignore[call-overload]
    unique, index = np.unique(pairs, return_inverse=True)
    texts = pa.array([f"/{int(pair['id']):0{int(pair['length'])}x}" for pair in unique], pa.utf8())
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), texts).cast(LABEL)
