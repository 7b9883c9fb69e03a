"""A file that appears whole or not at all: written beside its place, synced, then renamed."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from traces.errors import InvalidInput

_OURS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What can only come of writing; other errors may be of what is read meanwhile, and are told by who reads it."""


def checked_place(path: Path) -> Path:
    """`path`, if a file can be put there. Raises InvalidInput for one without a folder, and for what is no file (a folder, a device, a
    pipe): renaming would put a file in the place of a device.
    """
    if not path.parent.is_dir():
        raise InvalidInput(f"{path}: no folder {path.parent}; expected one that exists; make it first")
    if path.is_dir():
        raise InvalidInput(f"{path}: is a folder; expected a file to write; name one in it")
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path}: is a device or a pipe; expected a file, which appears whole or not at all; name one")
    return path


@contextmanager
def part_beside(folder: Path) -> Iterator[Path]:
    """A name in `folder` to write to; nothing is left there after the block but what was put in place. Raises InvalidInput where it
    cannot be written, or there is no room.
    """
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix="offspec-", suffix=".part")
    except OSError as error:
        raise _unwritable(folder, error) from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
    except OSError as error:
        if error.errno not in _OURS:
            raise
        raise _unwritable(folder, error) from error
    finally:
        part.unlink(missing_ok=True)


def put_in_place(part: Path, path: Path) -> None:
    """A reader sees the whole file or none, even after the machine stopped. Raises InvalidInput for a place that cannot hold it."""
    checked_place(path)
    try:
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(place: Path, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"{place}: {os.strerror(error.errno) if error.errno else error}; expected a folder that may be written, with room; nothing was kept"
    )
