"""Prompts as blocks of tokens: ids that are equal where the tokens before and within a block are.

A block of a system prompt belongs to its group, a full block of a session to the session (whose text only grows, so the full blocks of a
turn are those of every later one), and a last block that is not full to its turn alone. A prompt has ceil(tokens / block) blocks, the
convention of Mooncake's and Qwen's traces.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, draw_all

Ints = npt.NDArray[np.int64]


def block_count(tokens: Ints, block: int) -> Ints:
    """Blocks of a prompt, the last of which may not be full."""
    return -(-tokens // block)


def prefix_column(keys: tuple[int, int, int], block: int, tokens: Ints, system: Ints, group: Ints, session: U64, once: U64) -> pa.ListArray:
    """The block ids of each prompt. `keys`: streams of draws for system, session and tail blocks; `tokens`: of the prompt; `system`: tokens
    of it that are the group's; `once`: a number that no other prompt has.
    """
    of_system, of_session, of_tail = keys
    counts = block_count(tokens, block)
    ends = np.cumsum(counts)
    row = np.repeat(np.arange(len(tokens)), counts)
    nth = np.arange(int(ends[-1]) if len(ends) else 0) - (ends - counts)[row]
    index = nth.astype(np.uint64)
    shared, full = nth < (system // block)[row], nth < (tokens // block)[row]
    ids = draw_all(of_tail, once[row], index)
    ids[full] = draw_all(of_session, session[row[full]], index[full])
    ids[shared] = draw_all(of_system, group[row[shared]].astype(np.uint64), index[shared])
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids), type=pa.list_(pa.field("item", pa.uint64(), nullable=False)))
