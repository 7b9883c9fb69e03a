"""`python -m agent.gpu_antagonist ORDER`: one neighbour on a GPU, paced as all are. ORDER is a JSON object: kind (sm, memory, to-device,
from-device), page_path, numbers (device).
"""

import json
import os
import sys
from collections.abc import Callable, Sequence

from agent.cuda import CudaFailed, Gpu
from agent.targets import stop_descriptor

_SPAN_NS = 500_000
"""One kernel's length: long beside what launching it takes, short beside what a system on the GPU waits for."""
_SPANS_AT_ONCE = 4
_COPY_BYTES = {"memory": 32 << 20, "to-device": 4 << 20, "from-device": 4 << 20}
_COPIES_AT_ONCE = 4


def work(gpu: Gpu, kind: str) -> tuple[Callable[[int], int], int, int]:
    """(what does about so many units and says how many it did, the fewest, the most). Units: sm nanoseconds that the device was busy, by
    its own events; else bytes: of `memory` those read and those written. Raises CudaFailed.
    """
    if kind == "sm":
        gpu.load_spin()

        def spin(units: int) -> int:
            gpu.begin()
            for _ in range(units // _SPAN_NS):
                gpu.spin(_SPAN_NS)
            return gpu.took_ns()

        return spin, _SPAN_NS, _SPANS_AT_ONCE * _SPAN_NS
    size = _COPY_BYTES[kind]
    here = gpu.allocate(size)
    counted = 2 * size if kind == "memory" else size
    if kind == "memory":
        there = gpu.allocate(size)

        def copy() -> None:
            gpu.copy_within(there, here, size)
    else:
        host = gpu.allocate_pinned(size)

        def copy() -> None:
            gpu.copy_in(here, host, size) if kind == "to-device" else gpu.copy_out(host, here, size)

    def copies(units: int) -> int:
        gpu.begin()
        for _ in range(units // counted):
            copy()
        gpu.took_ns()
        return units // counted * counted

    return copies, counted, _COPIES_AT_ONCE * counted


def main(argv: Sequence[str] | None = None) -> int:
    order = json.loads((sys.argv[1:] if argv is None else argv)[0])

    from agent import _engine

    stop_fd = stop_descriptor(until_stdin_closes=False)
    failed: list[CudaFailed] = []
    try:
        gpu = Gpu(int(order["numbers"]["device"]))
        do, quantum, most = work(gpu, order["kind"])
    except (CudaFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    bound = False

    def step(units: int) -> int:
        nonlocal bound
        try:
            if not bound:
                gpu.bind()
                bound = True
            return do(units)
        except CudaFailed as error:
            # A context that failed once fails for good: the process ends, and the dose is seen to be gone.
            failed.append(error)
            os.kill(os.getpid(), 15)
            raise

    numbers = {"quantum": float(quantum), "most": float(most)}
    _engine.antagonist_paced(kind="called", page_path=order["page_path"], stop_fd=stop_fd, numbers=numbers, step=step)
    if failed:
        print(failed[0], file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
