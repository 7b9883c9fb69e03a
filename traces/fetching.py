"""Files over HTTP, whole or not at all: what has come lies beside the target as `.part` and is gone on with, and the target appears only
when its length and sums are right.

A part is gone on with only if the server said of which version it is (ETag or Last-Modified) and still has that one (If-Range). Whoever
cuts, stalls or is busy is asked again after a growing pause, until nothing has come for as long as patience lasts. Knows no credentials.
"""

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from traces.errors import InvalidInput, OutOfReach, Refused
from traces.formats.bytes_in import one_line

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
_LONGEST_PAUSE_S = 30.0
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
Progress = Callable[[int, int | None], None]
"""Called with bytes that are there and bytes in all, None where the server does not say."""


@dataclass(frozen=True)
class Wanted:
    """A file, and what is known of it: "" and None are unknown. `addresses` are tried in their order."""

    addresses: tuple[str, ...]
    bytes: int | None = None
    sha256: str = ""
    git_blob: str = ""


@dataclass(frozen=True)
class Fetched:
    path: Path
    bytes: int
    sha256: str
    address: str
    checked: bool  # against a sum that was known before
    was_there: bool


@dataclass(frozen=True)
class Pace:
    """How long to bear with a server: gives up when nothing came for `patience_s`. `told` hears of each new try."""

    patience_s: float = 300.0
    first_pause_s: float = 1.0
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    told: Callable[[str], None] = lambda line: None


class _Passing(Exception):
    """Worth another try, after `after_s` where the server named a time."""

    def __init__(self, said: str, after_s: float = 0.0) -> None:
        super().__init__(said)
        self.after_s = after_s


class _Gone(Exception):
    """Not at this address."""


class _SameKind(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and never from https to http."""

    def redirect_request(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://") and not (newurl.startswith("http://") and req.full_url.startswith("http://")):
            raise _Gone(f"sends on to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(wanted: Wanted, path: Path, progress: Progress = lambda got, total: None, pace: Pace | None = None) -> Fetched:
    """The file at `path`. Raises InvalidInput for one that is not what it should be, OutOfReach where it cannot be had now (what came is
    kept for the next time), Refused where another process fetches it.
    """
    if path.exists():
        size, sha256, wrong = _checked(path, wanted)
        if wrong:
            raise InvalidInput(f"{path}: is there already, but {wrong}; expected the trace; move it away or name another place")
        return Fetched(path, size, sha256, "", bool(wanted.sha256 or wanted.git_blob), True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with _alone(part):
            return _fetched(wanted, path, part, progress, pace or Pace())
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or one_line(error)}; expected a place with room to write; name another") from error


def _fetched(wanted: Wanted, path: Path, part: Path, progress: Progress, pace: Pace) -> Fetched:
    said = []
    for address in wanted.addresses:
        try:
            resumed = _download(address, wanted, part, progress, pace)
            size, sha256, wrong = _checked(part, wanted)
            if wrong and resumed:  # the pieces may be of two files that the server took for one: once more, from the beginning
                _forget(part)
                _download(address, wanted, part, progress, pace)
                size, sha256, wrong = _checked(part, wanted)
        except _Gone as error:
            said.append(f"{address}: {error}")
            continue
        if wrong:
            _forget(part)
            raise InvalidInput(f"{address}: what came is another file: {wrong}; expected the trace as it was published; nothing was kept")
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        _state(part).unlink(missing_ok=True)
        return Fetched(path, size, sha256, address, bool(wanted.sha256 or wanted.git_blob), False)
    raise OutOfReach(f"{'; '.join(said)}; expected the file at its owner's address; it may have moved: see where it is confirmed")


def _download(address: str, wanted: Wanted, part: Path, progress: Progress, pace: Pace) -> bool:
    """Until all is in `part`. Says whether it is of several pieces."""
    pause_s, since, resumed, at = pace.first_pause_s, pace.now(), False, _size(part)
    while True:
        try:
            whole, piece = _attempt(address, wanted, part, progress)
            resumed = resumed or piece
            if whole:
                return resumed
            said = "the connection ended early"
            after_s = 0.0
        except _Passing as error:
            said, after_s = str(error), error.after_s
        if _size(part) > at:  # something came: patience begins anew
            pause_s, since = pace.first_pause_s, pace.now()
        at = _size(part)
        wait_s = max(pause_s, after_s)
        if pace.now() + wait_s - since > pace.patience_s:
            raise OutOfReach(
                f"{address}: {said}, and nothing has come for {pace.now() - since:.0f} s; expected an answer; "
                f"{at:,} bytes are kept at {part}: run it again to go on"
            )
        pace.told(f"{said}; trying again in {wait_s:g} s")
        pace.pause(wait_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _attempt(address: str, wanted: Wanted, part: Path, progress: Progress) -> tuple[bool, bool]:
    """One request: (whether the file is whole now, whether it went on from what was there)."""
    version = _version(part, address)
    at = _size(part) if version else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "offspec"}
    if at:
        headers |= {"Range": f"bytes={at}-", "If-Range": version}
    opener = urllib.request.build_opener(_SameKind)
    try:
        with opener.open(urllib.request.Request(address, headers=headers), timeout=_TIMEOUT_S) as answer:
            goes_on, total = _where(answer, at, version)
            if not goes_on:
                _remember(part, address, _version_of(answer))
                at = 0
            got = _copy(answer, part, at, total, wanted, progress)
            expected = total if total is not None else wanted.bytes
            return expected is None or got >= expected or _too_much(got, wanted), goes_on
    except urllib.error.HTTPError as error:
        if error.code == 416 and at:  # there is nothing beyond what is there: either that is all, or the file has shrunk
            if error.headers.get("Content-Range", "").endswith(f"*/{at}"):
                return True, True
            _forget(part)
            raise _Passing("the file became shorter") from error
        if error.code in _PASSING:
            after = error.headers.get("Retry-After", "")
            raise _Passing(f"answered {error.code}", float(after) if after.isdigit() and len(after) < 6 else 0.0) from error
        raise _Gone(f"answered {error.code} {error.reason}") from error
    except http.client.HTTPException as error:
        raise _Passing(one_line(error) or type(error).__name__) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise _Passing(one_line(error) or "it stalled") from error


def _where(answer: Any, at: int, version: str) -> tuple[bool, int | None]:
    """(whether the answer goes on at `at`, bytes of the whole file)."""
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", "")) if answer.status == 206 else None
    if answer.status == 206 and (found is None or int(found[1]) != at or _version_of(answer) not in ("", version)):
        raise _Gone(f"answered with another range than asked for: {answer.headers.get('Content-Range')!r}")
    if found is not None:
        return True, int(found[2]) if found[2] != "*" else None
    length = answer.headers.get("Content-Length", "")
    return False, int(length) if length.isdigit() else None


def _copy(answer: Any, part: Path, at: int, total: int | None, wanted: Wanted, progress: Progress) -> int:
    """Appends to `part` from `at` on. Gives the bytes that are there then."""
    most = wanted.bytes if wanted.bytes is not None else total
    with part.open("r+b") as file:
        file.truncate(at)
        file.seek(at)
        progress(at, most)
        while not _too_much(at, wanted) and (data := _next(answer)):
            file.write(data)
            at += len(data)
            progress(at, most)
    return at


def _next(answer: Any) -> bytes:
    try:
        data: bytes = answer.read(_BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:  # of the network: what fails on disk is another matter
        raise _Passing(one_line(error) or type(error).__name__) from error
    return data


def _too_much(got: int, wanted: Wanted) -> bool:
    """No need to read on: it is another file."""
    return wanted.bytes is not None and got > wanted.bytes


def _checked(path: Path, wanted: Wanted) -> tuple[int, str, str]:
    """(bytes, sha256, what is wrong with them or "")."""
    size = path.stat().st_size
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(_BLOCK_BYTES):
            sha256.update(data)
            blob.update(data)
    known = (("bytes", wanted.bytes, size), ("sha256", wanted.sha256, sha256.hexdigest()), ("git blob", wanted.git_blob, blob.hexdigest()))
    wrong = [f"its {what} is {has} instead of {known_to_be}" for what, known_to_be, has in known if known_to_be and known_to_be != has]
    return size, sha256.hexdigest(), ", ".join(wrong)


def _version_of(answer: Any) -> str:
    """What a later request can name this version by: a strong ETag, or else the date of its last change."""
    tag: str = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("Last-Modified", ""))


def _state(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remember(part: Path, address: str, version: str) -> None:
    part.write_bytes(b"")
    _state(part).write_text(json.dumps({"address": address, "version": version}))


def _version(part: Path, address: str) -> str:
    """Of what is in `part`, "" where it cannot be gone on with."""
    try:
        state = json.loads(_state(part).read_text())
    except (OSError, ValueError):
        return ""
    return str(state.get("version", "")) if isinstance(state, dict) and state.get("address") == address else ""


def _forget(part: Path) -> None:
    part.write_bytes(b"")
    _state(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """Holds the part against other processes; an empty one is taken away in the end."""
    with part.open("ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"{part}: another process is fetching it; expected one at a time; wait for it") from error
        try:
            yield held
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()
                _state(part).unlink(missing_ok=True)
