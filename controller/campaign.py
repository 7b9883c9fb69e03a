"""The campaign document: one YAML file that says which systems, on which nodes, under which load and conditions, how often.

Paths in it are relative to its own folder. What it means for the machines is `plan`'s business.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from controller.attempts import AskedViolation
from controller.fields import (
    AtLeastFactor,
    AtLeastShare,
    AtMostShare,
    AtMostTime,
    Duration,
    Rate,
    Share,
    Text,
    at_least_share,
    at_most_share,
    at_most_time,
)
from controller.where import compile_where
from protos.dose_profiles import BadProfile, profile_of
from protos.violation_options import WrongOption, near, options_of
from protos.violations import CATALOGUE, ViolationSpec
from traces.document import Document, load_document
from traces.errors import InvalidInput
from traces.projection import driver_names
from traces.quantities import parse_quantity, seconds_of

NOMINAL = "nominal"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TEXTS = (
    ("systems", "*", "variants", "*", "command", "*"),
    ("systems", "*", "variants", "*", "env", "*"),
    ("systems", "*", "variants", "*", "files", "*"),
    ("workload", "options", "*"),
    ("systems", "*", "options", "*"),
    ("systems", "*", "falls_back", "*", "log"),
    ("systems", "*", "falls_back", "*", "labels", "*"),
)
"""Where a number or a truth value means the word that is written."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Model):
    """How to start one variant. Placeholders: {port} {dir} {core} {cores} {python}."""

    command: tuple[Text, ...] = Field(min_length=1)
    env: Mapping[str, Text] = {}
    files: Mapping[str, Text] = {}
    pin: bool = True
    port: int | None = Field(default=None, ge=1, le=65535)


class Ready(_Model):
    """How to tell that a system serves: one probe and how long it may take."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    ping: Duration | None = None
    http: Duration | None = None
    tcp: Duration | None = None

    @model_validator(mode="after")
    def _one(self) -> "Ready":
        if sum(v is not None for v in (self.ping, self.http, self.tcp)) != 1:
            raise ValueError("give exactly one of ping, http, tcp, with its time, such as {ping: 10s}")
        return self

    @property
    def probe(self) -> str:
        return "ping" if self.ping is not None else "http" if self.http is not None else "tcp"

    @property
    def timeout_ms(self) -> int:
        return (self.ping or self.http or self.tcp or 0) // 1_000_000


class FallsBack(_Model):
    """One sign that a system takes another path than the one it was made for: exactly one of log, metric, cpu_per_request.

    `log`: a regular expression for a line of its log. `metric`: a figure that it exposes, `above` or `below` a value at the trial's end.
    `cpu_per_request`: how many times the CPU time of the same variant's nominal requests.
    """

    log: Text | None = None
    metric: str | None = None
    labels: Mapping[str, Text] = {}
    above: float | None = None
    below: float | None = None
    cpu_per_request: AtLeastFactor | None = None

    @model_validator(mode="after")
    def _one_sign(self) -> "FallsBack":
        if sum(sign is not None for sign in (self.log, self.metric, self.cpu_per_request)) != 1:
            raise ValueError("give exactly one of log, metric, cpu_per_request, such as {log: 'falling back'}")
        if self.log is not None:
            try:
                re.compile(self.log)
            except re.error as error:
                raise ValueError(f"log: {self.log!r} is no regular expression ({error})") from None
        if (self.metric is not None) != ((self.above is None) != (self.below is None)):
            raise ValueError("a metric goes with one of above and below, such as {metric: app_slow_path_total, above: 0}")
        if self.labels and self.metric is None:
            raise ValueError("labels go with a metric")
        return self


class System(_Model):
    driver: Annotated[str, WithJsonSchema({"enum": driver_names()})]
    variants: Mapping[Annotated[str, Field(pattern=rf"^{NAME.pattern}$")], Variant] = Field(min_length=1)
    ready: Ready
    path: str = "/"
    options: Mapping[str, Text] = {}
    tls: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    metrics: tuple[str, ...] = ("process",)
    falls_back: tuple[FallsBack, ...] = ()

    @field_validator("driver")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in driver_names():
            raise ValueError(f"{name!r} is no driver; expected one of {', '.join(driver_names())}")
        return name


def _where(text: str) -> str:
    try:
        compile_where(text)
    except InvalidInput as error:
        raise ValueError(str(error).removeprefix("where: ")) from None
    return text


Where = Annotated[str, AfterValidator(_where)]
"""An expression over the labels of nodes (controller.where)."""


class TargetNode(_Model):
    where: Where | None = None
    cores: tuple[int, ...] = (0,)


class LoadNodes(_Model):
    where: Where | None = None
    count: int = Field(default=1, ge=1)
    cores: tuple[int, ...] = (1,)


class Nodes(_Model):
    target: TargetNode = TargetNode()
    load: LoadNodes = LoadNodes()


class Workload(_Model):
    trace: str
    format: str | None = None
    options: Mapping[str, Text] = {}
    rate: Rate | None = None
    preload: bool = False
    connections: int = Field(default=8, ge=1, le=65536)
    timeout: Duration = 1_000_000_000
    late: Literal["send", "drop", "abort"] = "send"
    spread: Literal["poisson", "equidistant", "start"] | None = None
    projection: Mapping[str, int | float | str] = {}
    transforms: tuple[Mapping[str, Any], ...] = ()

    @property
    def timeout_ms(self) -> int:
        return max(1, self.timeout // 1_000_000)

    @field_validator("transforms")
    @classmethod
    def _one_name_each(cls, given: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
        for each in given:
            if len(each) != 1:
                raise ValueError("each transform is one name with its value, such as {op_mix: 0.9}")
        return given


class Until(_Model):
    """When enough is known: every condition's interval of one metric is within this half width, as a share of the value."""

    half_width: Share
    metric: Literal["response_p50", "response_p99", "goodput", "throughput", "efficiency"] = "response_p99"


class Design(_Model):
    """`repeats` blocks; with `until`, as many more as it takes, `max_repeats` at most."""

    kind: Literal["one-at-a-time"] = "one-at-a-time"
    repeats: int = Field(default=3, ge=1, le=1000)
    max_repeats: int | None = Field(default=None, ge=1, le=1000)
    until: Until | None = None
    order: Literal["blocked-random"] = "blocked-random"

    @model_validator(mode="after")
    def _stops_somewhere(self) -> "Design":
        if (self.until is None) != (self.max_repeats is None):
            raise ValueError("until and max_repeats belong together; give both, such as {until: {half_width: 10%}, max_repeats: 20}")
        if self.max_repeats is not None and self.max_repeats <= self.repeats:
            raise ValueError(f"max_repeats {self.max_repeats} is not over repeats {self.repeats}; give more, or leave until out")
        if self.until is not None and self.repeats < 2:
            raise ValueError("repeats 1 gives no interval between blocks to look at; give 2 or more with until")
        return self

    @property
    def blocks(self) -> int:
        """The most blocks that may be run."""
        return self.max_repeats or self.repeats


class Phases(_Model):
    warmup: Duration = 2_000_000_000
    measure: Duration = 10_000_000_000
    drain: Duration = 1_000_000_000
    cooldown: Duration = 500_000_000

    @field_validator("warmup", "measure")
    @classmethod
    def _whole_seconds(cls, given: int) -> int:
        if given < 1_000_000_000 or given % 1_000_000_000:
            raise ValueError("figures are kept by the second: give whole seconds, at least 1s")
        return given

    @property
    def warmup_s(self) -> int:
        return self.warmup // 1_000_000_000

    @property
    def measure_s(self) -> int:
        return self.measure // 1_000_000_000

    @property
    def drain_ms(self) -> int:
        return self.drain // 1_000_000

    @property
    def cooldown_ms(self) -> int:
        return self.cooldown // 1_000_000


class Objectives(_Model):
    """What the system must hold in nominal trials (violated ones are the experiment). Also: what counts as goodput."""

    response_p50: AtMostTime | None = None
    response_p99: AtMostTime | None = None
    response_p99_9: AtMostTime | None = None
    completed: AtLeastShare | None = None

    @property
    def goodput_us(self) -> float | None:
        """A request is good if it is answered within this time: the tightest of the tail objectives."""
        given = [b.value for b in (self.response_p99, self.response_p99_9, self.response_p50) if b is not None]
        return given[0] if given else None


class Gates(_Model):
    """What a measurement must satisfy to be believed."""

    achieved: AtLeastShare = at_least_share(">= 99%")
    slip_p99: AtMostTime = at_most_time("<= 1ms")
    dose: AtLeastShare = at_least_share(">= 90%")
    steal: AtMostShare = at_most_share("<= 1%")
    foreign: AtMostShare = at_most_share("<= 10%")


class Violated(_Model):
    """Violations of one condition, by axis and name; the values are checked against the catalogue."""

    sharing: Mapping[str, Any] = {}
    hardware: Mapping[str, Any] = {}
    workload: Mapping[str, Any] = {}


class Campaign(_Model):
    """A whole document, checked."""

    campaign: str = Field(pattern=rf"^{NAME.pattern}$")
    seed: int = Field(default=1, ge=0)
    systems: Mapping[str, System] = Field(min_length=1, max_length=1)
    nodes: Nodes = Nodes()
    workload: Workload
    conditions: Mapping[str, Violated] = {}
    design: Design = Design()
    phases: Phases = Phases()
    objectives: Objectives = Objectives()
    gates: Gates = Gates()
    folder: str = Field(default="", exclude=True, json_schema_extra={"deprecated": True})

    @property
    def system(self) -> System:
        return next(iter(self.systems.values()))

    @property
    def system_name(self) -> str:
        return next(iter(self.systems))

    def variant(self, name: str) -> Variant:
        return self.system.variants[name]

    @property
    def spec_hash(self) -> str:
        """Over the content that decides what is measured; comments and layout do not count."""
        content = self.model_dump(mode="json")
        if signals := self.signals:
            content["signals"] = signals
        canonical = json.dumps(content, sort_keys=True)
        return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()

    @cached_property
    def signals(self) -> dict[str, str]:
        """Files that doses over time follow, as they are written in the document -> digest of their content when it was loaded. Raises
        InvalidInput.
        """
        violated = (
            each for condition in self.conditions.values() for axis in (condition.sharing, condition.hardware) for each in axis.values()
        )
        doses = [raw["dose"] for raw in violated if isinstance(raw, Mapping) and "dose" in raw]
        each_dose = [one for dose in doses for one in (dose if isinstance(dose, list) else [dose])]
        named = sorted({str(one["signal"]) for one in each_dose if isinstance(one, Mapping) and "signal" in one})
        found = {}
        for name in named:
            try:
                found[name] = hashlib.blake2b((Path(self.folder) / name).read_bytes(), digest_size=16).hexdigest()
            except OSError as error:
                raise InvalidInput(f"{Path(self.folder) / name}: {error.strerror}; a dose follows this signal") from None
        return found

    def resolve(self, path: str) -> str:
        """A path of the document as seen from anywhere; a synthesis stays what it is."""
        if re.match(r"[a-z_]+:[^/]", path):
            return path
        return str((Path(self.folder) / path).resolve()) if not Path(path).is_absolute() else path

    def exporters(self) -> dict[str, str]:
        return {f"{self.system_name}-{i}": url for i, url in enumerate(self.system.metrics) if url != "process"}

    def expanded(self) -> dict[str, tuple[AskedViolation, ...]]:
        """Every condition by name, nominal first; a list of doses becomes one condition a dose, `name@dose`."""
        found: dict[str, tuple[AskedViolation, ...]] = {NOMINAL: ()}
        for name, violated in self.conditions.items():
            ways = [
                [(asked, len(doses) > 1) for asked in doses]
                for axis in ("sharing", "hardware", "workload")
                for doses in (_asked(axis, v, raw, Path(self.folder)) for v, raw in getattr(violated, axis).items())
            ]
            for cell in itertools.product(*ways):
                suffix = "".join(f"@{asked.dose:g}" for asked, several in cell if several)
                found[name + suffix] = tuple(asked for asked, _ in cell)
        return found


def load_campaign(path: Path, folder: Path | None = None) -> Campaign:
    """Reads and checks a document. Raises InvalidInput: `file:line: key: what; what to do`.

    `folder` is what its paths are relative to: its own folder unless it was copied from there.
    """
    document = load_document(path)
    _check_conditions(document, folder or path.parent)
    try:
        campaign = Campaign.model_validate(document.with_text(_TEXTS) | {"folder": str((folder or path.parent).resolve())})
    except ValidationError as error:
        _translate(document, error)
    _ = campaign.signals  # their digests are of now, whatever becomes of the files
    return campaign


def _translate(document: Document, error: ValidationError) -> NoReturn:
    problems = error.errors()
    first = min(problems, key=lambda p: document.line([k for k in p["loc"] if isinstance(k, str | int)]))
    at = [part for part in first["loc"] if isinstance(part, str | int)]
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"unknown key{near(str(at[-1]), _siblings(at[:-1]))}"
    elif first["type"] == "missing":
        message = "missing; it must be given"
    else:
        given = first.get("input")
        if isinstance(given, str | int | float) and repr(given) not in message and str(given) not in message:
            message = f"{given!r}: {message}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    document.fail(at, message + more)


def _siblings(at: Sequence[str | int]) -> list[str]:
    """Keys that the model knows at a path, walking through mappings by any name."""
    model: Any = Campaign
    for part in at:
        field = model.model_fields.get(str(part)) if isinstance(model, type) and issubclass(model, BaseModel) else None
        kinds = _models(field.annotation) if field is not None else [model]
        if not kinds:
            return []
        model = kinds[0]
    return [k for k in model.model_fields if k != "folder"]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models(part)]


def _check_conditions(document: Document, folder: Path) -> None:
    """Conditions against the catalogue, while the lines are at hand."""
    conditions = document.data.get("conditions")
    if not isinstance(conditions, dict):
        return
    for name, violated in conditions.items():
        at: tuple[str | int, ...] = ("conditions", name)
        if name == NOMINAL:
            document.fail(at, "nominal is always there and has no violations; choose another name")
        if not NAME.fullmatch(name):
            document.fail(at, "a name has small letters, digits, '-', '_' and '.'; rename it")
        if not isinstance(violated, dict) or not violated:
            document.fail(at, "expected violations by axis, such as {sharing: {cpu: {dose: 50}}}")
        for axis, by_name in violated.items():
            if axis not in ("sharing", "hardware", "workload"):
                document.fail((*at, axis), f"unknown axis{near(axis, ('sharing', 'hardware', 'workload'))}")
            if not isinstance(by_name, dict) or not by_name:
                document.fail((*at, axis), "expected violations, such as {cpu: {dose: 50}}")
            for violation, raw in by_name.items():
                here = (*at, axis, violation)
                known = [n for n, spec in CATALOGUE.items() if spec.axis == axis]
                if violation not in CATALOGUE:
                    document.fail(here, f"unknown violation{near(violation, known)}")
                if violation not in known:
                    document.fail(here, f"is a violation of axis {CATALOGUE[violation].axis}, not {axis}; move it there")
                try:
                    _asked(axis, violation, raw, folder)
                except _BadDose as error:
                    document.fail((*here, *error.at), str(error))


class _BadDose(Exception):
    def __init__(self, at: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.at = at


def _asked(axis: str, name: str, raw: Any, folder: Path) -> list[AskedViolation]:
    """One violation's doses, in the catalogue's unit. Signals are files relative to `folder`."""
    spec = CATALOGUE[name]
    on = spec.is_switch and (raw is None or raw is True)
    fields = raw if isinstance(raw, dict) else {} if on else {"dose": raw}
    if "dose" not in fields and not spec.is_switch:
        raise _BadDose((), f"dose is missing; give one or a list, in {spec.unit}")
    unit = str(fields.get("unit", spec.unit))
    if _factor(spec, unit) is None:
        known = ", ".join((spec.unit, *spec.aliases))
        raise _BadDose(("unit",), f"unit {unit!r} is unknown for {name}; use one of {known}")
    try:
        text = options_of(spec, {k: v for k, v in fields.items() if k not in ("dose", "unit")})
    except WrongOption as error:
        raise _BadDose((error.key,) if error.key else (), str(error)) from None
    if spec.stage == "place":
        try:
            _where(text["where"])
        except ValueError as error:
            raise _BadDose(("where",), str(error)) from None
    dose = fields.get("dose", spec.high)
    given = dose if isinstance(dose, list) else [dose]
    if not given:
        raise _BadDose(("dose",), "an empty list; give at least one dose")
    return [_one(spec, unit, dose, text, folder) for dose in given]


def _one(spec: ViolationSpec, unit: str, raw: Any, text: Mapping[str, str], folder: Path) -> AskedViolation:
    if not isinstance(raw, dict):
        return AskedViolation(spec.name, spec.axis, spec.unit, _dose(spec, unit, raw), text)
    if not spec.varies:
        able = ", ".join(name for name, each in CATALOGUE.items() if each.varies)
        raise _BadDose(("dose",), f"the dose of {spec.name} cannot change while it is in force; give one number (these can: {able})")
    try:
        profile = profile_of(raw, lambda dose: _dose(spec, unit, dose), seconds_of, folder)
    except BadProfile as error:
        raise _BadDose(("dose", error.at) if error.at else ("dose",), str(error)) from None
    return AskedViolation(spec.name, spec.axis, spec.unit, profile.most, text, profile.to_json())


def _factor(spec: ViolationSpec, unit: str) -> float | None:
    if unit in (spec.unit, "%" if spec.unit == "percent" else spec.unit):
        return 1.0
    return spec.aliases.get(unit)


def _dose(spec: ViolationSpec, unit: str, raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise _BadDose(("dose",), f"{raw!r} is not a number; give one in {spec.unit}")
    try:
        number, own = parse_quantity(raw, "dose")
    except InvalidInput:
        raise _BadDose(("dose",), f"{raw!r} is not a number; give one in {spec.unit}") from None
    factor = _factor(spec, own or unit)
    if factor is None:
        raise _BadDose(("dose",), f"unit {own!r} is unknown for {spec.name}; use {spec.unit}")
    dose = number * factor
    if not spec.low <= dose <= spec.high:
        side = f"over {spec.high:g}" if dose > spec.high else f"under {spec.low:g}"
        raise _BadDose(("dose",), f"{number:g} is {side} ({spec.unit}); give {spec.low:g} to {spec.high:g}")
    if "dose" in spec.whole and dose != int(dose):
        raise _BadDose(("dose",), f"{number:g} is not a whole number of {spec.unit}; give one such as 2")
    return dose
