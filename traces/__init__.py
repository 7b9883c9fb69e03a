"""Traces: reading them, making them, bending them, describing them, compiling them for a replay.

`source.open_trace` opens, `transforms.apply` bends, `characterise.describe` describes,
`compile.compile_workload` writes what agents replay. Imports nothing of the other packages, starts no load.
"""
