"""The keys that are stored before a measurement, in the spelling of each contestant; all are as many, each 64 bytes long."""

from collections.abc import Iterator

from agent import _engine

KEYS = 1000
KEY_BYTES = 16
VALUE_BYTES = 64


def spellings() -> Iterator[str]:
    for each in range(KEYS + 1):
        yield f"key:{each:012d}"  # redis-benchmark
        yield f"memtier-{each}"
        yield _engine.key_text(each, KEY_BYTES)
