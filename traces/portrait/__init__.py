"""What one pass over a trace tells of it: laws of gaps, counts, keys, reuse, sizes, ops, prefixes and sessions, in constant memory."""

from traces.portrait.gather import Portrait, portrait_of

__all__ = ["Portrait", "portrait_of"]
