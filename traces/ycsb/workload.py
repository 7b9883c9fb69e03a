"""A YCSB core workload as its properties file gives it: names, defaults and limits of CoreWorkload.java
(https://github.com/brianfrankcooper/YCSB, core/src/main/java/site/ycsb/workloads and workloads/).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from traces.errors import InvalidInput

MOST_RECORDS = 2**40
MOST_SCAN = 65_536
DISTRIBUTIONS = ("uniform", "zipfian", "latest", "hotspot", "exponential", "sequential")
LENGTHS = ("constant", "uniform", "zipfian")
OPERATIONS = ("read", "update", "insert", "scan", "readmodifywrite")
DEFAULTS = {
    "workload": "site.ycsb.workloads.CoreWorkload",
    "recordcount": "0", "operationcount": "0", "insertstart": "0", "insertcount": "",
    "readproportion": "0.95", "updateproportion": "0.05", "insertproportion": "0", "scanproportion": "0", "readmodifywriteproportion": "0",
    "requestdistribution": "uniform", "insertorder": "hashed", "zeropadding": "1",
    "hotspotdatafraction": "0.2", "hotspotopnfraction": "0.8", "exponential.percentile": "95", "exponential.frac": "0.8571428571",
    "fieldcount": "10", "fieldlength": "100", "minfieldlength": "1", "fieldlengthdistribution": "constant",
    "readallfields": "true", "writeallfields": "false",
    "minscanlength": "1", "maxscanlength": "1000", "scanlengthdistribution": "uniform", "target": "0",
}  # fmt: skip
"""Properties that shape the requests, with YCSB's defaults; others (of a binding, of measurements) are left aside."""

_COMMON = {
    "operationcount": "1000",
    "recordcount": "1000",
    "readallfields": "true",
    "requestdistribution": "zipfian",
    "scanproportion": "0",
}
CORE: Mapping[str, Mapping[str, str]] = {
    "a": {**_COMMON, "readproportion": "0.5", "updateproportion": "0.5"},
    "b": {**_COMMON, "readproportion": "0.95", "updateproportion": "0.05"},
    "c": {**_COMMON, "readproportion": "1", "updateproportion": "0"},
    "d": {**_COMMON, "readproportion": "0.95", "updateproportion": "0", "insertproportion": "0.05", "requestdistribution": "latest"},
    "e": {
        **_COMMON, "readproportion": "0", "updateproportion": "0", "scanproportion": "0.95", "insertproportion": "0.05",
        "maxscanlength": "100",
    },
    "f": {**_COMMON, "readproportion": "0.5", "updateproportion": "0", "readmodifywriteproportion": "0.5"},
}  # fmt: skip
"""The six core workloads as YCSB ships them."""
_PROPERTY = re.compile(r"\s*([^\s=:#!][^\s=:]*)\s*[=:\s]\s*(.*?)\s*")


@dataclass(frozen=True)
class Workload:
    """`mix`: shares of OPERATIONS, summing to 1. Lengths in bytes of one field."""

    records: int
    operations: int
    insert_start: int
    insert_count: int
    mix: tuple[float, ...]
    insert_share: float  # as given, which need not be one of shares that sum to 1
    distribution: str
    hashed: bool
    padding: int
    hot_data: float
    hot_operations: float
    percentile: float
    fraction: float
    fields: int
    field_bytes: int
    least_field_bytes: int
    field_law: str
    read_all: bool
    write_all: bool
    least_scan: int
    most_scan: int
    scan_law: str
    target_per_s: int


def properties_of(text: str) -> dict[str, str]:
    """Of a java.util.Properties file: name=value, name: value or name value; # and ! begin a comment; a backslash continues a line."""
    found: dict[str, str] = {}
    for line in re.sub(r"\\\r?\n\s*", "", text).splitlines():
        match = _PROPERTY.fullmatch(line + " ") if line.strip() and line.lstrip()[0] not in "#!" else None
        if match:
            found[match[1]] = match[2]
    return found


def workload_of(properties: Mapping[str, str], where: str) -> Workload:
    """What properties ask for, defaults for those that are missing. Raises InvalidInput that names `where` and the property."""
    values = {**DEFAULTS, **properties}

    def refused(name: str, expected: str) -> InvalidInput:
        return InvalidInput(f"{where}: {name}={values[name][:60]}: expected {expected}; correct it, or give {name}=VALUE")

    def whole(name: str, least: int, most: int) -> int:
        text = values[name]
        if not re.fullmatch(r"\d{1,18}", text) or not least <= int(text) <= most:
            raise refused(name, f"a whole number from {least} to {most}")
        return int(text)

    def share(name: str, most: float = 1.0) -> float:
        try:
            value = float(values[name])
        except ValueError:
            value = -1.0
        if not 0 <= value <= most:
            raise refused(name, f"a number from 0 to {most:g}")
        return value

    def word(name: str, words: tuple[str, ...]) -> str:
        if values[name] not in words:
            raise refused(name, f"one of {', '.join(words)}")
        return values[name]

    if not values["workload"].endswith(".CoreWorkload"):
        raise refused("workload", "site.ycsb.workloads.CoreWorkload")
    records = whole("recordcount", 1, MOST_RECORDS)
    start = whole("insertstart", 0, records - 1)
    values["insertcount"] = values["insertcount"] or str(records - start)
    shares = [share(f"{name}proportion", 1e9) for name in OPERATIONS]
    if not sum(shares):
        raise refused("readproportion", "some proportion above 0")
    law = word("fieldlengthdistribution", LENGTHS)
    least_scan = whole("minscanlength", 1, MOST_SCAN)
    return Workload(
        records=records,
        operations=whole("operationcount", 1, MOST_RECORDS),
        insert_start=start,
        insert_count=whole("insertcount", 1, records - start),
        mix=tuple(each / sum(shares) for each in shares),
        insert_share=shares[OPERATIONS.index("insert")],
        distribution=word("requestdistribution", DISTRIBUTIONS),
        hashed=values["insertorder"] == "hashed",
        padding=whole("zeropadding", 0, 60_000),
        hot_data=share("hotspotdatafraction"),
        hot_operations=share("hotspotopnfraction"),
        percentile=share("exponential.percentile", 99.999),
        fraction=share("exponential.frac"),
        fields=whole("fieldcount", 1, 1_000_000 if law == "constant" else 1000),
        field_bytes=whole("fieldlength", 1, 1 << 30),
        least_field_bytes=whole("minfieldlength", 0, 1 << 30),
        field_law=law,
        read_all=values["readallfields"].lower() == "true",
        write_all=values["writeallfields"].lower() == "true",
        least_scan=least_scan,
        most_scan=whole("maxscanlength", least_scan, MOST_SCAN) if shares[OPERATIONS.index("scan")] else least_scan,
        scan_law=word("scanlengthdistribution", ("uniform", "zipfian")),
        target_per_s=whole("target", 0, 10**9),
    )
