"""`open_trace`: a file of any known format, or a synthesis, as one kind of thing. Some files hold a signal instead: `open_recording`."""

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats import format_of, formats
from traces.formats.bytes_in import one_line
from traces.signal import Signal
from traces.storage import is_remote, local_copy
from traces.stream import StreamTrace, Trace, limit
from traces.synthesis import is_synthesis, synthesis

__all__ = ["Signal", "StreamTrace", "Trace", "limit", "open_recording", "open_trace"]


def open_trace(
    spec: str | Path,
    *,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Trace:
    """A path, that of an object in a store (s3://bucket/trace.csv.zst), or a synthesis such as `poisson:50000,keys=1000,get=0.9,for=10s`.

    `options` are the format's own (`traces.formats`); `seed` is used by a synthesis that names none. Raises
    InvalidInput, also for a signal: nothing in it could be replayed.
    """
    found = open_recording(spec, format=format, options=options, seed=seed)
    if isinstance(found, Signal):
        raise found.refusal(spec)
    return found


def open_recording(
    spec: str | Path,
    *,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Trace | Signal:
    """As `open_trace`, but what holds samples of usage comes as a Signal."""
    text, options = str(spec), options or {}
    path = local_copy(text) if is_remote(text) else Path(text)
    there = os.path.exists(path)  # noqa: PTH110 - Path.exists raises for a name that is too long for a file, as that of a synthesis may be
    if not there and is_synthesis(text):
        if format is not None or options:
            raise InvalidInput(f"{text}: a synthesis has no format or options; expected its values in the text: ,name=value")
        return synthesis(text, seed)
    if format is not None and format not in formats():
        raise InvalidInput(f"{text}: format {format!r} is unknown; expected one of {', '.join(formats())}")
    if not there or not (path.is_file() or path.is_dir()):
        raise InvalidInput(f"{text}: no such file; expected a trace file, or a synthesis such as poisson:1000,for=10s")
    if path.is_file() and path.stat().st_size == 0:
        raise InvalidInput(f"{text}: the file is empty; expected a trace; fetch it again")
    try:
        return (formats()[format] if format is not None else format_of(path)).open(path, options)
    except PermissionError as error:
        raise InvalidInput(f"{text}: may not be read; expected a readable file; change its mode") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:  # of what a format reads ahead
        raise InvalidInput(f"{text}: {one_line(error)}; expected values that fit the canonical types; check the columns' units") from error
