"""op_mix g: each key-value request becomes a get with probability g, else a set; options say the share of each op instead, of any kind:
get=0.9,set=0.08,delete=0.02, GET and POST of http, read and write of block. What the shares leave of 1 keeps its op.

The known size moves with the op: what a get would bring is what a set carries. Keys, times and sizes stay.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.draws import stream, uniform_all
from traces.errors import InvalidInput
from traces.ops import BRINGS, WORDS, drawn_ops
from traces.schema import OPS, ints
from traces.stream import StreamTrace, Trace, remade
from traces.transforms.spec import TransformSpec

_ENOUGH = 1 + 1e-9


class OpMix:
    name = "op_mix"
    summary = "ops drawn by these shares; a value alone is the share of gets, the others being sets"
    stage = "bend"
    value = "the share of gets, 0 to 1, or a text of shares such as get=0.5,set=0.5"
    changes = "ops"
    needs = ""
    options: Mapping[str, str] = MappingProxyType({op: f"the share of {op}, 0 to 1" for op in WORDS})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        shares = _shares(spec)
        kinds = trace.meta.kinds
        fitting = OPS[kinds[0]] if len(kinds) == 1 else ()
        for op in shares:
            if op not in fitting:
                kind = next(kind for kind, ops in OPS.items() if op in ops)
                raise InvalidInput(
                    f"transform op_mix: {trace.meta.name} is of kind {', '.join(kinds) or 'unknown'}, not one with {op}; expected {kind}"
                )
        key, ops = stream(seed, trace.meta.name, "op_mix"), tuple(shares)
        edges = np.cumsum(list(shares.values()))
        whole = edges[-1] > 1 - 1e-9

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                choice = np.searchsorted(edges, uniform_all(key, ints(batch, "seq")), side="right")
                over = choice == len(ops)
                yield drawn_ops(batch, np.where(over, len(ops) - 1 if whole else -1, choice), ops)

        return remade(trace, make)

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The share of requests that read, 0 to 1."""
        reads = rows = 0
        for batch in made.batches():
            column = batch.column("op")
            reading = np.array([word in BRINGS for word in column.dictionary.to_pylist()], dtype=np.bool_)
            reads += int(reading[column.indices.to_numpy()].sum())
            rows += batch.num_rows
        return reads / rows if rows else None


def _shares(spec: TransformSpec) -> dict[str, float]:
    given = dict(spec.options)
    if isinstance(spec.value, str) and "=" in spec.value:
        given |= dict(part.strip().partition("=")[::2] for part in spec.value.split(","))
    elif spec.value is not None:
        gets = spec.number(0, 1, "the share of gets, from 0 to 1")
        given |= {"get": repr(gets), "set": repr(1 - gets)}
    for op in given:
        if op not in WORDS:
            raise InvalidInput(f"transform op_mix: op {op!r} is unknown; expected one of {', '.join(WORDS)}")
    said = TransformSpec(spec.name, None, given)
    shares = {op: said.option(op, 0, 0, 1, "a share from 0 to 1") for op in given}
    if not shares or sum(shares.values()) > _ENOUGH:
        raise InvalidInput(
            f"transform op_mix: {'no shares' if not shares else f'shares of {sum(shares.values()):g} in all'}; expected a share of gets "
            "from 0 to 1, or one for each op such as get=0.9,set=0.1, of at most 1 in all"
        )
    return shares


TRANSFORM = OpMix()
