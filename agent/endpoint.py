"""A server to load, from its URL: driver, host, port, the driver's options, and whose certificates are believed.

Loads nothing and connects to nothing.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

from traces.errors import UsageError
from traces.projection import DRIVER_GROUP, DRIVER_KINDS

SYSTEM_TRUST, TRUST_ANYBODY = "system", "anybody"

# scheme -> (driver, port, over TLS)
_SCHEMES: Mapping[str, tuple[str, int, bool]] = {
    "redis": ("redis", 6379, False),
    "rediss": ("redis", 6379, True),
    "memcached": ("memcached", 11211, False),
    "http": ("http", 80, False),
    "https": ("http", 443, True),
    "h2c": ("http2", 80, False),
    "h2": ("http2", 443, True),
    "grpc": ("grpc", 50051, False),
    "grpcs": ("grpc", 443, True),
    "openai": ("openai", 8000, False),
    "openais": ("openai", 443, True),
    "tcp": ("tcp", 0, False),
    "udp": ("udp", 0, False),
    "block": ("block", 0, False),
    "null": ("null", 0, False),
}
_PATHS = ("http", "http2", "grpc", "openai")
PLACELESS = ("block", "null")
"""Drivers without host and port."""

EXAMPLES = "redis://HOST:PORT, http://HOST:PORT/PATH, grpc://HOST:PORT/package.Service/Method, udp://HOST:PORT, block:///path/of/file"


@dataclass(frozen=True)
class Endpoint:
    """`tls`: None, "system", "anybody", or the path of a PEM file."""

    driver: str
    host: str
    port: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    tls: str | None = None

    @property
    def in_engine(self) -> bool:
        """Whether the driver is the engine's own."""
        return self.driver in DRIVER_KINDS

    def is_harmless(self) -> bool:
        """Whether no one's leave is needed: it is this machine, and nothing on a disk is written over."""
        if self.driver == "null":
            return True
        if self.driver == "block":
            # A link to a device is a device.
            path = Path(self.host).resolve()
            return not path.exists() or (path.is_file() and (path.stat().st_size == 0 or self.options.get("access") == "ro"))
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def schemes() -> list[str]:
    return [*_SCHEMES, *sorted(e.name for e in entry_points(group=DRIVER_GROUP))]


def parse_endpoint(url: str, options: Sequence[str] = (), headers: Sequence[str] = (), trust: str | None = None) -> Endpoint:
    """`options`: NAME=VALUE each; `headers`: "Name: value" each. Raises UsageError, one line."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(f"{url}: not a URL; expected such as {EXAMPLES}") from None
    found: dict[str, str] = {}
    if parts.scheme in _SCHEMES:
        driver, default_port, tls = _SCHEMES[parts.scheme]
    elif parts.scheme in schemes():
        driver, default_port, tls = parts.scheme, 0, False
        found["url"] = url
    else:
        raise UsageError(f"{url}: scheme {parts.scheme!r}; expected one of {', '.join(schemes())}")
    if driver in PLACELESS:
        host, port = (unquote(parts.path), 0) if driver == "block" else ("null", 0)
        if not host:
            raise UsageError(f"{url}: expected the path of a file or device, such as block:///tmp/file")
    else:
        host, port = parts.hostname or "", port or default_port
        if not host or (not port and driver in DRIVER_KINDS):
            raise UsageError(f"{url}: host or port is missing; expected such as {EXAMPLES}")
    if driver in _PATHS and (parts.path or parts.query):
        found["path"] = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if driver == "redis":
        found |= _redis(parts.username, parts.password, parts.path, url)
    if trust is not None and not tls:
        raise UsageError(f"{url}: is not over TLS; whose certificates are believed says nothing there")
    for text in options:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--with {text}: expected NAME=VALUE")
        found[name] = value
    if headers:
        found["headers"] = "\n".join(headers)
    return Endpoint(driver, host, port, found, (trust or SYSTEM_TRUST) if tls else None)


def _redis(user: str | None, password: str | None, path: str, url: str) -> dict[str, str]:
    found = {name: unquote(value) for name, value in (("user", user), ("password", password)) if value}
    database = path.strip("/")
    if database and not database.isdecimal():
        raise UsageError(f"{url}: path {path}: expected the number of a database, such as /0")
    return found | ({"db": database} if database and database != "0" else {})
