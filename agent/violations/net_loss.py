"""`net-loss`: the network between load and system loses packets, in percent of those on their way, either way, each for itself.

On a link of its own (agent/hop.py) a filter loses them where they arrive, or netem where they leave; TCP there sees what it sees of a real
loss: it sends again, and it slows down. Where there can be no such link the kernel drops them before the sockets of our relay: requests on
their way in from the load, answers on their way in from the system, so that the TCP of the load and of the system themselves send them
again. On loopback such a packet may be as long as 64 KiB.

That packets were lost is counted beside whoever loses them. Chance is part of it: a second is right if what was lost in it accords with the
dose, by the interval in which a binomial count lies with 99.9 percent; then the dose is what was given, else the share that was counted.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agent import kernel_path
from agent.detour import LINK, MECHANISM, Detour, standing
from agent.over_time import OverTime
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading

_WAYS = ("cls_bpf", "netem")
"""The filter first: it sees packets as they come out of the wire, and hides from the sender what a wire hides."""
_NORMAL_999 = 3.29
_SKEW = 5e-4
"""Counters cannot be read in one instant; what is on its way between them is below this share."""


def accords(lost: int, *parts: tuple[int, float]) -> bool:
    """Whether a count is one that so many packets at this share each give (normal approximation with a correction for continuity). Pure."""
    expected, variance = sum(of * share for of, share in parts), sum(of * share * (1 - share) for of, share in parts)
    return abs(lost - expected) <= _NORMAL_999 * math.sqrt(variance) + 1 + _SKEW * sum(of for of, _ in parts)


class Counts:
    """Packets that set out and were lost on the link, both ways together, by two accounts that know nothing of each other."""

    def __init__(self, by: str, ends: Sequence[Mapping[str, Any]]) -> None:
        # netem drops what is about to leave; the filter what has arrived.
        where, kind = ("leaving", "netem") if by == "netem" else ("arriving", "clsact")
        self.set_out, self.lost = (sum(end[where][at] for end in ends) for at in (0, 1))
        drops = [end.get(kind, {}).get("dropped", [0, 0]) for end in ends]
        self.dropped_before, self.dropped = (sum(each) for each in zip(*drops, strict=True))
        self.sent_again = sum(end["sent_again"] for end in ends)


class Lossy:
    fidelity = "equivalent"

    def __init__(self, detour: Detour, by: str, dose: float) -> None:
        self._detour, self._path, self._by = detour, detour.path, by
        self.port = detour.port
        self.mechanism = f"{by} {LINK} (adds {detour.own_ns / 1e6:.3f} ms)"
        self._path.offload(False)  # a packet is one of the wire, not 64 KiB of which all or nothing is lost
        self._detour.end_trips()
        self._share = dose / 100
        self._path.shape(lost=self._share, by=self._by)
        self._before = self._part_from = Counts(self._by, self._path.count())
        self._parts: list[tuple[int, float]] = []
        self._mean = OverTime(self._share)

    def set(self, dose: float) -> None:
        """What has set out until now did so under the share before."""
        self._path.shape(lost=dose / 100, by=self._by)
        now = Counts(self._by, self._path.count())
        self._end_part(now)
        self._share = dose / 100
        self._mean.set(self._share)

    def _end_part(self, now: Counts) -> None:
        self._parts.append((now.set_out - self._part_from.set_out, self._share))
        self._part_from = now

    def measure(self) -> Reading:
        before, self._before = self._before, Counts(self._by, self._path.count())
        now = self._before
        self._end_part(now)
        parts, self._parts = self._parts, []
        share, of = self._mean.look(), now.set_out - before.set_out
        lost = max(0, now.lost - before.lost)
        dropped, again = now.dropped - before.dropped, now.sent_again - before.sent_again
        remark = f"{lost} of {of} packets lost, {dropped} by the count of {self._by}; TCP sent {again} again"
        slack = 2 + _SKEW * of
        if not now.dropped_before - slack <= now.lost <= now.dropped + slack:
            return Reading(None, "counts that differ", self._detour.cost.look(), remark=remark)
        given = share if accords(lost, *parts) else lost / max(1, of)
        return Reading(given * 100, "packets that set out and arrived", self._detour.cost.look(), remark=remark)

    def undo(self) -> str:
        return self._detour.end()


class LossyRelay:
    """By the sockets of the relay, from their first packet on."""

    mechanism = f"{MECHANISM} whose sockets lose what arrives"
    fidelity = "proxy"

    def __init__(self, detour: Detour, dose: float) -> None:
        self._detour = detour
        self.port = detour.port
        self._share = dose / 100
        self._before = detour.lost()

    def measure(self) -> Reading:
        if not self._detour.alive:
            return Reading(None, "gone")
        before, self._before = self._before, self._detour.lost()
        of, lost = (now - then for now, then in zip(self._before, before, strict=True))
        given = self._share if accords(lost, (of, self._share)) else lost / max(1, of)
        return Reading(given * 100, "drops of its sockets", self._detour.cost.look(), remark=f"{lost} of {of} packets lost")

    def undo(self) -> str:
        return self._detour.end()


class NetLoss:
    name = "net-loss"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        by = kernel_path.chosen({}, *_WAYS)
        if by is None:
            return Capability(True, LossyRelay.mechanism, "proxy", f"no link of its own ({kernel_path.able().reason(*_WAYS)})")
        return Capability(True, f"{by} {LINK}", "equivalent")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Lossy | LossyRelay:
        by = kernel_path.chosen(options, *_WAYS)
        with standing(self.name, context, link=by is not None, lost=dose / 100) as detour:
            return LossyRelay(detour, dose) if by is None else Lossy(detour, by, dose)


VIOLATION = NetLoss()
