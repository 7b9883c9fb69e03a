"""`disk-bw`: a neighbour on the disk's bandwidth, in MB/s (1e6 bytes a second) in blocks of `block_kib`, `write` percent of them writes.

Direct I/O at random places of a file of its own, `depth` operations in flight at most. The file has `file_mib` and lies in the working
folder of the agent.
"""

from agent.disk_load import DiskLoad

VIOLATION = DiskLoad("disk-bw", block_kib=256, unit_bytes=1e6)
