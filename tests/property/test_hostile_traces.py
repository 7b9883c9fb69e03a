"""Whatever is done to a trace file, reading it ends in rows or in one line that says what is wrong: no traceback, no endless memory."""

import gzip
import re
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.trace_samples import SAMPLES, Sample, write_sample
from traces.errors import InvalidInput
from traces.formats import formats
from traces.source import open_recording

MOST_ROWS = 200_000
NASTY = (
    *(
        b"\x00",
        b"\xff\xfe",
        b"\r",
        b"\n\n",
        b'"',
        b",",
        b"9" * 40,
        b"-1",
        b"1e400",
        b"nan",
        b"null",
        b"A" * 200_000,
        b"{" * 3000,
        b"[" * 3000,
    ),
    *(
        b"\\u0000",
        b"18446744073709551616",
        b"9223372036854775807",
        b"184467440737095516161.5",
        b"0x10",
        "\u00e9\u2028".encode(),
        b"\xed\xa0\x80",
    ),
)


def outcome(path: Path, name: str | None, options: dict[str, str]) -> str:
    """What reading said: "" for rows, else the line. Anything else is raised."""
    try:
        done = 0
        for batch in open_recording(path, format=name, options=options).batches():
            done += batch.num_rows
            if done > MOST_ROWS:
                break
    except InvalidInput as error:
        line = str(error)
        assert "\n" not in line and "expected" in line and len(line) < 2000, line
        return line
    return ""


def test_every_format_has_a_sample_that_reads(tmp_path: Path) -> None:
    assert formats().keys() == SAMPLES.keys()
    for name, sample in SAMPLES.items():
        assert outcome(write_sample(tmp_path, name), name, sample.options) == "", name


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]
    if not sample.sniffed:
        pytest.skip(f"{name}: {sample.why_not}")
    trace = open_recording(write_sample(tmp_path, name), options=sample.options)
    assert trace.meta.importer == name


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if not sample.folder])
def test_gzip_reads_as_it_is(tmp_path: Path, name: str) -> None:
    if name == "parquet":
        pytest.skip("parquet compresses inside and needs to be read at places")
    sample = SAMPLES[name]
    plain = write_sample(tmp_path, name)
    packed = tmp_path / f"packed-{plain.name}.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    rows = [sum(b.num_rows for b in open_recording(path, format=name, options=sample.options).batches()) for path in (plain, packed)]
    assert rows[0] == rows[1] > 0
    cut = tmp_path / f"cut-{plain.name}.gz"
    cut.write_bytes(gzip.compress(plain.read_bytes() * 50)[:-9])
    assert outcome(cut, name, sample.options)


NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
BEYOND = (b"184467440737095516161.5", b"-184467440737095516161.5", b"18446744073709551615", b"9223372036854775807", b"-9223372036854775808")


@pytest.mark.parametrize("beyond", BEYOND)
@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if not sample.folder])
def test_a_number_beyond_all_bounds_is_refused_in_one_line_wherever_it_stands(tmp_path: Path, name: str, beyond: bytes) -> None:
    sample, path = SAMPLES[name], write_sample(tmp_path, name)
    whole = sample.body()
    for found in list(NUMBER.finditer(whole))[:60]:
        path.write_bytes(whole[: found.start()] + beyond + whole[found.end() :])
        outcome(path, name, sample.options)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A sample cut, overwritten, with something nasty put in or a piece of it repeated."""
    data = whole
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        what = draw(st.sampled_from(("cut", "byte", "nasty", "repeat", "drop")))
        if what == "cut":
            data = data[:at]
        elif what == "byte":
            data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
        elif what == "nasty":
            data = data[:at] + draw(st.sampled_from(NASTY)) + data[at:]
        elif what == "repeat":
            end = draw(st.integers(at, min(len(data), at + 400)))
            data = data[:end] + data[at:end] * draw(st.integers(1, 3)) + data[end:]
        else:
            data = data[:at] + data[at + draw(st.integers(1, 40)) :]
    return data


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if not sample.folder])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damage_is_refused_in_one_line(tmp_path: Path, name: str, data: st.DataObject) -> None:
    sample = SAMPLES[name]
    path = write_sample(tmp_path, name)
    path.write_bytes(data.draw(damaged(data.draw(st.sampled_from(sample.bodies())))))
    outcome(path, name, sample.options)
    outcome(path, None, {})


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if sample.folder])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damage_in_a_folder_is_refused_in_one_line(tmp_path: Path, name: str, data: st.DataObject) -> None:
    sample: Sample = SAMPLES[name]
    folder = write_sample(tmp_path, name)
    victim = data.draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
    victim.write_bytes(data.draw(damaged(victim.read_bytes())))
    outcome(folder, name, sample.options)


@pytest.mark.parametrize("byte", [b"\x00", b"7", b"{", b"[", b"\n", b'"', b",", b" "])
def test_a_bomb_is_refused_in_bounded_memory(tmp_path: Path, byte: bytes) -> None:
    """256 MiB of one byte in a quarter of a megabyte, read as every format under a limit on memory."""
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(byte * (256 << 20), 1))
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from tests.property.test_hostile_traces import outcome
        from tests.property.trace_samples import SAMPLES
        import pyarrow.csv, pyarrow.json, pyarrow.parquet
        path = Path(sys.argv[1])
        for name in [None, *(name for name, sample in SAMPLES.items() if not sample.folder)]:
            outcome(path, name, SAMPLES[name].options if name else {})
            peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert peak_kib < 700 * 1024, (name, peak_kib)
        """
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(bomb)], capture_output=True, text=True, timeout=150, cwd=Path(__file__).parents[2]
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0
