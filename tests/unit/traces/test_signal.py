"""Samples of usage are told from requests, described and converted, and never replayed."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agent.cli import main
from tests.property import trace_samples_of_clusters as samples
from tests.unit.traces.rows import facts, real
from tests.unit.traces.test_formats import refused, write
from traces.errors import InvalidInput
from traces.signal import SIGNAL_SCHEMA, Signal, describe_signal, save_signal
from traces.source import open_recording, open_trace


def signal_of(path: Path) -> Signal:
    found = open_recording(path)
    assert isinstance(found, Signal)
    return found


def rows(signal: Signal) -> list[tuple[int, str, str, float]]:
    found = [row for batch in signal.batches() for row in batch.to_pylist()]
    return [(row["t_ns"], row["series"], row["metric"], row["value"]) for row in found]


@pytest.fixture
def opendc(tmp_path: Path) -> Path:
    folder = tmp_path / "bitbrains"
    folder.mkdir()
    for name, data in samples.opendc().items():
        (folder / name).write_bytes(data)
    return folder


def test_fragments_follow_one_another_from_their_machines_submission(opendc: Path) -> None:
    signal = signal_of(opendc)
    begun = 1_376_314_546_000 * 1_000_000
    assert signal.meta.importer == "bitbrains" and signal.meta.kinds == ("signal",)
    assert rows(signal) == [
        (begun, "7", "cpu_usage_mhz", 0.5),
        (begun + 300 * 10**9, "7", "cpu_usage_mhz", 11.7),
        (begun + 300 * 10**9, "9", "cpu_usage_mhz", 250.0),
        (begun + 900 * 10**9, "7", "cpu_usage_mhz", 3.0),
    ]


def test_a_fragment_of_an_unknown_machine_is_refused(opendc: Path) -> None:
    pq.write_table(pq.read_table(opendc / "tasks.parquet").slice(0, 1), opendc / "tasks.parquet")
    assert "fragments.parquet: row 2 (from 0): id 9" in refused_signal(opendc)


def refused_signal(path: Path) -> str:
    with pytest.raises(InvalidInput) as error:
        list(open_recording(path).batches())
    return str(error.value)


def test_the_originals_stamps_are_seconds_whatever_its_header_says(tmp_path: Path) -> None:
    signal = signal_of(write(tmp_path / "17.csv", samples.BITBRAINS))
    said = describe_signal(signal)
    assert (said["samples"], said["series"], said["span_s"]) == (20, 1, 300)
    assert rows(signal)[0] == (1376314846 * 10**9, "17", "cpu_cores", 4.0)
    in_ms = samples.BITBRAINS.replace("1376314846;", "1376314846000;").replace("1376315146;", "1376315146000;")
    assert rows(signal_of(write(tmp_path / "18.csv", in_ms)))[0][0] == 1376314846 * 10**9


def test_a_folder_of_machines_is_one_signal(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        write(tmp_path / name, samples.BITBRAINS)
    signal = signal_of(tmp_path)
    assert describe_signal(signal)["series"] == 2 and signal.identity() != signal_of(tmp_path / "1.csv").identity()


def test_the_real_usage_gives_its_facts() -> None:
    known = facts("bitbrains_opendc")
    said = describe_signal(signal_of(real("bitbrains_opendc/fragments.parquet").parent))
    assert (said["samples"], said["series"]) == (known["fragments"], known["vms"])
    assert said["metrics"] == {"cpu_usage_mhz": known["cpu_usage_mhz"]}


@pytest.mark.parametrize("which", ["qps", "model_predict_data_anon", "pipeline_inference_data_anon"])
def test_the_real_metrics_of_image_generation_give_their_facts(tmp_path: Path, which: str) -> None:
    known = facts(f"alibaba_genai_2026_{which}")
    archive = real(f"alibaba_genai_2026/{which}.tar.gz")
    assert "an archive; expected the file within it; unpack it" in refused_signal(archive)
    with tarfile.open(archive) as members:
        member = members.extractfile(known["member"])
        assert member is not None
        (tmp_path / f"{which}.csv").write_bytes(member.read())
    signal = signal_of(tmp_path / f"{which}.csv")
    said = describe_signal(signal)
    assert (said["samples"], said["span_s"]) == (known["rows"], known["span_s"])
    assert sum(each["n"] for each in said["metrics"].values()) == known["value"]["n"]
    assert sum(each["sum"] for each in said["metrics"].values()) == pytest.approx(known["value"]["sum"], rel=1e-9)
    assert len({series for _, series, _, _ in rows(signal)} - {""}) == known["containers"]


def test_a_signal_is_refused_in_one_line_where_requests_are_wanted(tmp_path: Path) -> None:
    path = write(tmp_path / "qps.csv", samples.IMAGE_METRIC)
    line = refused(path)
    assert "samples of usage (a signal)" in line and "offspec trace import" in line
    assert {metric for _, _, metric, _ in rows(signal_of(path))} == {"qps of API Requests", "qps of Generative Requests"}


def test_a_replay_of_a_signal_does_not_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "qps.csv", samples.IMAGE_METRIC)
    assert main(["replay", str(path), "tcp://127.0.0.1:9"]) == 3
    assert "not requests; expected a trace of requests" in capsys.readouterr().err


def test_a_signal_is_imported_as_samples_and_read_again(opendc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "usage.parquet"
    assert main(["trace", "import", str(opendc), str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["rows"], said["format"]) == ("signal", 4, "bitbrains")
    assert pq.read_schema(out).names == SIGNAL_SCHEMA.names
    assert rows(signal_of(out)) == rows(signal_of(opendc))
    assert main(["trace", "info", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == describe_signal(signal_of(opendc))
    with pytest.raises(InvalidInput, match="not requests"):
        open_trace(out)
    out.write_bytes(out.read_bytes()[:-40])
    assert "no whole Parquet file" in refused_signal(out)


def test_quantiles_of_many_samples_are_known_within_a_bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signal = signal_of(write(tmp_path / "1.csv", samples.BITBRAINS))
    exact = describe_signal(signal)["metrics"]["cpu_usage_mhz"]
    monkeypatch.setattr("traces.signal.EXACT_SAMPLES", 1)
    rough = describe_signal(signal)["metrics"]["cpu_usage_mhz"]
    assert "within" not in exact and rough["within"] == 0.01
    assert {name: rough[name] for name in ("p0", "p100", "sum", "n", "mean")} == {
        name: exact[name] for name in ("p0", "p100", "sum", "n", "mean")
    }
    assert rough["p50"] == pytest.approx(exact["p50"], rel=0.01)


def test_a_signal_without_samples_leaves_no_file(tmp_path: Path) -> None:
    empty = Signal(signal_of(write(tmp_path / "1.csv", samples.BITBRAINS)).meta, lambda: iter(()), lambda: "none")
    with pytest.raises(InvalidInput, match="no samples; expected at least one"):
        save_signal(empty, tmp_path / "out.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.csv"]


def test_an_archive_is_named_as_one(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        data = samples.POD_LIST.encode()
        member = tarfile.TarInfo("pods.csv")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    (tmp_path / "pods.tar.gz").write_bytes(sink.getvalue())
    assert "an archive" in refused(tmp_path / "pods.tar.gz")
