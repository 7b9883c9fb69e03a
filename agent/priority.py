"""The agent's place among what else runs on its machine.

Where the kernel schedules by session (sched(7), autogroup), a nice value only counts within one's own session: the load generator at
nice -20 would share its core evenly with any other login's job. So the agent, which leads a session of its own, asks for its session.
It ends with the agent, and so does this.
"""

import os
from pathlib import Path

_LEAST_NICE = -20
_AUTOGROUP = Path("/proc/self/autogroup")


def lead_session() -> str | None:
    """Puts our own session before others; why not, in words, where it cannot. None: done, or the kernel has no such thing."""
    if not _AUTOGROUP.exists():
        return None
    if os.getsid(0) != os.getpid():
        return "not the leader of a session: other sessions' jobs share the cores evenly with the load generator"
    try:
        _AUTOGROUP.write_text(str(_LEAST_NICE))
    except OSError as error:
        return f"session not put before others ({error.strerror}): its jobs share the cores evenly with those of other sessions"
    return None
