"""A wrong campaign gives one line: file, line, key, what is wrong, what to do."""

from pathlib import Path

import pytest

from controller.campaign import NOMINAL, load_campaign
from traces.errors import InvalidInput

ROOT = Path(__file__).parents[2]
GOOD = """\
campaign: small
systems:
  redis:
    driver: redis
    variants: {one: {command: [redis-server]}}
    ready: {ping: 10s}
workload: {trace: "poisson:1000", rate: 2000/s}
conditions:
  noisy: {sharing: {cpu: {dose: [25, 50], place: same-core}}}
  bus: {sharing: {membw: {dose: 500 MB/s}}}
"""


def load(tmp_path: Path, text: str):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_campaign(path)


def test_a_list_of_doses_becomes_one_condition_a_dose_and_units_are_converted(tmp_path: Path) -> None:
    conditions = load(tmp_path, GOOD).expanded()
    assert list(conditions) == [NOMINAL, "noisy@25", "noisy@50", "bus"]
    assert conditions["bus"][0].dose == pytest.approx(0.5)
    assert conditions["noisy@25"][0].options == {"place": "same-core"}


@pytest.mark.parametrize(
    ("wrong", "instead_of", "line", "words"),
    [
        ("rat: 2000/s", "rate: 2000/s", 7, ["workload.rat", "unknown key", "did you mean rate?"]),
        ("rate: 2000", "rate: 2000/s", 7, ["workload.rate", "rate", "such as"]),
        ("[25, 250]", "[25, 50]", 9, ["conditions.noisy.sharing.cpu.dose", "250 is over 100", "give 0 to 100"]),
        ("samecore", "same-core", 9, ["place", "same-core, sibling, same-cache"]),
        ("mebw", "membw", 10, ["unknown violation", "did you mean membw?"]),
        ("ping: 10}", "ping: 10s}", 6, ["systems.redis.ready.ping", "no unit"]),
        ("driver: reds", "driver: redis", 4, ["systems.redis.driver", "'reds' is no driver; expected one of redis"]),
        (
            "{cpu: {dose: 5}}, hardware: {cores: {dose: 1.5}}}",
            "{cpu: {dose: [25, 50], place: same-core}}}",
            9,
            ["cores.dose", "1.5 is not a whole number of cores"],
        ),
        (
            "{dose: 5}}, hardware: {mask-isa: {features: [aes, avx3]}}}",
            "{dose: [25, 50], place: same-core}}}",
            9,
            ["features", "'avx3' is unknown", "did you mean avx"],
        ),
        ("{dose: 5}}, hardware: {mask-isa: {}}}", "{dose: [25, 50], place: same-core}}}", 9, ["mask-isa", "features is missing", "aes"]),
        ("{dose: 5}}, hardware: {mask-isa: {features: []}}}", "{dose: [25, 50], place: same-core}}}", 9, ["features", "an empty list"]),
        ("{dose: 5}}, hardware: {no-io-uring: {errno: ENOENT}}}", "{dose: [25, 50], place: same-core}}}", 9, ["errno", "ENOSYS, EPERM"]),
        ("{dose: 5}}, hardware: {no-io-uring: 0}}", "{dose: [25, 50], place: same-core}}}", 9, ["dose", "0 is under 1"]),
        ("500 MB/s, threads: 1.5", "500 MB/s", 10, ["membw.threads", "1.5 is not a whole number"]),
        ("campaign: small\ndesign: {until: {half_width: 10%}}", "campaign: small", 2, ["design", "until and max_repeats belong together"]),
        ("campaign: small\ndesign: {max_repeats: 9}", "campaign: small", 2, ["design", "until and max_repeats belong together"]),
        (
            "campaign: small\ndesign: {max_repeats: 3, until: {half_width: 10%}}",
            "campaign: small",
            2,
            ["max_repeats 3 is not over repeats 3"],
        ),
        (
            "campaign: small\ndesign: {repeats: 1, max_repeats: 3, until: {half_width: 10%}}",
            "campaign: small",
            2,
            ["no interval between blocks"],
        ),
        (
            "campaign: small\ndesign: {max_repeats: 9, until: {half_width: 10us}}",
            "campaign: small",
            2,
            ["half_width", "not one of a share"],
        ),
        ("campaign: small\ndesign: {max_repeats: 9, until: {half_width: 0}}", "campaign: small", 2, ["half_width", "not over 0"]),
        ("500 Mb/s", "500 MB/s", 10, ["unit", "GB/s"]),
        ("shar:", "sharing:", 9, ["unknown axis", "did you mean sharing?"]),
        ("nominal:", "noisy:", 9, ["nominal is always there"]),
        ("workload: {cpu", "sharing: {cpu", 9, ["axis sharing, not workload"]),
        ("campaign: small\ncampaign: again", "campaign: small", 2, ["appears twice"]),
        ("campaign: [", "campaign: small", 3, ["not YAML"]),
    ],
)
def test_a_wrong_document_is_one_line_with_its_place(tmp_path: Path, wrong: str, instead_of: str, line: int, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        load(tmp_path, GOOD.replace(instead_of, wrong, 1))
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path / 'c.yaml'}:{line}:"), message
    for word in words:
        assert word in message, message


def test_hostile_yaml_is_refused(tmp_path: Path) -> None:
    for text in ("a: &x [1]\nb: *x\n", "[" * 200 + "]" * 200, "\xff"):
        with pytest.raises(InvalidInput):
            load(tmp_path, text)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.yaml: No such file"):
        load_campaign(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "name", ["campaigns/redis-off-spec.yaml", "campaigns/redis-workload.yaml", "campaigns/nginx-off-spec.yaml", "controller/demo.yaml"]
)
def test_the_shipped_campaigns_are_right(name: str) -> None:
    campaign = load_campaign(ROOT / name)
    assert len(campaign.system.variants) == 2


def test_layout_and_comments_do_not_change_what_a_campaign_is(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).spec_hash == load(tmp_path, "# a comment\n" + GOOD).spec_hash
    assert load(tmp_path, GOOD).spec_hash != load(tmp_path, GOOD.replace("2000/s", "2001/s")).spec_hash


def test_the_content_of_a_signal_is_content_of_the_campaign(tmp_path: Path) -> None:
    signalled = GOOD.replace("conditions:\n", "conditions:\n  following: {sharing: {cpu: {dose: [{signal: load.csv}, 10]}}}\n")
    assert signalled != GOOD
    (tmp_path / "load.csv").write_text("second,dose\n0,5\n1,10\n")
    before = load(tmp_path, signalled)
    assert list(before.signals) == ["load.csv"]
    assert load(tmp_path, signalled).spec_hash == before.spec_hash
    (tmp_path / "load.csv").write_text("second,dose\n0,5\n1,11\n")
    assert load(tmp_path, signalled).spec_hash != before.spec_hash
    assert load(tmp_path, GOOD).signals == {}


@pytest.mark.parametrize(
    ("section", "key", "words"),
    [
        ("gates", 'achieved: "<= 10%"', ["gates.achieved", "points the wrong way", "a lower bound", "'>= 99%'"]),
        ("gates", 'dose: "< 1"', ["gates.dose", "a lower bound"]),
        ("gates", 'slip_p99: ">= 1ms"', ["gates.slip_p99", "an upper bound", "'< 2ms'"]),
        ("gates", 'steal: "> 1%"', ["gates.steal", "an upper bound", "'<= 1%'"]),
        ("objectives", 'response_p99: "> 10ms"', ["objectives.response_p99", "an upper bound", "'< 2ms'"]),
        ("objectives", 'completed: "< 99%"', ["objectives.completed", "a lower bound", "'>= 99%'"]),
        ("gates", 'achieved: ">= 5ms"', ["gates.achieved", "unit 'ms' is not one of a share"]),
        ("gates", 'achieved: ">= 99"', ["gates.achieved", "'99' is not a share", "0% to 100%"]),
        ("gates", 'slip_p99: "< 2"', ["gates.slip_p99", "time unit is missing"]),
        ("objectives", 'response_p99: "< 5%"', ["objectives.response_p99", "not one of time"]),
        ("objectives", "response_p99: 5", ["objectives.response_p99", "5 is not a bound", "'< 2ms'"]),
    ],
)
def test_a_bound_of_the_wrong_direction_or_unit_is_one_line(tmp_path: Path, section: str, key: str, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        load(tmp_path, f"{GOOD}{section}:\n  {key}\n")
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / 'c.yaml'}:12: "), message
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_numbers_and_truth_values_in_a_command_are_the_words_that_are_written(tmp_path: Path) -> None:
    written = "command: [redis-server, --io-threads, 2, --version, 1.10, --active, true, --appendonly, no]"
    variant = load(tmp_path, GOOD.replace("command: [redis-server]", written + ", env: {N: 010, Q: 1e3}")).variant("one")
    assert variant.command == ("redis-server", "--io-threads", "2", "--version", "1.10", "--active", "true", "--appendonly", "no")
    assert variant.env == {"N": "010", "Q": "1e3"}


def test_a_campaigns_name_is_a_plain_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="1: campaign: "):
        load(tmp_path, GOOD.replace("campaign: small", "campaign: ../small"))


def test_what_is_only_on_or_off_needs_no_dose_and_words_are_joined(tmp_path: Path) -> None:
    said = "{hardware: {mask-isa: {features: [aes, sha]}, no-io-uring: {errno: EPERM}, no-hugepages: {}, clock-skew: 1h, memory: 1GiB}}"
    (asked,) = [
        each
        for name, each in load(tmp_path, GOOD.replace("{sharing: {cpu: {dose: [25, 50], place: same-core}}}", said, 1)).expanded().items()
        if name == "noisy"
    ]
    found = {each.name: (each.dose, each.options) for each in asked}
    assert found["mask-isa"] == (1, {"features": "aes,sha"}) and found["no-io-uring"] == (1, {"errno": "EPERM"})
    assert found["no-hugepages"] == (1, {}) and found["clock-skew"][0] == 3600 and found["memory"][0] == 1024
