"""`pcie`: a neighbour on the way between host and GPU, in GB/s (1e9 bytes a second) of copies from pinned memory, or to it."""

from agent.gpu_load import GpuLoad

VIOLATION = GpuLoad("pcie", "to-device", "paced CUDA copies from or to pinned memory", per_unit=1e9)
