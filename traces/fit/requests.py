"""Requests on keys: popularity, sizes, ops and lifetimes as parameters of a spec."""

from collections import Counter

import numpy as np

from traces.fit.candidate import Candidate
from traces.fit.popularity import popularity
from traces.fit.sample import Ints, Sample, significant
from traces.fit.sizes import size_law
from traces.synthesis.sizes import MOST_BYTES

_MOST_LIFETIMES = 20


def parameters(sample: Sample) -> tuple[dict[str, str], list[Candidate], list[str]]:
    """The parameters, the candidates for popularity with the best first, and what has to be said."""
    found, notes, candidates = {}, [], []
    kind = sample.meta.kinds[0]
    if kind != "kv":
        found["kind"] = kind
    keys = sample.values("key_id")
    if len(keys):
        candidates = popularity(keys)
        found |= dict(part.split("=") for part in candidates[0].spec.split(","))
    else:
        notes.append("the source names no keys, those of the made trace are uniform")
    size = _by_key(sample, _payload(sample))
    if len(size) and int(size.max()) > MOST_BYTES:
        notes.append(f"{int((size > MOST_BYTES).sum())} sizes over 512 MiB are cut to that")
        size = np.minimum(size, MOST_BYTES)
    if len(size):
        found["size"], off = size_law(size)
        notes += _said("size", found["size"], off)
    else:
        notes.append("the source tells no sizes, those of the made trace are 64 bytes")
    if kind != "block" and len(lengths := _by_key(sample, sample.columns.get("key_bytes"))):
        found["key_bytes"], off = size_law(np.clip(lengths, 1, 65_535))
        notes += _said("key_bytes", found["key_bytes"], off)
    shares = np.bincount(sample.op, minlength=len(sample.ops)) / sample.rows
    found["ops"] = "/".join(f"{op}:{significant(share, 4)}" for op, share in zip(sample.ops, shares, strict=True) if share)
    lifetimes = Counter(sample.values("ttl_ms").tolist())
    if lifetimes:
        most = lifetimes.most_common(_MOST_LIFETIMES)
        found["ttl"] = "/".join(f"{lifetime}ms:{significant(count / lifetimes.total(), 4)}" for lifetime, count in most)
        told = sum(count for _, count in most) / lifetimes.total()
        if told < 0.99:
            notes.append(f"the {len(most)} most frequent of {len(lifetimes)} lifetimes are {told:.0%} of them, the rest is left out")
    return found, candidates, notes


def _payload(sample: Sample) -> Ints | None:
    """The size of a request's value, whichever way it went; -1 for unknown."""
    asked, given = (sample.columns.get(name) for name in ("req_bytes", "resp_bytes"))
    if asked is None or given is None:
        return asked if given is None else given
    return np.maximum(asked, given)


def _by_key(sample: Sample, values: Ints | None) -> Ints:
    """The first that is known of each key, or all where keys have no names: in a made trace sizes belong to keys."""
    if values is None:
        return np.zeros(0, dtype=np.int64)
    there = values >= 0
    if "key_id" not in sample.columns:
        return values[there]
    there &= sample.known["key_id"]
    return values[there][np.unique(sample.columns["key_id"][there], return_index=True)[1]]


def _said(name: str, law: str, off: float) -> list[str]:
    return [f"no law of {name} is near, its quantiles are used (off by {off:.3f})"] if law.startswith("quantiles") else []
