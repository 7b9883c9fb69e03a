"""Node-local commands: `offspec replay | trace | inject | undo | doctor | target`. Arguments and exit codes only."""

import argparse
import errno
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from agent.arguments import OneLineParser
from traces.errors import OffspecError

Run = Callable[[argparse.Namespace], int]


def _replay() -> tuple[Callable[[argparse.ArgumentParser], None], Run]:
    from agent import replay_command

    return replay_command.add_arguments, replay_command.run


def _capacity() -> tuple[Callable[[argparse.ArgumentParser], None], Run]:
    from agent import capacity_command

    return capacity_command.add_arguments, capacity_command.run


def _trace() -> tuple[Callable[[argparse.ArgumentParser], None], Run]:
    from agent import trace_verbs

    return trace_verbs.add_arguments, trace_verbs.run


def _inject() -> tuple[Callable[[argparse.ArgumentParser], None], Run]:
    from agent import inject

    return inject.add_arguments, inject.run


def _undo() -> tuple[Callable[[argparse.ArgumentParser], None], Run]:
    from agent import undo_command

    return undo_command.add_arguments, undo_command.run


def _doctor() -> tuple[Callable[[argparse.ArgumentParser], None], Run]:
    from agent import doctor_command

    return doctor_command.add_arguments, doctor_command.run


def _target() -> tuple[Callable[[argparse.ArgumentParser], None], Run]:
    from agent import targets

    return targets.add_arguments, targets.run


COMMANDS = {
    "replay": (_replay, "replay one trace against one server, as one would use wrk"),
    "capacity": (_capacity, "find the highest rate that a server takes within an objective"),
    "trace": (_trace, "import, describe and list traces"),
    "inject": (_inject, "apply one violation to this machine for a while, under the guard"),
    "undo": (_undo, "undo whatever a dead agent left on this machine"),
    "doctor": (_doctor, "what this machine is, and what can be done to it"),
    "target": (_target, "run a built-in system with known behaviour"),
}


_OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What the machine lacks, wherever in a command it shows: no error of ours."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command as Ctrl-C does, so that what it opened is closed and its temporary files go."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; one line on stderr for whatever a user can cause."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else ""
    if name not in COMMANDS:
        print(f"offspec: error: {name or 'no command'}: expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    load, about = COMMANDS[name]
    add_arguments, run = load()
    parser = OneLineParser(prog=f"offspec {name}", description=about)
    add_arguments(parser)
    args = parser.parse_args(words[1:])
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return run(args)
    except OffspecError as error:
        print(f"offspec: error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno not in _OUT_OF_ROOM:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"offspec: error: {where}{os.strerror(error.errno)}; temporary files lie in {tempfile.gettempdir()}: "
              "make room there, or set TMPDIR", file=sys.stderr)  # fmt: skip
        return 4
    except Terminated:
        print("offspec: terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("offspec: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our stdout went away (| head): not an error; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
