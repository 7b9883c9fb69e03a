"""`disk`: a neighbour on the disk, in operations a second (IOPS) of `block_kib` each, `write` percent of them writes.

Direct I/O at random places of a file of its own, `depth` operations in flight at most. The file has `file_mib` and lies in the working
folder of the agent.
"""

from agent.disk_load import DiskLoad

VIOLATION = DiskLoad("disk", block_kib=4)
