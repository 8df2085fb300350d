"""PostgreSQL's advanced regular expressions on the `regex` package, within a time limit.

The two dialects are close; what differs is translated: `\\m \\M \\y \\Y \\b \\B`, `[[:alpha:]]`,
`[[:<:]]`, `{` before anything but a digit, embedded options `(?i)…`, `***=`. What only the package
knows (possessive quantifiers, named groups, fuzzy matching) is refused as PostgreSQL would.

Where a pattern has alternatives PostgreSQL finds the longest match, not the first alternative that
fits; the package's POSIX mode does the same. Patterns with lazy quantifiers stay without it.

The package tries ways to match one after the other, and for some patterns there are exponentially
many. A pod serves all its sessions on one thread, so a search that takes too long is ended: 54001.
Compiled patterns are kept in a bounded cache.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NoReturn, Protocol

import regex  # type: ignore[import-untyped]

from sqlnode import sqlstate
from sqlnode.errors import SqlError

SEARCH_SECONDS_MAX = 1.0
"""For one value; a sensible pattern takes microseconds."""
_PATTERNS_MAX = 1024
_REPEAT_MAX = 255

_LETTERS = "A-Za-z\u00aa-\u02af\u0370-\u1fff"
_CLASSES = {
    "alpha": _LETTERS, "digit": r"\d", "alnum": "0-9" + _LETTERS, "space": r"\s", "upper": "A-Z",
    "lower": "a-z", "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f", "graph": "!-~", "print": " -~", "word": r"\w",
}  # fmt: skip
_WORD_STARTS, _WORD_ENDS = r"\b(?=\w)", r"\b(?<=\w)"
_ESCAPES = {
    "m": _WORD_STARTS, "M": _WORD_ENDS, "y": r"\b", "Y": r"\B", "A": r"\A", "Z": r"\Z",
    "a": r"\x07", "b": r"\x08", "B": r"\\", "e": r"\x1b", "f": r"\f", "n": r"\n", "r": r"\r",
    "t": r"\t", "v": r"\v", "d": r"\d", "D": r"\D", "s": r"\s", "S": r"\S", "w": r"\w", "W": r"\W",
}  # fmt: skip
_IN_BRACKETS = frozenset("abBefnrtvdsw")
_HEX = {"x": 255, "u": 4, "U": 8}
_DIRECTORY = {"<": _WORD_STARTS, ">": _WORD_ENDS}
_GROUPS = ("?:", "?=", "?!", "?<=", "?<!", "?#")


class Match(Protocol):
    """A match; what is used of one."""

    @property
    def re(self) -> Any:
        """The package's pattern."""

    def __getitem__(self, group: int) -> Any: ...

    def groups(self) -> tuple[str | None, ...]:
        """All groups, None for those that took no part."""

    def start(self) -> int:
        """Where it begins."""

    def end(self) -> int:
        """Where it ends."""


class Pattern:
    """A compiled pattern; its searches raise SqlError 54001 where they take too long."""

    __slots__ = ("_first", "_longest")

    def __init__(self, first: Any, longest: Any) -> None:
        self._first = first
        self._longest = longest

    def matches(self, text: str) -> bool:
        """Whether it matches anywhere."""
        try:
            return self._first.search(text, timeout=SEARCH_SECONDS_MAX) is not None
        except TimeoutError:
            _too_long()

    def search(self, text: str, at: int = 0) -> Match | None:
        """The first match from a position on."""
        try:
            found: Match | None = self._longest.search(text, at, timeout=SEARCH_SECONDS_MAX)
        except TimeoutError:
            _too_long()
        return found

    def finditer(self, text: str, at: int = 0) -> Iterator[Match]:
        """All matches from a position on."""
        try:
            yield from self._longest.finditer(text, at, timeout=SEARCH_SECONDS_MAX)
        except TimeoutError:
            _too_long()

    def sub(self, replacement: Callable[[Match], str], text: str, *, count: int) -> str:
        """The text with `count` matches (0: all) replaced."""
        try:
            replaced = self._longest.sub(replacement, text, count, timeout=SEARCH_SECONDS_MAX)
        except TimeoutError:
            _too_long()
        return str(replaced)


def _too_long() -> NoReturn:
    raise SqlError(
        sqlstate.STATEMENT_TOO_COMPLEX,
        "regular expression failed: it takes too long on this text",
        hint="Let no part of the pattern that repeats contain another part that repeats.",
    ) from None


def _invalid(message: str) -> SqlError:
    return SqlError(sqlstate.INVALID_REGULAR_EXPRESSION, f"invalid regular expression: {message}")


@lru_cache(maxsize=_PATTERNS_MAX)
def compile_regex(pattern: str, options: str = "") -> Pattern:
    """What `pattern` means in PostgreSQL with those option letters; 2201B, 22023."""
    flags = regex.DOTALL | regex.V0
    if pattern.startswith("***="):
        plain = regex.compile(regex.escape(pattern[4:]), flags)
        return Pattern(plain, plain)
    pattern = pattern.removeprefix("***:")
    embedded = regex.match(r"\(\?([a-z]+)\)", pattern)
    if embedded is not None:
        options += embedded[1]
        pattern = pattern[embedded.end() :]
    for option in options:
        if option == "q":
            pattern = regex.escape(pattern)
        else:
            flags = _with_option(flags, option)
    source = _Translation(pattern, at_line_ends=bool(flags & regex.MULTILINE))
    text = source.text()
    try:
        first = longest = regex.compile(text, flags)
        if source.has_alternatives and not source.has_lazy:
            longest = regex.compile(text, flags | regex.POSIX)
    except (regex.error, OverflowError, RecursionError) as error:
        raise _invalid(_message(str(error))) from None
    return Pattern(first, longest)


def _with_option(flags: int, option: str) -> int:
    if option == "x":
        return int(flags | regex.VERBOSE)
    if option in {"n", "m"}:
        return int((flags | regex.MULTILINE) & ~regex.DOTALL)
    if option == "p":
        return int(flags & ~regex.DOTALL)
    if option == "w":
        return int(flags | regex.MULTILINE)
    if option == "i":
        return int(flags | regex.IGNORECASE)
    if option == "c":
        return int(flags & ~regex.IGNORECASE)
    if option not in {"s", "e", "t"}:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE, f'invalid regular expression option: "{option}"'
        )
    return flags


def _message(theirs: str) -> str:
    if "parenthes" in theirs or "missing )" in theirs or "unterminated" in theirs:
        return "parentheses () not balanced"
    if "character set" in theirs or "missing ]" in theirs:
        return "brackets [] not balanced"
    if "range" in theirs:
        return "invalid character range"
    if "group" in theirs:
        return "invalid backreference number"
    if "repeat" in theirs:
        return "quantifier operand invalid"
    return theirs


class _Translation:
    """One pattern on its way from PostgreSQL's dialect to the package's."""

    def __init__(self, pattern: str, *, at_line_ends: bool) -> None:
        self._pattern = pattern
        self._at = 0
        # A bare `$` also matches before a last newline, which PostgreSQL's does not.
        self._end = "$" if at_line_ends else r"\Z"
        self._quantified = False
        self.has_alternatives = False
        self.has_lazy = False

    def text(self) -> str:
        """The pattern in the package's dialect. Raises SqlError 2201B."""
        out: list[str] = []
        while self._at < len(self._pattern):
            quantifier = self._quantifier()
            if quantifier:
                if self._quantified or not out:
                    raise _invalid("quantifier operand invalid")
                out.append(quantifier)
            else:
                out.append(self._atom())
            self._quantified = bool(quantifier)
        return "".join(out)

    def _quantifier(self) -> str:
        """The quantifier that stands here, if one does."""
        character = self._pattern[self._at]
        if character in "*+?":
            self._at += 1
            return character + self._lazy()
        if character != "{" or not self._pattern[self._at + 1 : self._at + 2].isdigit():
            return ""
        close = self._pattern.find("}", self._at)
        if close < 0:
            raise _invalid("braces {} not balanced")
        bounds = self._pattern[self._at + 1 : close]
        low, comma, high = bounds.partition(",")
        if not low.isdigit() or not (high == "" or high.isdigit()):
            raise _invalid("invalid repetition count(s)")
        most = int(high or low)
        if int(low) > most or most > _REPEAT_MAX:
            raise _invalid("invalid repetition count(s)")
        self._at = close + 1
        return f"{{{low}{comma}{high}}}" + self._lazy()

    def _lazy(self) -> str:
        if self._pattern[self._at : self._at + 1] != "?":
            return ""
        self._at += 1
        self.has_lazy = True
        return "?"

    def _atom(self) -> str:
        pattern, at = self._pattern, self._at
        character = pattern[at]
        if character == "\\":
            return self._escape(_ESCAPES)
        if character == "[":
            return self._bracket()
        self._at += 1
        if character == "(" and pattern[at + 1 : at + 2] == "?":
            return self._group()
        if character == "|":
            self.has_alternatives = True
        if character == "$":
            return self._end
        return "\\{" if character == "{" else character

    def _group(self) -> str:
        for mark in _GROUPS:
            if self._pattern.startswith(mark, self._at):
                self._at += len(mark)
                return "(" + mark
        option = self._pattern[self._at + 1 : self._at + 2].isalpha()
        raise _invalid("invalid embedded option" if option else "quantifier operand invalid")

    def _escape(self, known: dict[str, str]) -> str:
        pattern = self._pattern
        letter = pattern[self._at + 1 : self._at + 2]
        self._at += 2
        if letter in _HEX:
            return self._code_point(_HEX[letter])
        if letter == "c" and self._at < len(pattern):
            self._at += 1
            return f"\\x{ord(pattern[self._at - 1]) & 31:02x}"
        if not letter or (letter.isascii() and letter.isalpha() and letter not in known):
            raise _invalid("invalid escape \\ sequence")
        return known.get(letter) or ("\\x00" if letter == "0" else "\\" + letter)

    def _code_point(self, digits_max: int) -> str:
        end = self._at
        while end < len(self._pattern) and end - self._at < digits_max:
            if self._pattern[end] not in "0123456789abcdefABCDEF":
                break
            end += 1
        digits = self._pattern[self._at : end]
        if not digits or (digits_max < _REPEAT_MAX and len(digits) < digits_max):
            raise _invalid("invalid escape \\ sequence")
        self._at = end
        return f"\\U{int(digits, 16) & 0x1FFFFF:08x}"

    def _bracket(self) -> str:
        for mark, meaning in _DIRECTORY.items():
            if self._pattern.startswith(f"[[:{mark}:]]", self._at):
                self._at += 7
                return meaning
        pattern = self._pattern
        out = ["["]
        self._at += 1
        if pattern[self._at : self._at + 1] == "^":
            out.append("^")
            self._at += 1
        first = self._at
        while self._at < len(pattern) and (pattern[self._at] != "]" or self._at == first):
            out.append(self._member())
        if self._at >= len(pattern):
            raise _invalid("brackets [] not balanced")
        self._at += 1
        return "".join(out) + "]"

    def _member(self) -> str:
        pattern, at = self._pattern, self._at
        named = _NAMED.match(pattern, at)
        if named is not None:
            self._at = named.end()
            meaning = _CLASSES.get(named[1])
            if meaning is None:
                raise _invalid("invalid character class")
            return meaning
        collating = _COLLATING.match(pattern, at)
        if collating is not None:
            self._at = collating.end()
            character = str(collating[2])
            return character if character.isalnum() else "\\" + character
        if pattern.startswith(("[=", "[."), at):
            raise _invalid("invalid collating element")
        if pattern[at] == "\\":
            inside = {letter: _ESCAPES[letter] for letter in _IN_BRACKETS}
            return self._escape(inside)
        self._at += 1
        return "\\" + pattern[at] if pattern[at] in "[&~|]" else pattern[at]


_NAMED = regex.compile(r"\[:(\w+):\]")
_COLLATING = regex.compile(r"\[([.=])(.)\1\]", regex.DOTALL)
