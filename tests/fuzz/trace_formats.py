"""Coverage-guided fuzzing of the importers: `python -m tests.fuzz.trace_formats SECONDS`. It begins with a small valid file of each format.

The first byte of an input chooses the format, the rest is the file. Reading must end in rows or in one line. Findings are written by
atheris to the folder it is run in.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["traces"]):
    from tests.property.test_hostile_traces import outcome
    from tests.property.trace_samples import SAMPLES

NAMES = sorted(name for name, sample in SAMPLES.items() if not sample.folder)


def one_input(data: bytes) -> None:
    if len(data) < 2:  # an empty file is refused before a format is asked
        return
    name = NAMES[data[0] % len(NAMES)]
    PATH.write_bytes(data[1:])
    outcome(PATH, name, SAMPLES[name].options)


def fuzz(folder: Path, seconds: str) -> None:
    """Never returns: libFuzzer ends the process by itself."""
    global PATH
    PATH = folder / "input"
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, name in enumerate(NAMES):
        (corpus / name).write_bytes(bytes([number]) + SAMPLES[name].body())
    limits = [f"-max_total_time={seconds}", "-rss_limit_mb=1500", "-timeout=20", "-max_len=16384", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one_input)
    atheris.Fuzz()


def main() -> int:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    if len(sys.argv) > 2:
        fuzz(Path(sys.argv[2]), seconds)
    with tempfile.TemporaryDirectory(prefix="offspec-fuzz-") as folder:
        return subprocess.run([sys.executable, "-m", "tests.fuzz.trace_formats", seconds, folder]).returncode


if __name__ == "__main__":
    sys.exit(main())
