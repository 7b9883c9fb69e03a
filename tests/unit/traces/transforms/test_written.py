"""How transforms are asked for on a command line and in YAML."""

from pathlib import Path

import pytest

from traces.errors import InvalidInput
from traces.transforms import TransformSpec
from traces.transforms.written import spec_of_entry, spec_of_text, specs_in_file


@pytest.mark.parametrize(
    ("text", "entry", "spec"),
    [
        ("zipf=1.2", {"zipf": 1.2}, TransformSpec("zipf", 1.2)),
        ("superpose=3", {"superpose": 3}, TransformSpec("superpose", 3.0)),
        ("churn=0.1,period=5s", {"churn": {"value": 0.1, "period": "5s"}}, TransformSpec("churn", 0.1, {"period": "5s"})),
        ("window=10s..20s", {"window": "10s..20s"}, TransformSpec("window", "10s..20s")),
        ("window=from=1s,to=2s", {"window": {"from": "1s", "to": "2s"}}, TransformSpec("window", None, {"from": "1s", "to": "2s"})),
        ("op_mix=get=0.9,set=0.1", {"op_mix": {"get": 0.9, "set": 0.1}}, TransformSpec("op_mix", None, {"get": "0.9", "set": "0.1"})),
        ("size_map=lognormal:300:1", {"size_map": "lognormal:300:1"}, TransformSpec("size_map", "lognormal:300:1")),
        (
            "mix={value: 'poisson:9,keys=5,for=1s', share: 0.2}",
            {"mix": {"value": "poisson:9,keys=5,for=1s", "share": 0.2}},
            TransformSpec("mix", "poisson:9,keys=5,for=1s", {"share": "0.2"}),
        ),
        ("mix=a,b=c.csv,share=0.2", {"mix": {"value": "a,b=c.csv", "share": 0.2}}, TransformSpec("mix", "a,b=c.csv", {"share": "0.2"})),
    ],
)
def test_a_command_line_and_a_document_ask_for_the_same(text: str, entry: object, spec: TransformSpec) -> None:
    assert spec_of_text(text) == spec
    assert spec_of_entry(entry, "here") == spec
    assert spec_of_entry(text, "here") == spec


@pytest.mark.parametrize(
    "text", ["", "zipff=1", "=1", "churn=1,period=1s,period=2s", "mix={value: [", "mix={value: [1]}", "zipf={what: 1}"]
)
def test_what_cannot_be_read_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        spec_of_text(text)
    assert "expected" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "entry", [None, 3, {}, {"zipf": 1, "burst": 2}, {"zipf": [1]}, {"zipf": True}, {"churn": {"period": None}}, {3: 4}]
)
def test_an_entry_that_is_none_is_refused_with_its_place(entry: object) -> None:
    with pytest.raises(InvalidInput, match=r"here|transform") as error:
        spec_of_entry(entry, "here")
    assert "expected" in str(error.value)


def test_a_file_of_transforms_is_a_list_or_holds_one(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("- zipf: 1.2\n- burst=4\n")
    assert specs_in_file(path) == [TransformSpec("zipf", 1.2), TransformSpec("burst", 4.0)]
    path.write_text("transforms: [{churn: {value: 0.1, period: 5s}}]\n")
    assert specs_in_file(path) == [TransformSpec("churn", 0.1, {"period": "5s"})]
    for wrong in ("", "zipf: 1", "[", "- {zipf: 1, burst: 2}", "transforms: []", "a: *b"):
        path.write_text(wrong)
        with pytest.raises(InvalidInput, match="expected") as error:
            specs_in_file(path)
        assert str(path) in str(error.value)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="UTF-8"):
        specs_in_file(path)
    with pytest.raises(InvalidInput, match="No such file"):
        specs_in_file(tmp_path / "none.yaml")
