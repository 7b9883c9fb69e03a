"""Access logs as lines of text: NCSA Common and Combined, as Apache (https://httpd.apache.org/docs/2.4/logs.html) and NGINX write them.

`[vhost:port] client ident user [time] "request" status bytes ["referrer" "agent"] [more]`; "-" stands for what is not known.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.access_fields import Fields, Reading
from traces.formats.access_stamps import clf_nanoseconds
from traces.formats.columns import nanoseconds
from traces.formats.left_out import LINES, Tally
from traces.formats.reading import Chunk
from traces.formats.text_lines import text_lines

_QUOTED = r'(?:[^"\\]|\\.)*'
_LINE = (
    r"^(?:(?P<vhost>\S+:\d+) )?(?P<client>\S+) \S+ [^\"\[]+ \[(?P<stamp>[^\]]*)\] "
    rf'"(?P<request>{_QUOTED})" (?P<status>\d\d\d|-) (?P<bytes>\d{{1,18}}|-)'
    rf'(?: "{_QUOTED}" "{_QUOTED}")?(?P<more>(?: .*)?)$'
)
_LAST = r"(?:^| )\"?(?P<last>[0-9]{1,9}(?:\.[0-9]{1,9})?)\"?$"
WHAT = "access log lines"
DURATIONS = ("s", "ms", "us")
"""Units of a duration at the end of a line."""


def looks_like_access_lines(line: str) -> bool:
    return bool(pc.match_substring_regex(pa.scalar(line), _LINE).as_py())


def read_lines(reading: Reading, last: str, tally: Tally) -> Iterator[Chunk]:
    """`last`: the unit of the duration that ends each line, "" for none."""
    for lot in text_lines(reading.path, WHAT):
        parts = pc.extract_regex(lot.lines, _LINE)
        if parts.null_count:
            row = pc.index(pc.is_null(parts), True).as_py()
            raise InvalidInput(
                f"{reading.path}: line {lot.numbers[row]}: {lot.lines[row].as_py()[:60]!r}; expected "
                'client - user [time] "request" status bytes as in a Common or Combined log; the line is damaged or cut short: take it out'
            )
        tally[LINES] += len(lot.numbers)
        yield reading.chunk(_fields(parts, lot.numbers, last), tally)


def _fields(parts: pa.Array, numbers: list[int], last: str) -> Fields:
    vhost = pc.struct_field(parts, "vhost")
    observed = None
    if last:
        took = pc.struct_field(pc.extract_regex(pc.struct_field(parts, "more"), _LAST), "last")
        observed = nanoseconds(took.cast(pa.decimal128(38, 18)), last)
    return Fields(
        stamp_ns=clf_nanoseconds(pc.struct_field(parts, "stamp")),
        request=pc.struct_field(parts, "request"),
        client=pc.struct_field(parts, "client"),
        tenant=_known(vhost, ""),
        status=_known(pc.struct_field(parts, "status"), "-").cast(pa.int32()),
        resp_bytes=_known(pc.struct_field(parts, "bytes"), "-").cast(pa.int64()),
        observed_ns=observed,
        req_bytes=None,
        line=lambda row: f"line {numbers[row]}",
    )


def _known(values: pa.Array, unknown: str) -> pa.Array:
    return pc.if_else(pc.equal(values, unknown), pa.scalar(None, pa.utf8()), values)
