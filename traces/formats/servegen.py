"""ServeGen's client windows (Alibaba Model Studio), made requests: for each client and window of 600 s a rate, and the law of the gaps.

The owner's folder of a model holds `chunk-N-trace.csv` (window's start in s, rate, CV, Gamma or Weibull, shape, scale) and
`chunk-N-dataset.json` (laws of tokens from a window on) for each client N. One csv of all clients with a header
(client,window_start_s,rate_rps,iat_cv,pattern,arg1,arg2) reads too; the option `lengths=FOLDER` names where its datasets are.

As in ServeGen, gaps are drawn from the fitted law and scaled so that the window holds rate x 600 requests; unlike it, exactly so many, for
the scale counts the gap to the window's end. Lengths of prompt and output are drawn apart, for only their own laws are published. Each
draw depends only on `seed`, client, window and number. https://github.com/alibaba/ServeGen; Xiang et al., arXiv 2505.09999
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, draw_all, stream
from traces.errors import InvalidInput
from traces.formats.made import seed_of
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.servegen_files import HEADER, WINDOW_S, Lengths, Window, files_of, lengths_of, windows_of
from traces.formats.tables import first_row
from traces.schema import BATCH_ROWS, LABEL, TraceMeta, masked
from traces.stream import Trace

_TOKENS = (
    ("prompt_tokens", ("input_tokens", "text_tokens")),
    ("output_tokens", ("output_tokens",)),
    ("media_items", ("image_count",)),
)
_LARGEST_EXPONENT = 600.0

Floats = npt.NDArray[np.float64]


class ServeGen:
    name = "servegen"
    summary = "ServeGen's folder of client windows, or one csv of them: made LLM requests (seed, lengths)"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if files_of(path) or first_row(head) == list(HEADER) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("seed", "lengths"), self.name)
        seed, files = seed_of(path, options), files_of(path)
        if path.is_dir() and not files:
            raise InvalidInput(f"{path}: no client; expected chunk-0-trace.csv and on, with chunk-0-dataset.json beside them")
        windows = windows_of(path, files)
        if not windows:
            raise InvalidInput(f"{path}: no rows; expected at least one window with a rate above 0; fetch the folder again")
        folder = Path(options["lengths"]) if "lengths" in options else (path if path.is_dir() else path.parent) if files else None
        clients = sorted({window.client for window in windows})
        lengths, read = lengths_of(folder, clients) if folder is not None else ({}, [])
        lacking = len(clients) - len(lengths)
        notes = ["lengths of prompt and output are drawn apart"] + (
            [f"{lacking} of {len(clients)} clients have no lengths"] if lacking else []
        )
        source = files[0] if files else path
        meta = TraceMeta(
            name=path.name if path.is_dir() else "",
            kinds=("llm",),
            importer=self.name,
            arrival_model="generated",
            expand_seed=seed,
            license="Apache-2.0",
            shareable="attribution",
            citation="Xiang et al., ServeGen, arXiv 2505.09999",
            cut=f"windows from {windows[0].start_s} s to {windows[-1].start_s + WINDOW_S} s",
            loss_notes="; ".join(notes),
        )
        return file_trace(
            source,
            meta,
            lambda: _read(windows, lengths, seed),
            {**options, "lengths": folder.name} if "lengths" in options and folder is not None else options,  # not where it lies
            sum(window.requests() for window in windows),
            origin_ns=windows[0].start_s * 10**9,
            beside=tuple(file for file in (*files, *read) if file != source),
        )


def _read(windows: Sequence[Window], lengths: Mapping[int, Lengths], seed: int) -> Iterator[Chunk]:
    """`windows` by their start, then by client."""
    begin = 0
    for end in range(1, len(windows) + 1):
        if end < len(windows) and windows[end].start_s == windows[begin].start_s:
            continue
        yield from _together(windows[begin:end], lengths, seed)
        begin = end


def _together(windows: Sequence[Window], lengths: Mapping[int, Lengths], seed: int) -> Iterator[Chunk]:
    """The requests of all clients in one window, in order of time."""
    counts = [window.requests() for window in windows]
    arrival = np.concatenate([_places(window, seed, count) for window, count in zip(windows, counts, strict=True)])
    order = np.argsort(arrival, kind="stable")
    who = np.repeat(np.arange(len(windows)), counts)[order]
    names = pa.array([str(window.client) for window in windows])
    tokens = {}
    for column, fields in _TOKENS:
        drawn = [_drawn(window, lengths.get(window.client), fields, seed, count) for window, count in zip(windows, counts, strict=True)]
        tokens[column] = np.concatenate(drawn)[order]
    for start in range(0, len(order), BATCH_ROWS):
        rows = slice(start, start + BATCH_ROWS)
        chunk: Chunk = {
            "arrival_ns": arrival[order[rows]],
            "kind": "llm",
            "op": "completion",
            "client": pa.DictionaryArray.from_arrays(pa.array(who[rows].astype(np.int32)), names).cast(LABEL),
        }
        yield chunk | {column: masked(values[rows].astype(np.int32), values[rows] >= 0) for column, values in tokens.items()}


def _uniform(seed: int, window: Window, purpose: str, count: int) -> Floats:
    """In (0, 1), one for each request of the window."""
    slots = np.full(count, window.start_s // WINDOW_S, dtype=np.uint64)
    index: U64 = np.arange(count, dtype=np.uint64)
    bits = draw_all(stream(seed, str(window.client), purpose), slots, index) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53


def gaps(law: str, shape: float, u: Floats) -> Floats:
    """Quantiles of a law, up to its scale."""
    if law == "Gamma":
        from scipy.special import gammaincinv  # slow to import, and most traces need none of it

        found: Floats = gammaincinv(shape, u)
        return found
    return np.exp(np.minimum(np.log(-np.log1p(-u)) / shape, _LARGEST_EXPONENT))


def _places(window: Window, seed: int, count: int) -> npt.NDArray[np.int64]:
    upto = np.cumsum(gaps(window.law, window.shape, _uniform(seed, window, "gap", count + 1)))
    # A shape so small that no gap is above 0 has all requests at once.
    share = upto[:-1] / upto[-1] if upto[-1] > 0 else np.zeros(count)
    width_ns = WINDOW_S * 10**9
    return window.start_s * 10**9 + np.minimum(np.floor(share * width_ns).astype(np.int64), width_ns - 1)


def _drawn(window: Window, lengths: Lengths | None, fields: Sequence[str], seed: int, count: int) -> npt.NDArray[np.int64]:
    """Values of the first field that is there; -1 where nothing is known."""
    laws = lengths.at(window.start_s) if lengths is not None else {}
    name = next((field for field in fields if field in laws), None)
    if name is None:
        return np.full(count, -1, dtype=np.int64)
    values, upto = laws[name]
    drawn: npt.NDArray[np.int64] = values[np.searchsorted(upto, _uniform(seed, window, name, count) * upto[-1], side="left")]
    return drawn


FORMAT = ServeGen()
