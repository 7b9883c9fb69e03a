"""What an access log says of each request, the same for lines of text and for JSON objects, as canonical columns.

A request whose method is not one that a trace can hold, or that is no HTTP request at all ("-", bytes of a TLS handshake), is left out and
counted, or refused. Addresses and host names of clients become pseudonyms unless they are to be kept.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of
from traces.formats.left_out import Tally
from traces.formats.reading import Chunk
from traces.schema import OPS

NO_REQUEST, OTHER_METHOD = "without an HTTP request", "of other methods"
_REQUEST = r"^(?P<method>[A-Za-z][A-Za-z_-]*) (?P<target>\S.*?)(?: HTTP/[0-9.]+)?$"
_KEYED_BYTES = 1 << 20


@dataclass(frozen=True)
class Fields:
    """Of some requests; null where a log does not say. `line` says where a row stands, for messages."""

    stamp_ns: pa.Array
    request: pa.Array  # "GET /path HTTP/1.1"
    client: pa.Array
    tenant: pa.Array | None
    status: pa.Array
    resp_bytes: pa.Array
    observed_ns: pa.Array | None
    req_bytes: pa.Array | None
    line: Callable[[int], str]


@dataclass(frozen=True)
class Reading:
    """How a log is read. `late`: stamps are those of the end of a request, and requests began by `observed_ns` before.
    `key`: of the pseudonyms of clients, None to keep them.
    """

    path: Path
    skip: bool
    late: bool
    key: bytes | None

    def chunk(self, fields: Fields, tally: Tally) -> Chunk:
        """Raises InvalidInput for a row without a time, or one that is left out where nothing may be."""
        rows = len(fields.stamp_ns)
        parts = pc.extract_regex(fields.request, _REQUEST)
        method, target = pc.struct_field(parts, "method"), pc.struct_field(parts, "target")
        spoken = pc.is_valid(method)
        known = pc.and_(spoken, pc.is_in(method, pa.array(OPS["http"])).fill_null(False))
        for reason, wrong in ((NO_REQUEST, pc.invert(spoken)), (OTHER_METHOD, pc.and_not(spoken, known))):
            count = pc.sum(wrong).as_py() or 0
            if count and not self.skip:
                row = pc.index(wrong, True).as_py()
                shown = (fields.request[row].as_py() or "")[:60]
                raise InvalidInput(
                    f"{self.path}: {fields.line(row)}: request {shown!r}; expected one of {', '.join(OPS['http'])} and a path; "
                    "give the option other=skip to leave such out"
                )
            if count:
                tally[reason] += count
        timeless = pc.and_(known, pc.is_null(fields.stamp_ns))
        if pc.any(timeless, min_count=0).as_py():
            row = pc.index(timeless, True).as_py()
            raise InvalidInput(f"{self.path}: {fields.line(row)}: its time cannot be read; expected one such as 17/May/2015:10:05:03 +0000")
        stamp = fields.stamp_ns
        if self.late and fields.observed_ns is not None:
            stamp = pc.subtract(stamp, fields.observed_ns.fill_null(0))
        columns = {
            "arrival_ns": stamp,
            "op": method,
            "target": target,
            "tenant": fields.tenant,
            "client": self._clients(fields.client),
            "status": fields.status,
            "req_bytes": fields.req_bytes,
            "resp_bytes": fields.resp_bytes,
            "observed_ns": fields.observed_ns,
        }
        every = pc.sum(known).as_py() == rows
        chunk: Chunk = {"kind": "http"}
        for name, column in columns.items():
            if column is not None:
                chunk[name] = column if every else column.filter(known)
        return chunk

    def _clients(self, clients: pa.Array) -> pa.Array:
        if self.key is None:
            return clients
        encoded = clients.dictionary_encode()
        names = pa.array([_pseudonym(self.key, name) for name in encoded.dictionary.to_pylist()], pa.utf8())
        return pa.DictionaryArray.from_arrays(encoded.indices, names)


def key_of_log(path: Path) -> bytes:
    """With which this log's clients are hidden: of its own bytes, because without a key all four billion addresses could be tried."""
    return hashlib.blake2b(head_of(path, _KEYED_BYTES), digest_size=32, person=b"clients").digest()


@lru_cache(maxsize=65_536)
def _pseudonym(key: bytes, name: str) -> str:
    """An address (or host name) as a text that only who has the log can find again; anything else is a pseudonym already."""
    if "." not in name and ":" not in name:
        return name
    return "c" + hashlib.blake2b(name.encode(), digest_size=8, key=key).hexdigest()
