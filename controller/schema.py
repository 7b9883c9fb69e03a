"""The JSON Schema (draft 2020-12) of the campaign document, for editors: what a person writes, not what the program keeps.

Made of the models and the catalogue of violations. An editor's check is the smaller one: `offspec plan --offline` is the whole.
"""

from typing import Any

from controller.campaign import NAME, NOMINAL, Campaign
from controller.fields import NUMBER
from protos.dose_profiles import KEYS
from protos.violations import CATALOGUE, Allowed, Number, Told, ViolationSpec, Words

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def campaign_schema() -> dict[str, Any]:
    schema = Campaign.model_json_schema(mode="validation")
    schema["properties"].pop("folder", None)
    schema["properties"]["conditions"] = {
        "type": "object",
        "description": "What is broken, by a name of your own. The nominal condition is always there.",
        "propertyNames": {"pattern": f"^{NAME.pattern}$", "not": {"const": NOMINAL}},
        "additionalProperties": _condition(),
    }
    for model in (schema, *schema["$defs"].values()):
        for field in model.get("properties", {}).values():
            _default_as_written(field)
            if "patternProperties" in field:
                field["additionalProperties"] = False
    schema["$defs"] = {name: model for name, model in schema["$defs"].items() if name != "Violated"}
    return {"$schema": DRAFT, **schema}


def _default_as_written(field: dict[str, Any]) -> None:
    """Durations and bounds have defaults that are text in a document; a whole section's default says nothing to anyone."""
    default = field.get("default")
    if isinstance(default, dict) and "text" in default:
        field["default"] = default["text"]
    elif isinstance(default, dict):
        del field["default"]
    elif isinstance(default, int) and not isinstance(default, bool) and field.get("type") == "string":
        ms = default // 1_000_000
        field["default"] = f"{ms}ms" if ms % 1000 else f"{ms // 1000}s"


def _condition() -> dict[str, Any]:
    axes = dict.fromkeys(str(spec.axis) for spec in CATALOGUE.values())
    by_axis = {axis: _closed({n: _violation(spec) for n, spec in CATALOGUE.items() if spec.axis == axis}) for axis in axes}
    return _closed(by_axis)


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": properties}


def _violation(spec: ViolationSpec) -> dict[str, Any]:
    units = [spec.unit, *spec.aliases, *(["%"] if spec.unit == "percent" else [])]
    # A bare number is in `unit`, which may be another than the catalogue's: its range is checked when the document is read.
    one = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": rf"^\s*{NUMBER}\s*({'|'.join(units)})?\s*$"}]}
    doses = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}, *([_over_time(one)] if spec.varies else [])]}
    options = {name: _option(allowed) for name, allowed in spec.options.items()}
    required = [name for name, allowed in spec.options.items() if isinstance(allowed, Words | Told) and allowed.required]
    whole = {
        "type": "object",
        "required": [*required] if spec.is_switch else ["dose", *required],
        "additionalProperties": False,
        "properties": {"dose": doses, "unit": {"enum": units}, **options},
    }
    says = f"{spec.breaks[0].upper()}{spec.breaks[1:]}: no more. Dose in {spec.unit}, {spec.low:g} to {spec.high:g}."
    return {"description": says, "anyOf": [whole] if required else [one, doses["anyOf"][1], whole]}


def _over_time(one: dict[str, Any]) -> dict[str, Any]:
    """A dose over time; what goes with which is checked when the document is read."""
    times = {key: {"type": "string"} for keys in KEYS.values() for key in keys if key != "scale"}
    several = {kind: {"type": "array", "items": one, "minItems": 1} for kind in KEYS if kind != "signal"}
    properties = {**several, **times, "signal": {"type": "string"}, "scale": {"type": "number"}}
    return {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": properties}


def _option(allowed: Allowed) -> dict[str, Any]:
    if isinstance(allowed, Words):
        word = {"enum": list(allowed.of)}
        return {"anyOf": [word, {"type": "array", "items": word, "minItems": 1}]}
    if isinstance(allowed, Number):
        return {"type": "number", "minimum": allowed.low, "maximum": allowed.high}
    if isinstance(allowed, Told):
        return {"type": "string", "pattern": f"^(?:{allowed.pattern})$", "description": allowed.words}
    return {"enum": list(allowed)} if allowed else {"type": "number", "exclusiveMinimum": 0}
