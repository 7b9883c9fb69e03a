"""The keys that are stored before a measurement, in the spelling of redis-benchmark, memtier_benchmark and offspec, each with 64 bytes."""

from collections.abc import Iterator

from agent import _engine

KEYS = 1000
KEY_BYTES = 16
VALUE_BYTES = 64


def constant_keys() -> Iterator[tuple[str, int]]:
    for each in range(KEYS + 1):
        for key in (f"key:{each:012d}", f"memtier-{each}", _engine.key_text(each, KEY_BYTES)):
            yield key, VALUE_BYTES
