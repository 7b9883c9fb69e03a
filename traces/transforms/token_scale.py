"""token_scale f: prompt and output tokens times f, rounded, one at least where there was one; the options `prompt` and `output` scale
one of them by itself. The blocks of a prompt's prefix follow its length: a shorter prompt loses the last ones, a longer one gets new
ones that nobody shares, so what was shared stays shared.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import mix, mix_all, stream
from traces.errors import InvalidInput
from traces.schema import ints, masked, present, with_columns
from traces.stream import StreamTrace, Trace, remade
from traces.transforms.known import known
from traces.transforms.spec import TransformSpec

_MOST_TOKENS = 2**31 - 1


class TokenScale:
    name = "token_scale"
    summary = "prompt and output tokens times this, or each by its option"
    stage = "bend"
    value = "the factor, 0.0001 to 10000; may be left out"
    changes = "tokens"
    needs = ""
    options: Mapping[str, str] = MappingProxyType({"prompt": "the factor of prompt tokens", "output": "the factor of output tokens"})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        expected = "a factor from 0.0001 to 10000"
        if spec.value is None and not spec.options:
            raise InvalidInput(f"transform {self.name}: no factor; expected a value, or the options prompt and output")
        both = 1.0 if spec.value is None else spec.number(1e-4, 1e4, expected)
        prompt = spec.option("prompt", both, 1e-4, 1e4, expected)
        output = spec.option("output", both, 1e-4, 1e4, expected)
        if "llm" not in trace.meta.kinds:
            raise InvalidInput(
                f"transform {self.name}: {trace.meta.name} is of kind {', '.join(trace.meta.kinds) or 'unknown'}; expected llm"
            )
        scaled = [f"{name}_tokens" for name in ("prompt", "output") if spec.value is not None or name in spec.options]
        known(trace, scaled, "tokens", f"transform {self.name}")
        key = stream(seed, trace.meta.name, self.name)
        block = trace.meta.llm_block_tokens

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                columns = {
                    "prompt_tokens": _scaled(batch, "prompt_tokens", prompt),
                    "output_tokens": _scaled(batch, "output_tokens", output),
                }
                hashes = batch.column("prefix_hashes")
                if hashes.null_count < batch.num_rows and prompt != 1:
                    columns["prefix_hashes"] = _prefixes(
                        hashes, ints(batch, "seq"), _blocks(batch, columns["prompt_tokens"], prompt, block), key
                    )
                yield with_columns(batch, columns)

        return remade(trace, make)

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The tokens of a request, in and out, over those without it."""
        means = [_mean(each) for each in (made, nominal)]
        return means[0] / means[1] if means[0] is not None and means[1] else None


def _scaled(batch: pa.RecordBatch, name: str, factor: float) -> pa.Array:
    tokens = ints(batch, name)
    scaled = np.clip(np.rint(tokens * factor), np.minimum(tokens, 1), _MOST_TOKENS).astype(np.int32)
    return masked(scaled, present(batch, name))


def _blocks(batch: pa.RecordBatch, scaled: pa.Array, factor: float, block: int | None) -> npt.NDArray[np.int64]:
    """How many blocks each prompt has now: as many as its tokens fill, or by the factor where the size of a block is not known."""
    if block:
        filled: npt.NDArray[np.int64] = -(-scaled.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64) // block)
        return filled
    lengths = batch.column("prefix_hashes").value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    counts: npt.NDArray[np.int64] = np.ceil(lengths * factor).astype(np.int64)
    return counts


def _prefixes(hashes: pa.Array, seq: npt.NDArray[np.uint64], wanted: npt.NDArray[np.int64], key: int) -> pa.Array:
    known = hashes.is_valid().to_numpy(zero_copy_only=False)
    lengths = hashes.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = hashes.flatten().to_numpy()
    starts = np.cumsum(lengths) - lengths
    wanted = np.where(known, wanted, 0)
    offsets = np.append(0, np.cumsum(wanted))
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], wanted)
    row = np.repeat(np.arange(len(wanted)), wanted)
    new = mix_all(mix_all(np.uint64(mix(key)) ^ seq[row]) ^ place.astype(np.uint64))
    old = place < lengths[row]
    new[old] = values[(starts[row] + place)[old]]
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32), mask=np.append(~known, False)), pa.array(new), type=hashes.type)


def _mean(trace: Trace) -> float | None:
    total = rows = 0
    for batch in trace.batches():
        total += int(ints(batch, "prompt_tokens").sum(dtype=np.int64)) + int(ints(batch, "output_tokens").sum(dtype=np.int64))
        rows += batch.num_rows
    return total / rows if rows else None


TRANSFORM = TokenScale()
