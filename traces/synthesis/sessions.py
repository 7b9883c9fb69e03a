"""Conversations with a language model: sessions of turns whose prompts grow by what was said, after a system prompt that its group shares.

Every draw depends on the seed and on the number of the session and turn. Times and rows are in order of arrival, which needs the turns
still to come of the sessions that are under way: memory is the rate times the length of a session, whatever the length of the trace, and
the rows do not depend on how many sessions are drawn at once.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.draws import U64, stream, uniform_all
from traces.synthesis.arrivals import Arrivals
from traces.synthesis.popularity import Popularity
from traces.synthesis.prefixes import Ints, block_count
from traces.synthesis.sizes import Sizes, sizes

MOST_TURNS = 256
"""No session has more."""
AT_ONCE = 4096
"""Sessions drawn at once."""
_PILOT = 20_000


@dataclass(frozen=True)
class Talk:
    """How sessions go. `prompt`, `output`: tokens that a turn adds; `think_ns`: mean time from a turn to the next; `turns`: mean."""

    prompt: Sizes
    output: Sizes
    turns: float
    think_ns: int
    systems: Popularity
    system: Sizes
    context: int
    longer: tuple[int, float] = (0, 0.0)
    """So many tokens more of the system prompt, in this share of sessions: what lies between two whole blocks."""


@dataclass(frozen=True)
class Turns:
    """Turns as columns, sessions one after the other. `at_ns`: after the session's start; `prompt`: all tokens of the prompt, `system` of
    which are the group's."""

    session: U64
    turn: Ints
    at_ns: Ints
    prompt: Ints
    output: Ints
    group: Ints
    system: Ints


def mean_turns(talk: Talk, seed: int) -> float:
    """Mean turns of a session: exact where the context never ends one, else of the first 20,000 sessions."""
    drawn = turns_of(talk, seed, np.arange(_PILOT, dtype=np.uint64))
    lengths = _lengths(talk, seed, np.arange(_PILOT, dtype=np.uint64))
    if len(drawn.turn) < int(lengths.sum()):
        return len(drawn.turn) / _PILOT
    stay = 1 - 1 / talk.turns
    return (1 - stay**MOST_TURNS) * talk.turns


def expected_hit(talk: Talk, seed: int, block: int) -> float:
    """Share of block references that an unlimited cache holds, once it knows the system prompts: of the first 20,000 sessions."""
    drawn = turns_of(talk, seed, np.arange(_PILOT, dtype=np.uint64))
    full, shared = drawn.prompt // block, drawn.system // block
    last = np.append(drawn.session[1:] != drawn.session[:-1], True)
    fresh = int((full - shared)[last].sum()) + int((drawn.prompt % block > 0).sum())
    return 1 - fresh / int(block_count(drawn.prompt, block).sum())


def _lengths(talk: Talk, seed: int, session: U64) -> Ints:
    """Turns that a session would have in an endless context, geometric."""
    if talk.turns <= 1:
        return np.ones(len(session), dtype=np.int64)
    u = uniform_all(stream(seed, "llm", "turns"), session)
    lengths: Ints = np.minimum(1 + np.floor(np.log(u) / math.log(1 - 1 / talk.turns)), MOST_TURNS).astype(np.int64)
    return lengths


def turns_of(talk: Talk, seed: int, session: U64) -> Turns:
    """All turns of some sessions, those that still fit into the context; a first turn that does not is cut to it."""
    lengths = _lengths(talk, seed, session)
    first = np.cumsum(lengths) - lengths
    row = np.repeat(np.arange(len(session)), lengths)
    turn = np.arange(len(row)) - first[row]
    ids = session[row] * np.uint64(MOST_TURNS) + turn.astype(np.uint64)
    asked = sizes(talk.prompt, stream(seed, "llm", "prompt"), ids, 1, talk.context)
    told = sizes(talk.output, stream(seed, "llm", "output"), ids, 1, talk.context)
    group = talk.systems.keys(stream(seed, "llm", "group"), session, np.zeros(0, dtype=np.int64)).astype(np.int64)
    system = sizes(talk.system, stream(seed, "llm", "system"), group.astype(np.uint64), 0, talk.context - 1)
    more, share = talk.longer
    if share:
        system = system + more * (uniform_all(stream(seed, "llm", "longer"), session) < share)
    said = np.cumsum(asked + told)
    before = said - (asked + told)
    prompt = system[row] + before - before[first][row] + asked
    # Whole nanoseconds: sums of them do not depend on which other sessions are summed beside.
    waits = np.rint(-np.log(uniform_all(stream(seed, "llm", "think"), ids)) * talk.think_ns).astype(np.int64)
    waits[first] = 0
    waited = np.cumsum(waits)
    at_ns = waited - waited[first][row]
    prompt[first] = np.minimum(prompt[first], talk.context)
    kept = prompt <= talk.context
    return Turns(session[row][kept], turn[kept], at_ns[kept], prompt[kept], told[kept], group[row][kept], system[row][kept])


@dataclass(frozen=True)
class Placed:
    """Turns in order of arrival. `parent`: place of the turn before it in the order of the trace, -1 for none."""

    arrival_ns: Ints
    turns: Turns
    parent: Ints


def placed(talk: Talk, seed: int, starts: Arrivals, lead_ns: int, at_once: int = AT_ONCE) -> Iterator[Placed]:
    """The turns of all sessions, those before time 0 left out: sessions begin `lead_ns` earlier, so that at 0 as many are under way as at
    any other time. Without an end.
    """
    held = _Held.empty()
    done, session = 0, 0
    for lot in starts.lots(stream(seed, "llm", "gap")):
        for begin in range(0, len(lot), at_once):
            start = lot[begin : begin + at_once]
            numbers = np.arange(session, session + len(start), dtype=np.uint64)
            session += len(start)
            turns = turns_of(talk, seed, numbers)
            begun = np.floor(np.minimum(start, 2.0**62)).astype(np.int64) - lead_ns
            held = held.with_more(turns, begun[(turns.session - numbers[0]).astype(np.int64)] + turns.at_ns)
            ready, held = held.before(int(begun[-1]), done)
            done += len(ready.arrival_ns)
            if len(ready.arrival_ns):
                yield ready


@dataclass(frozen=True)
class _Held:
    """Turns that may still be overtaken by those of sessions to come. `parent` as in Placed, -1 where it is not known yet."""

    arrival: Ints
    turns: Turns
    parent: Ints

    @staticmethod
    def empty() -> "_Held":
        none = np.zeros(0, dtype=np.int64)
        return _Held(none, Turns(none.astype(np.uint64), none, none, none, none, none, none), none)

    def with_more(self, turns: Turns, arrival: Ints) -> "_Held":
        """Turns before time 0 are dropped."""
        kept = arrival >= 0
        more = _taken(turns, kept)
        joined = Turns(*(np.concatenate((old, new)) for old, new in zip(_columns(self.turns), _columns(more), strict=True)))
        parent = np.concatenate((self.parent, np.full(int(kept.sum()), -1, dtype=np.int64)))
        return _Held(np.concatenate((self.arrival, arrival[kept])), joined, parent)

    def before(self, horizon: int, done: int) -> tuple[Placed, "_Held"]:
        """What is earlier than `horizon`, in order, and the rest, which now knows its parents. `done`: how many came before."""
        go = self.arrival < horizon
        out = np.flatnonzero(go)
        out = out[np.lexsort((self.turns.turn[out], self.turns.session[out], self.arrival[out]))]
        number = _numbers(self.turns)
        by_number = np.argsort(number[out], kind="stable")
        known = number[out][by_number]
        parent = self.parent.copy()
        if len(known):
            wanted = number - np.uint64(1)
            at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            found = (known[at] == wanted) & (self.turns.turn > 0)
            parent[found] = done + by_number[at[found]]
        left = ~go
        return Placed(self.arrival[out], _taken(self.turns, out), parent[out]), _Held(
            self.arrival[left], _taken(self.turns, left), parent[left]
        )


def _numbers(turns: Turns) -> U64:
    return turns.session * np.uint64(MOST_TURNS) + turns.turn.astype(np.uint64)


def _columns(turns: Turns) -> tuple[npt.NDArray[np.generic], ...]:
    return (turns.session, turns.turn, turns.at_ns, turns.prompt, turns.output, turns.group, turns.system)


def _taken(turns: Turns, which: npt.NDArray[np.generic]) -> Turns:
    return Turns(*(column[which] for column in _columns(turns)))
