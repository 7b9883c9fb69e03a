"""What the NVIDIA driver's management library says of a GPU's memory: the reading that a neighbour on it cannot be wrong about.

Source: NVML API reference, nvmlDeviceGetMemoryInfo, nvmlDeviceGetComputeRunningProcesses.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Memory:
    """Of one device, in bytes. `of_process` is None where the driver does not tell it (another PID namespace, a virtual GPU)."""

    total: int
    free: int
    used: int
    of_process: int | None


def memory(device: int, pid: int) -> Memory:
    """Raises OSError, in the library's own words."""
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(device)
            whole = pynvml.nvmlDeviceGetMemoryInfo(handle)
            running = {each.pid: each.usedGpuMemory for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise OSError(str(error)) from None
    return Memory(int(whole.total), int(whole.free), int(whole.used), running.get(pid))
