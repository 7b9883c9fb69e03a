"""How what we put into a machine is known as ours, by whoever undoes it and whoever looks for it. Standard library only."""

import os
from pathlib import Path

TOKEN = "OFFSPEC_SCOPE="
"""In the environment of every process of a scope: OFFSPEC_SCOPE=<lease>/<scope>."""
CGROUP = "offspec"
"""<hierarchy>/offspec/<lease>/<scope>"""
NAMESPACE = "offspec-"
"""Network namespaces: offspec-<lease>-..."""
LINK = "ofs"
"""Links (15 characters at most): ofs..."""
QDISC_MAJOR = 0x0F5
"""Queueing disciplines: handle 0f5:, never `replace`."""
RULE = "offspec:"
"""Comment of firewall rules, and beginning of the name of own tables: offspec:<lease>"""
FOLDER_MARK = ".offspec"
"""A file by which a folder is known as ours."""
TEMPORARY = "offspec-"
"""Beginning of names in /tmp and /dev/shm."""


def guards() -> dict[str, tuple[int, str]]:
    """Leases that a guard or heir on this machine holds now: lease -> (process, state folder), whoever's they are."""
    found: dict[str, tuple[int, str]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # ended while we looked
        at = next((i for i, word in enumerate(words) if word.endswith("/guard.py")), None)
        if at is not None and len(words) > at + 3:
            found.setdefault(words[at + 3], (int(entry), words[at + 2]))
    return found
