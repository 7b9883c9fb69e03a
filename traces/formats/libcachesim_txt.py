"""libCacheSim's txt traces: the identity of an object on each line, nothing else. They are key-value gets in order, without times or sizes.
https://github.com/1a1a11a/libCacheSim, doc/quickstart_cachesim.md
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from traces.formats.columns import key_ids
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.text_lines import text_lines
from traces.schema import BATCH_ROWS, TraceMeta
from traces.stream import Trace


class LibCacheSimTxt:
    name = "libcachesim_txt"
    summary = "libCacheSim txt, an object's identity a line: gets in order, without times"

    def sniff(self, path: Path, head: bytes) -> int:
        lines = [line.strip() for line in head.split(b"\n")[:20]]
        whole = [line for line in (lines[:-1] if len(lines) > 1 else lines) if line]
        return 2 if whole and all(line.isdigit() for line in whole) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, (), self.name)
        meta = TraceMeta(kinds=("kv",), importer=self.name, loss_notes="ops are unknown and stand as get; there are no times and no sizes")
        return file_trace(path, meta, lambda: _read(path), options)


def _read(path: Path) -> Iterator[Chunk]:
    for texts in text_lines(path, "identities of objects"):
        for start in range(0, len(texts.lines), BATCH_ROWS):
            yield {"kind": "kv", "op": "get", "key_id": key_ids(texts.lines.slice(start, BATCH_ROWS))}


FORMAT = LibCacheSimTxt()
