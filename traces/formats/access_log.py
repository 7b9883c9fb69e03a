"""Access logs of web servers: Common and Combined of Apache and NGINX, and NGINX's JSON objects. One row is one HTTP request.

Lines are written when a request has ended but Apache stamps its beginning, so rows are out of order by as much as a request takes: they are
put in order within ten minutes (option `sort`). NGINX stamps the end: with `request_time` known, the beginning is counted back.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from traces.errors import InvalidInput
from traces.formats.access_fields import Reading, key_of_log
from traces.formats.access_lines import DURATIONS, looks_like_access_lines, read_lines
from traces.formats.access_objects import looks_like_access_objects, read_objects, time_field
from traces.formats.bytes_in import head_of
from traces.formats.json_shape import first_object, json_shape
from traces.formats.left_out import Tally, left_out, skips_others
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace

_HEAD_BYTES = 64 << 10
_LATE = "10m"


class AccessLog:
    name = "access_log"
    summary = (
        "web access logs: Common, Combined, NGINX JSON; options other=refuse, clients=keep, last=us (a duration ends each line), stamp=end"
    )

    def sniff(self, path: Path, head: bytes) -> int:
        found = first_object(head)
        if found is not None:
            return 3 if looks_like_access_objects(found) else 0
        line = next((line for line in head.split(b"\n") if line.strip()), b"")
        return 3 if looks_like_access_lines(line.rstrip(b"\r").decode(errors="replace")) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "other", "clients", "last", "stamp"), self.name)
        last = _one_of(path, options, "last", ("", *DURATIONS))
        hidden = _one_of(path, options, "clients", ("hash", "keep")) == "hash"
        objects = head_of(path, _HEAD_BYTES).lstrip().startswith(b"{")
        late = _one_of(path, options, "stamp", ("end", "begin") if objects else ("begin", "end")) == "end"
        reading = Reading(path, skips_others(path, options), late, key_of_log(path) if hidden else None)
        shape = json_shape(path) if objects else {}
        fine = objects and time_field(shape, path) == "msec"

        def read(tally: Tally) -> Iterator[Chunk]:
            return read_objects(reading, shape, tally) if objects else read_lines(reading, last, tally)

        notes = ["referrers, user agents and users are left out", left_out(read)]
        if late and ("request_time" in shape or last):
            notes.append("arrivals are the log's stamps less how long each request took")
        meta = TraceMeta(
            kinds=("http",),
            importer=self.name,
            arrival_resolution_ns=1_000_000 if fine else 1_000_000_000,
            anonymised={"client": "addresses and host names became hashes with a key of the log's own bytes"} if hidden else {},
            loss_notes="; ".join(filter(None, notes)),
        )
        return file_trace(path, meta, lambda: read(Tally()), options, clock="unix", sort=_LATE)


def _one_of(path: Path, options: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    """An option's word; the first one is what it is without."""
    word = options.get(name, words[0])
    if word not in words:
        raise InvalidInput(f"{path}: option {name}: {word!r}; expected one of {', '.join(filter(None, words))}")
    return word


FORMAT = AccessLog()
