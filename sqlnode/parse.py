"""The parser's front: text to libpg_query's messages, one per statement.

The grammar is PostgreSQL's own, compiled to C. Three things need care at this border:

- **Positions.** Clients count characters. A syntax error's position is one already; locations
  inside messages are byte offsets into the whole text, which `character_position` turns into what
  a client is told.
- **Depth.** A chain such as `1+1+1+…` nests once per operator. libpg_query and the decoder recurse
  on the C stack without a check (and libpg_query takes time quadratic in the depth), so how deep a
  long text could nest is bounded from its tokens before they see it. What passes is bounded a
  second time by analysis, far lower.
- **Messages.** Errors are PostgreSQL's, word for word; only their SQLSTATE has to be added back.
"""

import importlib
import re
from dataclasses import dataclass
from typing import Any

import postgast
from google.protobuf.message import DecodeError

from sqlnode.errors import SqlError

UNCHECKED_TEXT_CHARS_MAX = 4 << 10
"""A text up to this long can't nest deep enough to overflow the stack."""
TOKENS_WITHOUT_COMMA_MAX = 16_000
"""A level of nesting takes two tokens, and 10,000 levels fit the stack."""

TOKENS = re.compile(
    r"""(?P<opaque>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'
    |"[^"]*"|--[^\n]*|/\*.*?\*/|\s+)|(?P<open>[(\[])|(?P<close>[)\]])|(?P<comma>[,;])
    |\w+|.""",
    re.DOTALL | re.VERBOSE,
)
"""What a text falls into, white space and comments included, when nobody must understand it."""

_SQLSTATES = (
    ("invalid byte sequence for encoding", "22021"),
    ("invalid Unicode escape", "42601"),
    ("memory exhausted", "42601"),
    ("unsafe use of", "22P06"),
    ("invalid escape string", "22025"),
)


def _allow_deep_messages() -> None:
    """Lift protobuf's limit of 100 nested messages, which 45 chained operators reach."""
    try:
        decoder: Any = importlib.import_module("google._upb._message")
    except ImportError:
        return  # another decoder: its limit makes such statements fail with 54001
    decoder.SetAllowOversizeProtos(True)


_allow_deep_messages()


@dataclass(frozen=True, slots=True)
class RawStatement:
    """One parsed statement.

    `node` is libpg_query's message (such as SelectStmt), `kind` its name in the grammar's union
    (`select_stmt`). `text` is the statement's own slice of `source`, from character `location` on.
    Locations inside `node` are byte offsets into `source`.
    """

    node: Any
    kind: str
    text: str
    location: int
    source: str


def parse(text: str) -> list[RawStatement]:
    """The statements of `text`, none if it is empty or only comments.

    Raises SqlError 42601 with PostgreSQL's message and position, 54001 where it nests too deep.
    """
    _refuse_later_numbers(text)
    statements = []
    encoded: bytes | None = None if text.isascii() else text.encode()
    for raw in _parse_tree(text).stmts:
        kind = raw.stmt.WhichOneof("node")
        start = raw.stmt_location
        end = start + raw.stmt_len if raw.stmt_len else None
        if encoded is None:
            piece = text[start:end]
        else:
            piece = encoded[start:end].decode()
            start = len(encoded[:start].decode())
        stripped = piece.lstrip()
        start += len(piece) - len(stripped)
        statements.append(
            RawStatement(getattr(raw.stmt, kind), kind, stripped.rstrip(), start, text)
        )
    return statements


_LATER_NUMBER = re.compile(r"(?<!\w)(?:0[xXoObB]\w|\d+_\w)")


def _refuse_later_numbers(text: str) -> None:
    """Raise SqlError 42601 for 0x1F and 1_000, which only the grammar's later version knows."""
    if _LATER_NUMBER.search(text) is None:
        return
    for match in TOKENS.finditer(text):
        token = match[0]
        if match["opaque"] is None and token[0].isdigit() and _LATER_NUMBER.search(token):
            message = f'trailing junk after numeric literal at or near "{token}"'
            raise SqlError("42601", message, position=match.start())


def character_position(source: str, byte_offset: int) -> int:
    """The character offset of a byte offset into `source`."""
    if source.isascii():
        return byte_offset
    return len(source.encode()[:byte_offset].decode(errors="ignore"))


def longest_chain(text: str) -> int:
    """An upper bound for how many tokens of `text` can hang on one another.

    Elements of a list do not: a comma starts anew. What stood in parentheses counts once more in
    the chain that the parentheses are part of.
    """
    stack: list[tuple[int, int]] = []
    current = longest = 0
    for match in TOKENS.finditer(text):
        kind = match.lastgroup
        if kind is None:
            current += 1
        elif kind == "comma":
            longest = max(longest, current)
            current = 0
        elif kind == "open":
            stack.append((current + 1, longest))
            current = longest = 0
        elif kind == "close" and stack:
            inner = max(longest, current)
            current, longest = stack.pop()
            current += inner
    return max(current, longest, *(sum(level) for level in stack), 0)


def _parse_tree(text: str) -> Any:
    long = len(text) > UNCHECKED_TEXT_CHARS_MAX
    if long and longest_chain(text) > TOKENS_WITHOUT_COMMA_MAX:
        raise too_deep()
    if "\0" in text:
        raise SqlError("22021", 'invalid byte sequence for encoding "UTF8": 0x00')
    try:
        return postgast.parse(text)
    except postgast.PgQueryError as error:
        raise _as_sql_error(error) from error
    except DecodeError as error:
        raise too_deep() from error


def too_deep() -> SqlError:
    """54001, where PostgreSQL would run out of stack."""
    return SqlError(
        "54001",
        "stack depth limit exceeded",
        hint="Simplify the statement: its expressions are nested too deep.",
    )


def _as_sql_error(error: postgast.PgQueryError) -> SqlError:
    message = error.message
    sqlstate = next((s for start, s in _SQLSTATES if message.startswith(start)), "42601")
    position = error.cursorpos - 1 if error.cursorpos > 0 else None
    return SqlError(sqlstate, message, position=position)
