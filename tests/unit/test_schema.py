"""The schema accepts what a person may write and a campaign accepts, and rejects what an editor should underline."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from controller.campaign import Campaign, load_campaign
from controller.schema import campaign_schema
from traces.document import load_document
from traces.errors import InvalidInput

ROOT = Path(__file__).parents[2]
SHIPPED = [*sorted((ROOT / "campaigns").glob("*.yaml")), ROOT / "controller" / "demo.yaml"]
GOOD = """\
campaign: small
systems: {redis: {driver: redis, variants: {one: {command: [redis-server, --io-threads, 2]}}, ready: {ping: 10s}}}
workload: {trace: "poisson:1000", rate: 2000/s, timeout: 500ms, transforms: [{op_mix: 0.9}]}
conditions: {noisy: {sharing: {cpu: {dose: [25, "50%"], place: same-core, weight: 1024}, membw: 500 MB/s}}}
phases: {warmup: 1s, measure: 3s}
objectives: {response_p99: "< 10ms", completed: "> 99%"}
design: {repeats: 3, max_repeats: 9, until: {half_width: 10%, metric: goodput}}
gates: {achieved: ">= 0.99", slip_p99: "<= 1ms", steal: "<= 1%"}
"""
VALIDATOR = jsonschema.Draft202012Validator(campaign_schema())


def data_of(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_document(path).data


def test_the_schema_is_valid_by_its_own_draft() -> None:
    schema = campaign_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_the_shipped_campaigns_hold_to_the_schema(path: Path) -> None:
    VALIDATOR.validate(load_document(path).data)


def test_a_document_of_every_kind_of_value_holds_to_the_schema(tmp_path: Path) -> None:
    VALIDATOR.validate(data_of(tmp_path, GOOD))
    assert load_campaign(tmp_path / "c.yaml").variant("one").command[-1] == "2"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("rate: 2000/s", "rat: 2000/s"), ("rate: 2000/s", "rate: 2000"), ("rate: 2000/s", "rate: 2000 MB"), ("ping: 10s", "ping: 10"),
        ("ping: 10s", "ping: 10s, tcp: 10s"), ("timeout: 500ms", "timeout: soon"), ("timeout: 500ms", "connections: many"),
        ("driver: redis", "driver: reds"), ('response_p99: "< 10ms"', 'response_p99: "> 10ms"'), ('response_p99: "< 10ms"', "p99: 3"),
        ('achieved: ">= 0.99"', 'achieved: "<= 10%"'), ("sharing", "shar"), ("cpu: {", "cpus: {"), ("same-core", "samecore"),
        ("500 MB/s", "500 Mb/s"), ("noisy:", "nominal:"), ("noisy:", "Noisy:"), ("{one:", "{One two:"), ("weight: 1024", "weight: heavy"),
        ("campaign: small", "campaign: Sm/all"), ("[redis-server, --io-threads, 2]", "redis-server"), ("[{op_mix: 0.9}]", "[op_mix]"),
    ],
)  # fmt: skip
def test_what_a_campaign_refuses_an_editor_underlines(tmp_path: Path, right: str, wrong: str) -> None:
    assert right in GOOD
    data = data_of(tmp_path, GOOD.replace(right, wrong, 1))
    assert not VALIDATOR.is_valid(data)
    with pytest.raises(InvalidInput):
        load_campaign(tmp_path / "c.yaml")


def test_every_default_is_as_a_person_would_write_it() -> None:
    schema = campaign_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model.get("properties", {}).items():
            if "default" in field:
                jsonschema.Draft202012Validator({"$defs": schema["$defs"], **field}).validate(field["default"])
            else:
                assert name not in ("warmup", "achieved")


def test_every_top_level_key_is_known() -> None:
    assert set(campaign_schema()["properties"]) == set(Campaign.model_fields) - {"folder"}
