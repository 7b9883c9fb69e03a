"""Where a file may be put, and what is left where it cannot."""

import errno
import os
from pathlib import Path

import pytest

from agent.cli import main
from traces.errors import InvalidInput
from traces.publishing import part_beside, put_in_place


def test_no_file_takes_the_place_of_a_pipe_or_a_folder(tmp_path: Path) -> None:
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for place, words in ((pipe, "a device or a pipe"), (folder, "is a folder")):
        with part_beside(tmp_path) as part, pytest.raises(InvalidInput, match=words):
            put_in_place(part, place)
    assert pipe.is_fifo() and folder.is_dir() and len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No space left"), part_beside(tmp_path) as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())


def test_a_trace_is_never_written_over_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw.csv"
    raw.write_text("arrival_s,op,key\n0,get,1\n1,get,2\n")
    before = raw.read_bytes()
    assert main(["trace", "import", str(raw), str(raw)]) == 2 and "would be lost" in capsys.readouterr().err
    assert main(["trace", "transform", str(raw), str(raw), "--do", "speedup=2"]) == 2
    assert raw.read_bytes() == before
