"""COPY's options: names, defaults that depend on the format, and PostgreSQL's refusals."""

from dataclasses import dataclass
from typing import Any

from sqlnode.errors import SqlError
from sqlnode.session.guc_values import codec, parse_bool


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What COPY was told. Neither `csv` nor `binary` is the text format."""

    csv: bool = False
    binary: bool = False
    delimiter: str = "\t"
    null: str = "\\N"
    header: bool = False
    match_header: bool = False
    quote: str = '"'
    escape: str = '"'
    force_quote: frozenset[str] | None = frozenset()
    """Columns quoted always; None is all."""
    force_not_null: frozenset[str] = frozenset()
    force_null: frozenset[str] = frozenset()
    codec: str | None = None
    """Python codec of ENCODING; None is the client's."""


def copy_options(elements: Any, *, is_from: bool) -> CopyOptions:
    """The options of a CopyStmt. Raises SqlError 42601, 22023, 0A000."""
    given: dict[str, Any] = {}
    for element in elements:
        option = element.def_elem
        if option.defname in given:
            raise SqlError("42601", "conflicting or redundant options")
        given[option.defname] = option.arg
    unknown = given.keys() - _KNOWN
    if unknown:
        raise SqlError("42601", f'option "{min(unknown)}" not recognized')
    name = _text(given.get("format"), "text")
    if name == "binary":
        return _binary(given)
    if name not in ("text", "csv"):
        raise SqlError("22023", f'COPY format "{name}" not recognized')
    csv = name == "csv"
    header = _text(given.get("header"), "true") if "header" in given else "false"
    match = header.lower() == "match"
    quote = _text(given.get("quote"), '"')
    options = CopyOptions(
        csv=csv,
        delimiter=_text(given.get("delimiter"), "," if csv else "\t"),
        null=_text(given.get("null"), "" if csv else "\\N"),
        header=match or parse_bool("header", header),
        match_header=match,
        quote=quote,
        escape=_text(given.get("escape"), quote),
        force_quote=_names(given.get("force_quote")),
        force_not_null=_names(given.get("force_not_null")) or frozenset(),
        force_null=_names(given.get("force_null")) or frozenset(),
        codec=_codec(given.get("encoding")),
    )
    _check(options, given, is_from=is_from)
    return options


def _binary(given: dict[str, Any]) -> CopyOptions:
    for option in ("delimiter", "null"):
        if option in given:
            raise SqlError("42601", f"cannot specify {option.upper()} in BINARY mode")
    if "header" in given and parse_bool("header", _text(given["header"], "true")):
        raise SqlError("0A000", "cannot specify HEADER in BINARY mode")
    for option in ("quote", "escape", "force_quote", "force_not_null", "force_null"):
        if option in given:
            shown = option.replace("_", " ")
            raise SqlError("0A000", f"COPY {shown} available only in CSV mode")
    return CopyOptions(binary=True)


_KNOWN = frozenset(
    {
        "format",
        "freeze",
        "delimiter",
        "null",
        "header",
        "quote",
        "escape",
        "force_quote",
        "force_not_null",
        "force_null",
        "encoding",
    }
)


def _text(arg: Any, default: str) -> str:
    match None if arg is None else arg.WhichOneof("node"):
        case "string":
            return str(arg.string.sval)
        case "boolean":
            return "true" if arg.boolean.boolval else "false"
        case "integer":
            return str(arg.integer.ival)
        case "float":
            return str(arg.float.fval)
        case _:
            return default


def _names(arg: Any) -> frozenset[str] | None:
    if arg is None:
        return frozenset()
    if arg.WhichOneof("node") == "a_star":
        return None
    return frozenset(item.string.sval for item in arg.list.items)


def _codec(arg: Any) -> str | None:
    if arg is None:
        return None
    name = _text(arg, "").upper().replace("-", "")
    try:
        return codec({"UTF8": "UTF8"}.get(name, name))
    except KeyError:
        raise SqlError(
            "22023", f'argument to option "encoding" must be a valid encoding name: {name}'
        ) from None


def _check(options: CopyOptions, given: dict[str, Any], *, is_from: bool) -> None:
    delimiter = options.delimiter
    for name in ("delimiter", "quote", "escape"):
        if len(getattr(options, name).encode()) != 1:
            raise SqlError("0A000", f"COPY {name} must be a single one-byte character")
    if delimiter in "\r\n":
        raise SqlError("22023", "COPY delimiter cannot be newline or carriage return")
    if "\r" in options.null or "\n" in options.null:
        raise SqlError("22023", "COPY null representation cannot use newline or carriage return")
    if options.csv:
        if delimiter == options.quote:
            raise SqlError("22023", "COPY delimiter and quote must be different")
    else:
        _check_text(options, given)
    if delimiter in options.null:
        raise SqlError("22023", "COPY delimiter must not appear in the NULL specification")
    if options.match_header and not is_from:
        raise SqlError("22023", 'cannot use "match" with HEADER in COPY TO')


def _check_text(options: CopyOptions, given: dict[str, Any]) -> None:
    for name in ("quote", "escape", "force_quote", "force_not_null", "force_null"):
        if name in given:
            shown = name.replace("_", " ")
            raise SqlError("0A000", f"COPY {shown} available only in CSV mode")
    if options.delimiter in "\\.abcdefghijklmnopqrstuvwxyz0123456789":
        raise SqlError("22023", f'COPY delimiter cannot be "{options.delimiter}"')
