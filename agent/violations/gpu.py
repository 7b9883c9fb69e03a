"""`gpu`: a neighbour on the GPU, in percent of its time: kernels that keep every multiprocessor busy, half a millisecond at a stretch.

Without MPS a GPU serves one process at a time, so the share of its time is what neighbours take from each other. How long each kernel
really ran is what the GPU's own events say.
"""

from agent.gpu_load import GpuLoad

VIOLATION = GpuLoad("gpu", "sm", "paced CUDA kernels", per_unit=1e7, max_dose=100.0)
