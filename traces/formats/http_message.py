"""What a trace needs of an HTTP/1 message as it went over the wire (RFC 9112): its first line, its host, the length of its body."""

import re
from dataclasses import dataclass

MOST_HEAD_BYTES = 256 << 10
_REQUEST = re.compile(rb"([A-Za-z][A-Za-z_-]{0,30}) (\S+) HTTP/\d(?:\.\d)?\r?")
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})(?: [^\r\n]*)?\r?")
_HOST = re.compile(rb"^host:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:[^\r\n]*chunked", re.IGNORECASE | re.MULTILINE)
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    host: str
    body_bytes: int


@dataclass(frozen=True)
class Response:
    status: int
    body_bytes: int


def request_of(data: bytes) -> Request | None:
    """None for bytes that are no HTTP/1 request."""
    head, body = _halves(data)
    line = _REQUEST.fullmatch(head.partition(b"\n")[0])
    if line is None:
        return None
    host = _HOST.search(head)
    target = line[2].decode(errors="backslashreplace")
    return Request(line[1].decode(), target, host[1].decode(errors="backslashreplace").strip() if host else "", _body_bytes(head, body))


def response_of(data: bytes) -> Response | None:
    """None for bytes that are no HTTP/1 response."""
    head, body = _halves(data)
    line = _STATUS.fullmatch(head.partition(b"\n")[0])
    return Response(int(line[1]), _body_bytes(head, body)) if line else None


def _halves(data: bytes) -> tuple[bytes, bytes]:
    end = _END_OF_HEAD.search(data, 0, MOST_HEAD_BYTES)
    return (data[: end.start()], data[end.end() :]) if end else (data[:MOST_HEAD_BYTES], b"")


def _body_bytes(head: bytes, body: bytes) -> int:
    """As the header says, without the framing of chunks, or as many as there are."""
    if _CHUNKED.search(head):
        return _unchunked_bytes(body)
    said = _LENGTH.search(head)
    return int(said[1]) if said else len(body)


def _unchunked_bytes(body: bytes) -> int:
    total, at = 0, 0
    while (end := body.find(b"\n", at, at + 64)) >= 0:
        try:
            size = int(body[at:end].split(b";")[0].strip() or b"0", 16)
        except ValueError:
            return total + len(body) - at  # no chunk begins here: what is left is taken as it is
        if size <= 0:
            break
        total += min(size, len(body) - end - 1)
        at = end + 1 + size + 2
    return total
