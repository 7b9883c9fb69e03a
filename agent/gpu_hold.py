"""`python -m agent.gpu_hold ORDER`: holds as much memory of a GPU as its page asks for. ORDER is a JSON object: page_path, numbers
(device).

The page (agent/antagonist_page.py) is ready once the context is there and nothing is held yet, so that whoever reads the GPU's own count
then knows what the context alone takes. What is asked are bytes; what is done are the bytes held now.
"""

import ctypes
import json
import math
import mmap
import os
import select
import struct
import sys
from collections.abc import Sequence

from agent.antagonist_page import DONE_AT, PAGE_BYTES, RATE_AT, READY_AT
from agent.cuda import CudaFailed, Gpu
from agent.targets import stop_descriptor

CHUNK_BYTES = 8 << 20
_LOOK_S = 0.02


def main(argv: Sequence[str] | None = None) -> int:
    order = json.loads((sys.argv[1:] if argv is None else argv)[0])
    stop_fd = stop_descriptor(until_stdin_closes=False)
    fd = os.open(order["page_path"], os.O_RDWR)
    try:
        page = mmap.mmap(fd, PAGE_BYTES)
    finally:
        os.close(fd)
    held: list[ctypes.c_uint64] = []
    try:
        gpu = Gpu(int(order["numbers"]["device"]))
        struct.pack_into("=Q", page, READY_AT, 1)
        while not select.select([stop_fd], [], [], _LOOK_S)[0]:
            (asked,) = struct.unpack_from("=d", page, RATE_AT)
            chunks = math.ceil(max(0.0, asked) / CHUNK_BYTES)
            while len(held) < chunks:
                held.append(gpu.allocate(CHUNK_BYTES))
            while len(held) > chunks:
                gpu.free(held.pop())
            struct.pack_into("=Q", page, DONE_AT, len(held) * CHUNK_BYTES)
    except (CudaFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
