"""The project's exception tree, in one place (here, because traces is below every package that raises).

    OffspecError            one line for a person: what, where, expected, remedy; `exit_code` for the shell
    ├── UsageError        2   a flag or argument
    ├── InvalidInput      3   a campaign, trace or schema; nothing was started
    ├── PreflightFailed   4   the nodes cannot do what the plan asks
    ├── MeasurementInvalid 12 a number exists but must not be believed
    ├── SystemFailed      11  the system under test never served: inconclusive, no data
    ├── SafetyStop       20   stopped to protect a machine
    ├── OutOfReach       30   controller or agents cannot be reached
    ├── Refused          31   another controller holds it, or not authorised
    └── Interrupted     130   by the user; resumable

Exit codes 0, 10, 11, 13 and 124 are results, not errors: see controller.exits.
"""

_MOST_CHARACTERS = 1200
"""What a file holds may end up in a message; nobody reads more of it than this."""


class OffspecError(Exception):
    """Base. str(error) is one line: `where: what; expected ...; remedy`; long ones are cut in their middle."""

    exit_code = 1

    def __str__(self) -> str:
        line = " ".join(super().__str__().split())
        if len(line) <= _MOST_CHARACTERS:
            return line
        return f"{line[: _MOST_CHARACTERS // 2]} ... {line[-_MOST_CHARACTERS // 2 :]}"


class UsageError(OffspecError):
    exit_code = 2


class InvalidInput(OffspecError):
    exit_code = 3


class PreflightFailed(OffspecError):
    exit_code = 4


class SystemFailed(OffspecError):
    exit_code = 11


class MeasurementInvalid(OffspecError):
    exit_code = 12


class SafetyStop(OffspecError):
    exit_code = 20


class OutOfReach(OffspecError):
    exit_code = 30


class Refused(OffspecError):
    exit_code = 31


class Interrupted(OffspecError):
    exit_code = 130
