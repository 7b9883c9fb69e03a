"""How a transform is asked for: on a command line `zipf=1.2`, `churn=0.1,period=5s`, `op_mix=get=0.9,set=0.1`; in YAML `{zipf: 1.2}`,
`{churn: {value: 0.1, period: 5s}}`, one of either after the other. What stands in braces after a `=` on a command line is YAML too, for
values that have commas of their own: `mix={value: 'poisson:100,keys=10,for=5s', share: 0.2}`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from traces.errors import InvalidInput
from traces.transforms import TransformSpec, transform_of

_SCALARS = (str, int, float)
_MOST_BYTES = 1 << 20


def spec_of_text(text: str) -> TransformSpec:
    """One transform as it is written on a command line. Raises InvalidInput."""
    name, given, rest = text.strip().partition("=")
    name, rest = name.strip(), rest.strip()
    known = transform_of(TransformSpec(name)).options
    if rest.startswith("{"):
        return spec_of_entry({name: _yaml(rest, f"transform {name}")}, f"transform {name}")
    # A comma parts only before an option that the transform has: windows, laws and paths may hold commas and equal signs.
    parts = re.split(rf"(?:^|,)\s*({'|'.join(map(re.escape, known))})=", rest) if known else [rest]
    options = {option: value.strip() for option, value in zip(parts[1::2], parts[2::2], strict=True)}
    if len(options) < len(parts) // 2:
        raise InvalidInput(f"transform {name}: {rest!r} gives an option twice; expected each once")
    return _checked(TransformSpec(name, _figure(parts[0]) if given and parts[0] else None, options))


def spec_of_entry(entry: object, where: str) -> TransformSpec:
    """One transform as it stands in a document: `{name: value}`, `{name: {value: ..., option: ...}}`, or the text of a command line.
    Raises InvalidInput, which begins with `where`.
    """
    if isinstance(entry, str):
        return spec_of_text(entry)
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise InvalidInput(f"{where}: {entry!r}; expected one name with its value, such as {{zipf: 1.2}}")
    ((name, value),) = entry.items()
    options: dict[Any, Any] = dict(value) if isinstance(value, Mapping) else {"value": value}
    main = options.pop("value", None)
    for option, each in (("value", main), *options.items()):
        if (each is not None or option != "value") and (isinstance(each, bool) or not isinstance(each, _SCALARS)):
            raise InvalidInput(f"{where}: transform {name}: {option}: {each!r}; expected a number or a text")
    figure = _figure(main) if isinstance(main, str) else None if main is None else float(main)
    return _checked(TransformSpec(str(name), figure, {str(option): str(each) for option, each in options.items()}))


def specs_in_file(path: Path) -> list[TransformSpec]:
    """The transforms of a YAML file: a list of entries, or a mapping with such a list under `transforms`. Raises InvalidInput."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; expected a YAML file of transforms") from error
    if len(raw) > _MOST_BYTES:
        raise InvalidInput(f"{path}: {len(raw)} bytes; expected a YAML file of transforms, of at most {_MOST_BYTES}")
    try:
        document = _yaml(raw.decode(), str(path))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: byte {error.start} is not UTF-8; expected a YAML file of transforms") from error
    entries = document.get("transforms") if isinstance(document, Mapping) else document
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(f"{path}: no list of transforms; expected such as [{{zipf: 1.2}}, {{burst: 4}}], or one under `transforms`")
    return [spec_of_entry(entry, f"{path}: transform {number}") for number, entry in enumerate(entries, 1)]


def specs_of_entries(entries: Iterable[object], where: str) -> list[TransformSpec]:
    return [spec_of_entry(entry, where) for entry in entries]


def _checked(spec: TransformSpec) -> TransformSpec:
    transform_of(spec)
    return spec


def _figure(text: str) -> float | str:
    """A plain number as one, so that every way of writing it asks for the same."""
    try:
        return float(text) if re.fullmatch(r"[-+.\deE]+", text.strip()) else text.strip()
    except ValueError:
        return text.strip()


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{where}: {' '.join(str(error).split())}; expected YAML such as {{value: 0.1, period: 5s}}") from error
