"""Role settings: small frozen dataclasses, written and read as JSON files.

A role takes one settings object; the supervisor (or the Helm chart) writes it. Unknown names and
wrong types are refused, for a misspelt setting that is silently ignored is worse than no start.
"""

import dataclasses
import json
import types
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class ConfigError(ValueError):
    """A settings file that cannot be taken; the message names the file and the field."""


def load(kind: type[T], path: Path) -> T:
    """Read a `kind` (a dataclass) from the JSON file at `path`.

    Raises ConfigError where the file is not readable, not an object, or does not fit `kind`.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        return from_json(kind, document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def dump(settings: Any, path: Path) -> None:
    """Write a settings dataclass to `path` (mode 0600, atomically)."""
    text = json.dumps(dataclasses.asdict(settings), indent=2, default=str) + "\n"
    temporary = path.with_suffix(path.suffix + ".new")
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def from_json(kind: type[T], document: Any) -> T:
    """Build the dataclass `kind` from a decoded JSON object; raises ConfigError."""
    if not isinstance(document, dict):
        raise ConfigError(f"{kind.__name__}: expected an object")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in document:
        if name not in fields:
            raise ConfigError(f"{kind.__name__}: unknown setting {name!r}")
    values = {name: _convert(hints[name], value, name) for name, value in document.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{kind.__name__}: {error}") from None


def _convert(kind: Any, value: Any, name: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = [option for option in get_args(kind) if option is not type(None)]
        return None if value is None else _convert(inner[0], value, name)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return from_json(kind, value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if origin in (list, tuple) and isinstance(value, list):
        item = get_args(kind)[0]
        return origin(_convert(item, each, name) for each in value)
    if origin is dict and isinstance(value, dict):
        item = get_args(kind)[1]
        return {key: _convert(item, each, f"{name}.{key}") for key, each in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ConfigError(f"{name}: expected {getattr(kind, '__name__', kind)}, got {value!r}")
