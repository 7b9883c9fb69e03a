"""`gpu-membw`: a neighbour on the GPU's memory, in GB/s (1e9 bytes a second) read and written together, by copies within the device."""

from agent.gpu_load import GpuLoad

VIOLATION = GpuLoad("gpu-membw", "memory", "paced CUDA copies within the device", per_unit=1e9)
