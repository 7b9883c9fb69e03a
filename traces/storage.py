"""Traces in object stores: s3://, gs://, abfs://, hdfs:// and whatever else pyarrow.fs reads.

A trace is read several times (its extent, its facts, its rows), so an object is copied once to a cache on local disk and read from there;
a copy is used again while the object has the size and the time of change that it had. What is written goes to a local file first, so that
the object appears whole or not at all. Credentials are those of the store's own environment variables; none are kept here.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from traces.errors import InvalidInput
from traces.formats.bytes_in import one_line
from traces.scratch import scratch

CACHE_VARIABLE = "OFFSPEC_CACHE"
_COPY_BYTES = 8 << 20


def is_remote(text: str) -> bool:
    scheme, colons, _ = text.partition("://")
    return bool(colons) and scheme.isalnum() and len(scheme) > 1


def cache_folder() -> Path:
    """$OFFSPEC_CACHE, else offspec in the user's cache."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "offspec"


def _store(uri: str) -> tuple[fs.FileSystem, str]:
    try:
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"{uri}: {one_line(error)}; expected an object such as s3://bucket/trace.parquet") from error
    return found


def local_copy(uri: str) -> Path:
    """An object as a local file of the same name. Raises InvalidInput for one that is not there or cannot be read whole."""
    store, place = _store(uri)
    try:
        info = store.get_file_info(place)
        if info.type != fs.FileType.File:
            raise InvalidInput(f"{uri}: no such object; expected a trace file; check the name and the right to read it")
        state = hashlib.sha256(f"{uri}\0{info.size}\0{info.mtime_ns}".encode()).hexdigest()[:24]
        path = cache_folder() / "objects" / state / Path(place).name
        if path.is_file() and path.stat().st_size == info.size:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _partial(path) as part:
            with store.open_input_stream(place) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, _COPY_BYTES)
            copied = part.stat().st_size
            if copied != info.size:
                raise InvalidInput(f"{uri}: {copied} of {info.size} bytes came; expected all; try again")
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(
            f"{uri}: {one_line(error)}; expected a readable object; check the address, the network and the credentials"
        ) from error
    return path


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A name beside `path`, which takes its place at the end of a block that does not fail."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def written(target: str) -> Iterator[Path]:
    """A local path to write; at the end of a block that does not fail it is at `target`, which may be an object's address."""
    if not is_remote(target):
        yield Path(target)
        return
    store, place = _store(target)
    with scratch("upload") as folder:
        path = folder / Path(place).name
        yield path
        try:
            with path.open("rb") as source, store.open_output_stream(place) as sink:
                shutil.copyfileobj(source, sink, _COPY_BYTES)
        except (pa.ArrowException, OSError) as error:
            raise InvalidInput(
                f"{target}: {one_line(error)}; expected an object that may be written; check the address and the credentials"
            ) from error
