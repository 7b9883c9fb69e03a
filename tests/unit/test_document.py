"""Reading YAML: plain words mean what is written, and a hostile file is refused while it is parsed."""

import time
from pathlib import Path

import pytest

from traces.document import load_document
from traces.errors import InvalidInput


def read(tmp_path: Path, text: str):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_document(path)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("12:30", "12:30"), ("1:02:03", "1:02:03"), ("on", "on"), ("yes", "yes"), ("no", "no"), ("off", "off"), ("y", "y"),
        ("true", True), ("False", False), ("10", 10), ("010", 10), ("-3", -3), ("0x10", "0x10"), ("0b1", "0b1"), ("1_000", "1_000"),
        ("1.50", 1.5), ("1e3", 1000.0), (".5", 0.5), (".inf", ".inf"), ("2020-01-02", "2020-01-02"), ("null", None), ("~", None),
        ("", None), ("'10'", "10"), ('"true"', "true"), ("!!str 10", "10"), ("=", "="),
    ],
)  # fmt: skip
def test_plain_words_are_read_by_the_core_schema(tmp_path: Path, written: str, value: object) -> None:
    read_value = read(tmp_path, f"a: {written}\n").data["a"]
    assert read_value == value
    assert type(read_value) is type(value)


def test_a_key_is_what_is_written(tmp_path: Path) -> None:
    assert read(tmp_path, "on: 1\n12:30: 2\n010: 3\n<<: 4\n").data == {"on": 1, "12:30": 2, "010": 3, "<<": 4}


def test_numbers_where_text_is_meant_stay_as_written(tmp_path: Path) -> None:
    document = read(tmp_path, "a: {x: [1.50, true, b], n: 1.50}\n")
    assert document.with_text([("a", "*", "*")])["a"] == {"x": ["1.50", "true", "b"], "n": 1.5}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: &x [1]\nb: *x\n", 2, "an alias (*x) is not allowed"),
        ("a: 1\nb: " + "[" * 40 + "]" * 40, 2, "nested deeper than 32"),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "tag 'tag:yaml.org,2002:python/object:os.system' is not known"),
        ("a: !secret x\n", 1, "tag '!secret' is not known"),
        ("a: 1\n? [b]\n: 2\n", 2, "a key must be plain text"),
        ("a: 1\nb: 1e999\n", 2, "beyond 1e308"),
        ("a: " + "9" * 5000, 1, "too many digits"),
        ("a: [1\nb: 2\n", 2, "not YAML"),
        ("- a\n", 1, "expected a mapping"),
        ("", 1, "expected a mapping"),
        ("# nothing\n", 1, "expected a mapping"),
    ],
)
def test_what_is_no_plain_mapping_is_one_line_with_its_place(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read(tmp_path, text)
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / 'c.yaml'}:{line}:"), message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("unit", ["a,", "[", "{a: ", "- a\n", "? ", "a: b\n", "- - ", "'a' ", "&a ", "!a "])
def test_a_hostile_mebibyte_is_refused_at_once(tmp_path: Path, unit: str) -> None:
    text = unit * ((1 << 20) // len(unit) - 10)
    begun = time.process_time()
    with pytest.raises(InvalidInput) as raised:
        read(tmp_path, "a: [" + text if unit == "a," else text)
    assert time.process_time() - begun < 0.8
    assert len(str(raised.value)) < 1000
    assert "\n" not in str(raised.value)


def test_what_is_missing_at_the_end_is_missed_on_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("allow: [membw\n")
    with pytest.raises(InvalidInput, match=r"policy\.yaml:1: not YAML"):
        load_document(path)
