"""The map of labels of each row: what a source says and the canonical schema has no column for."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa


def labels_of(named: Mapping[str, pa.Array]) -> pa.Array:
    """Maps of equally long columns of text; a row has no label where its column is null there. Rows without any are null."""
    names, columns = list(named), [column.cast(pa.utf8()) for column in named.values()]
    said = np.stack([column.is_valid().to_numpy(zero_copy_only=False) for column in columns], axis=1)
    rows, which = np.nonzero(said)
    starts = np.concatenate(([0], np.cumsum(said.sum(axis=1)))).astype(np.int32)
    keys = pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), pa.array(names, pa.utf8())).cast(pa.utf8())
    places = which * len(said) + rows  # in all columns one after another
    texts = pa.concat_arrays(columns).take(pa.array(places))
    offsets = pa.array(starts, mask=np.concatenate((~said.any(axis=1), [False])))
    return pa.MapArray.from_arrays(offsets, keys, texts)
