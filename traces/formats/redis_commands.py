"""Commands of Redis as key-value operations, and the texts that `MONITOR` prints of their arguments.

Each key that a command names becomes a request of its own: MGET of three keys is three gets at the same time. Commands that have no
counterpart (on hashes, lists, sets, streams, scripts, the server) are none of these.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

ONE_KEY = {
    "GET": "get", "GETEX": "get", "GETDEL": "get", "SET": "set", "GETSET": "set", "SETEX": "set", "PSETEX": "set", "SETNX": "add",
    "APPEND": "append", "INCR": "incr", "INCRBY": "incr", "INCRBYFLOAT": "incr", "DECR": "decr", "DECRBY": "decr",
    "EXPIRE": "touch", "PEXPIRE": "touch",
}  # fmt: skip
"""Commands with one key, which comes first."""
KEYS = {"MGET": "get", "DEL": "delete", "UNLINK": "delete", "TOUCH": "touch"}
"""Commands whose arguments are all keys."""
PAIRS = {"MSET": "set", "MSETNX": "add"}
"""Commands of keys and values by turns."""
COMMANDS = {**ONE_KEY, **KEYS, **PAIRS}
FOLDS = "each key of MGET, MSET, DEL and the like is a request; GETDEL is a get, GETSET a set, expiries are touches"

_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}
_UNIT_MS = {"EX": 1000, "PX": 1}


class Operation(NamedTuple):
    op: str
    key: str  # as printed, escapes and all
    value: str | None
    ttl_ms: int | None


def unescaped(text: str) -> bytes:
    """An argument's bytes: \\n \\r \\t \\a \\b \\" \\\\ and \\xhh, as Redis' sdscatrepr writes them."""

    def plain(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes.fromhex(code[1:].decode()) if len(code) == 3 else _NAMED.get(code, code)

    return _ESCAPE.sub(plain, text.encode())


def key_text(text: str) -> str:
    """A printed key as the text of which its identity is made: its own if it is UTF-8, else as printed, which is the same at each time."""
    if "\\" not in text:
        return text
    try:
        return unescaped(text).decode()
    except UnicodeDecodeError:
        return text


def arguments(text: str) -> list[str]:
    return _ARGUMENT.findall(text)


def operations(command: str, given: Sequence[str]) -> Iterator[Operation]:
    """What a command in capitals with its printed arguments does to keys; nothing for one that lacks them."""
    if command in KEYS:
        yield from (Operation(KEYS[command], key, None, None) for key in given)
    elif command in PAIRS:
        yield from (Operation(PAIRS[command], key, value, None) for key, value in zip(given[::2], given[1::2], strict=False))
    elif given:
        yield _of_one_key(command, given[0], given[1:])


def _of_one_key(command: str, key: str, rest: Sequence[str]) -> Operation:
    op = ONE_KEY[command]
    if command in ("SETEX", "PSETEX") and len(rest) >= 2:
        return Operation(op, key, rest[1], _whole(rest[0], 1000 if command == "SETEX" else 1))
    if command in ("EXPIRE", "PEXPIRE") and rest:
        return Operation(op, key, None, _whole(rest[0], 1000 if command == "EXPIRE" else 1))
    if command in ("SET", "GETSET", "SETNX", "APPEND") and rest:
        words = [word.upper() for word in rest[1:]]
        return Operation("add" if "NX" in words else "replace" if "XX" in words else op, key, rest[0], _lifetime_ms(words))
    return Operation(op, key, None, _lifetime_ms([word.upper() for word in rest]) if command == "GETEX" else None)


def _lifetime_ms(words: Sequence[str]) -> int | None:
    """Of the options EX and PX; a date (EXAT, PXAT) is no lifetime that can be replayed."""
    return next((_whole(number, _UNIT_MS[word]) for word, number in pairwise(words) if word in _UNIT_MS), None)


def _whole(text: str, factor: int) -> int | None:
    return int(text) * factor if text.isascii() and text.isdigit() and len(text) < 13 else None
