"""Drivers in Python, found by the entry point group `offspec.drivers`: what the engine does not speak itself.

The engine paces, stamps and counts their requests as it does its own; only the request itself is made by a Python thread, one for
each connection. That costs: the noise floor of such a driver is that of Python threads, and the report shows it.

    class Ping:                                   # the driver: one for each replay
        kind = "kv"                               # what kind of requests it sends (traces.schema.KINDS); "": any
        def __init__(self, url: str, options: Mapping[str, str]) -> None: ...
        def connect(self) -> "Pinger": ...        # one for each connection; raises OSError

    class Pinger:                                 # the session: used by one thread
        def request(self, request: Request) -> str:
            return "ok"                           # "ok", "miss" or "server"; raises OSError when the connection is broken
        def close(self) -> None: ...
"""

import atexit
import contextlib
import threading
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Protocol

from agent import _engine
from traces.errors import InvalidInput
from traces.projection import DRIVER_GROUP, driver_names

_LAST_WAIT_S = 1.0


class Session(Protocol):
    """One connection."""

    def request(self, request: _engine.Request) -> str: ...
    def close(self) -> None: ...


class Driver(Protocol):
    """A protocol, and where its server is."""

    kind: str

    def connect(self) -> Session: ...


def load(name: str, url: str, options: Mapping[str, str]) -> Driver:
    """Raises InvalidInput for an unknown name, or an option that the driver does not want."""
    for entry in entry_points(group=DRIVER_GROUP):
        if entry.name == name:
            try:
                made: Driver = entry.load()(url, options)
            except ImportError as error:
                raise InvalidInput(f"driver {name}: {error}; install what it needs: pip install 'offspec[{name}]'") from None
            except (ValueError, TypeError) as error:
                raise InvalidInput(f"driver {name}: {error}") from None
            return made
    raise InvalidInput(f"driver {name!r}: expected one of {', '.join(driver_names())}")


class Crew:
    """A thread and a session for each worker of an armed replay. Sessions are opened before the threads begin.

    Raises OSError where one cannot be opened.
    """

    def __init__(self, driver: Driver, replay: _engine.Replay) -> None:
        self._driver = driver
        self._replay = replay
        workers = replay.workers()
        sessions: list[Session] = []
        try:
            for _ in workers:
                sessions.append(driver.connect())
        except OSError:
            for session in sessions:
                session.close()
            raise
        pairs = zip(workers, sessions, strict=True)
        self._threads = [threading.Thread(target=self._work, args=pair, name="driver", daemon=True) for pair in pairs]
        for thread in self._threads:
            thread.start()
        # A thread that still waits inside the engine when the interpreter goes would take the process down with it.
        atexit.register(self._dismiss)

    def _dismiss(self) -> None:
        self._replay.stop()
        self._replay.disarm()
        self.join(_LAST_WAIT_S)

    def _work(self, worker: _engine.Worker, session: Session) -> None:
        current: Session | None = session
        while (request := worker.take()) is not None:
            try:
                if current is None:
                    current = self._driver.connect()
                answer = current.request(request)
            except OSError:
                worker.finish("connect" if current is None else "closed")
                _close(current)
                current = None
            except Exception:  # noqa: BLE001 - a driver of somebody else's: whatever it raises is this request's failure
                worker.finish("server")
            else:
                worker.finish(answer)
        _close(current)

    def join(self, timeout_s: float) -> None:
        """After the run: the threads end once the engine has let go of them."""
        for thread in self._threads:
            thread.join(timeout_s)
        if not any(thread.is_alive() for thread in self._threads):
            atexit.unregister(self._dismiss)


def _close(session: Session | None) -> None:
    if session is not None:
        with contextlib.suppress(OSError):
            session.close()
