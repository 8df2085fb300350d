"""LIKE, ILIKE, SIMILAR TO and POSIX regular expressions, on Python's `re`.

PostgreSQL's advanced regular expressions and Python's are close; what differs is translated:
`\\m \\M \\y \\Y \\A \\Z`, `[[:alpha:]]`, `[[:<:]]`, `*+`-less quantifiers, embedded options
`(?i)…`, `***=`. Python takes the first alternative that matches where PostgreSQL takes the longest.
Compiled patterns are kept in a bounded cache.
"""

import re
from functools import lru_cache

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.family import Family
from sqlnode.types.array import Array

FAMILY = Family()
_PATTERNS_MAX = 1024


@lru_cache(maxsize=_PATTERNS_MAX)
def _like(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    out = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
            if at == len(pattern):
                raise SqlError(
                    sqlstate.INVALID_ESCAPE_SEQUENCE,
                    "LIKE pattern must not end with escape character",
                )
            out.append(re.escape(pattern[at]))
        elif character == "%":
            out.append(".*")
        elif character == "_":
            out.append(".")
        else:
            out.append(re.escape(character))
        at += 1
    return re.compile("".join(out), re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def like(text: str, pattern: str) -> bool:
    """text LIKE pattern."""
    return _like(pattern, False).fullmatch(text) is not None


def ilike(text: str, pattern: str) -> bool:
    """text ILIKE pattern."""
    return _like(pattern, True).fullmatch(text) is not None


def like_bytes(value: bytes, pattern: bytes) -> bool:
    """bytea LIKE bytea, byte by byte."""
    return like(value.decode("latin-1"), pattern.decode("latin-1"))


@FAMILY.function("like_escape")
def like_escape(pattern: str, escape: str) -> str:
    """The pattern rewritten for the default escape character; 22025."""
    if len(escape) > 1:
        raise SqlError(
            sqlstate.INVALID_ESCAPE_SEQUENCE,
            "invalid escape string",
            hint="Escape string must be empty or one character.",
        )
    if escape == "\\":
        return pattern
    out = []
    after_escape = False
    for character in pattern:
        if character == escape and not after_escape:
            out.append("\\")
            after_escape = True
            continue
        out.append("\\\\" if character == "\\" and not after_escape else character)
        after_escape = False
    return "".join(out)


# --- regular expressions -----------------------------------------------------------------------

_LETTERS = "A-Za-z\u00aa-\u02af\u0370-\u1fff"
_CLASSES = {
    "alpha": _LETTERS, "digit": r"\d", "alnum": "0-9" + _LETTERS, "space": r"\s", "upper": "A-Z",
    "lower": "a-z", "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f", "graph": "!-~", "print": " -~", "word": r"\w",
}  # fmt: skip
_ESCAPES = {"m": r"\b(?=\w)", "M": r"\b(?<=\w)", "y": r"\b", "Y": r"\B", "A": r"\A", "Z": r"\Z"}
_OPTIONS = {"i": re.IGNORECASE, "c": 0, "n": re.MULTILINE, "m": re.MULTILINE, "s": 0, "e": 0}
_DIRECTORY = {"<": r"\b(?=\w)", ">": r"\b(?<=\w)"}


def _invalid(message: str) -> SqlError:
    return SqlError(sqlstate.INVALID_REGULAR_EXPRESSION, f"invalid regular expression: {message}")


@lru_cache(maxsize=_PATTERNS_MAX)
def compile_regex(pattern: str, options: str = "") -> re.Pattern[str]:
    """The Python pattern that means what `pattern` means in PostgreSQL; 2201B."""
    flags = re.DOTALL
    if pattern.startswith("***="):
        return re.compile(re.escape(pattern[4:]), flags)
    pattern = pattern.removeprefix("***:")
    embedded = re.match(r"\(\?([a-z]+)\)", pattern)
    if embedded is not None:
        options += embedded[1]
        pattern = pattern[embedded.end() :]
    for option in options:
        if option == "q":
            pattern = re.escape(pattern)
        elif option == "x":
            flags |= re.VERBOSE
        elif option in {"n", "m", "p", "w"}:
            flags = (flags | re.MULTILINE) & ~re.DOTALL
        elif option == "i":
            flags |= re.IGNORECASE
        elif option == "c":
            flags &= ~re.IGNORECASE
        elif option not in _OPTIONS and option != "t":
            raise SqlError(
                sqlstate.INVALID_PARAMETER_VALUE, f'invalid regular expression option: "{option}"'
            )
    try:
        return re.compile(_translated(pattern, at_line_ends=bool(flags & re.MULTILINE)), flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise _invalid(_message(str(error))) from None


def _message(python: str) -> str:
    if "parenthes" in python or "missing )" in python or "unterminated subpattern" in python:
        return "parentheses () not balanced"
    if "character set" in python:
        return "brackets [] not balanced"
    if "repeat" in python:
        return "quantifier operand invalid"
    if "escape" in python:
        return "invalid escape \\ sequence"
    return python


def _translated(pattern: str, *, at_line_ends: bool) -> str:
    # A bare `$` of Python also matches before a last newline, which PostgreSQL's does not.
    end = "$" if at_line_ends else r"\Z"
    out: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and at + 1 < len(pattern):
            following = pattern[at + 1]
            out.append(_ESCAPES.get(following, "\\" + following))
            at += 2
        elif character == "[":
            text, at = _bracket(pattern, at)
            out.append(text)
        else:
            out.append(end if character == "$" else character)
            at += 1
    return "".join(out)


def _bracket(pattern: str, start: int) -> tuple[str, int]:
    for mark, meaning in _DIRECTORY.items():
        if pattern.startswith(f"[[:{mark}:]]", start):
            return meaning, start + 7
    at = start + 1
    out = ["["]
    if pattern[at : at + 1] == "^":
        out.append("^")
        at += 1
    first = True
    while at < len(pattern) and (pattern[at] != "]" or first):
        first = False
        named = re.compile(r"\[:(\w+):\]").match(pattern, at)
        if named is not None:
            out.append(_class(named[1]))
            at = named.end()
        elif pattern[at] == "\\" and at + 1 < len(pattern):
            out.append(pattern[at : at + 2])
            at += 2
        else:
            out.append("\\" + pattern[at] if pattern[at] in "[&~|]" else pattern[at])
            at += 1
    if at >= len(pattern):
        raise _invalid("brackets [] not balanced")
    return "".join(out) + "]", at + 1


def _class(name: str) -> str:
    meaning = _CLASSES.get(name)
    if meaning is None:
        raise _invalid("invalid character class")
    return meaning


def regex_matches(text: str, pattern: str) -> bool:
    """text ~ pattern."""
    return compile_regex(pattern).search(text) is not None


def regex_matches_any_case(text: str, pattern: str) -> bool:
    """text ~* pattern."""
    return compile_regex(pattern, "i").search(text) is not None


FAMILY.inlines(
    {
        "like": like,
        "ilike": ilike,
        "like_bytes": like_bytes,
        "regex_matches": regex_matches,
        "regex_matches_any_case": regex_matches_any_case,
    },
    {
        "textlike": "like({0}, {1})",
        "textnlike": "(not like({0}, {1}))",
        "namelike": "like({0}, {1})",
        "namenlike": "(not like({0}, {1}))",
        "texticlike": "ilike({0}, {1})",
        "texticnlike": "(not ilike({0}, {1}))",
        "nameiclike": "ilike({0}, {1})",
        "nameicnlike": "(not ilike({0}, {1}))",
        "bytealike": "like_bytes({0}, {1})",
        "byteanlike": "(not like_bytes({0}, {1}))",
        "textregexeq": "regex_matches({0}, {1})",
        "textregexne": "(not regex_matches({0}, {1}))",
        "nameregexeq": "regex_matches({0}, {1})",
        "nameregexne": "(not regex_matches({0}, {1}))",
        "texticregexeq": "regex_matches_any_case({0}, {1})",
        "texticregexne": "(not regex_matches_any_case({0}, {1}))",
        "nameicregexeq": "regex_matches_any_case({0}, {1})",
        "nameicregexne": "(not regex_matches_any_case({0}, {1}))",
    },
)


@FAMILY.function("similar_to_escape_1")
def similar_default(pattern: str) -> str:
    """A SIMILAR TO pattern as a regular expression."""
    return similar_to_escape(pattern, "\\")


@FAMILY.function("similar_to_escape_2", "similar_escape")
def similar_to_escape(pattern: str, escape: str | None) -> str:
    """A SIMILAR TO pattern with its escape character as a regular expression; 22025."""
    escape = "\\" if escape is None else escape
    if len(escape) > 1:
        raise SqlError(
            sqlstate.INVALID_ESCAPE_SEQUENCE,
            "invalid escape string",
            hint="Escape string must be empty or one character.",
        )
    out = ["^(?:"]
    at = 0
    in_bracket = False
    while at < len(pattern):
        character = pattern[at]
        if character == escape:
            at += 1
            if at < len(pattern):
                out.append("\\" + pattern[at])
        elif in_bracket:
            out.append("\\\\" if character == "\\" else character)
            in_bracket = character != "]"
        elif character == "[":
            out.append("[")
            in_bracket = True
        elif character == "%":
            out.append(".*")
        elif character == "_":
            out.append(".")
        elif character == "(":
            out.append("(?:")
        elif character in "\\.^$":
            out.append("\\" + character)
        else:
            out.append(character)
        at += 1
    return "".join(out) + ")$"


# --- regexp functions --------------------------------------------------------------------------


@FAMILY.function("textregexsubstr")
def regex_substring(text: str, pattern: str) -> str | None:
    """substring(text FROM pattern): the first group, or the whole match without groups."""
    found = compile_regex(pattern).search(text)
    if found is None:
        return None
    return found[1] if found.re.groups else found[0]


def _replacement(found: re.Match[str], template: str) -> str:
    out = []
    at = 0
    while at < len(template):
        character = template[at]
        if character == "\\" and at + 1 < len(template):
            following = template[at + 1]
            at += 2
            if following == "&":
                out.append(found[0])
            elif following.isdigit() and following != "0":
                group = int(following)
                out.append((found[group] or "") if group <= found.re.groups else "")
            elif following == "\\":
                out.append("\\")
            else:
                out.append("\\" + following)
            continue
        out.append(character)
        at += 1
    return "".join(out)


@FAMILY.function("textregexreplace_noopt")
def regex_replace_first(text: str, pattern: str, template: str) -> str:
    """regexp_replace(text, pattern, replacement)."""
    return regex_replace(text, pattern, template, "")


@FAMILY.function("textregexreplace")
def regex_replace(text: str, pattern: str, template: str, options: str) -> str:
    """regexp_replace(); `g` replaces every match."""
    compiled = compile_regex(pattern, options.replace("g", ""))
    every = "g" in options
    return compiled.sub(lambda found: _replacement(found, template), text, count=0 if every else 1)


def _groups(found: re.Match[str]) -> Array:
    return Array.of(found.groups() if found.re.groups else (found[0],))


@FAMILY.function("regexp_match_no_flags")
def regexp_match(text: str, pattern: str) -> Array | None:
    """regexp_match(text, pattern)."""
    return regexp_match_options(text, pattern, "")


@FAMILY.function("regexp_match")
def regexp_match_options(text: str, pattern: str, options: str) -> Array | None:
    """regexp_match(text, pattern, flags); 22023 for g."""
    if "g" in options:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE,
            'regexp_match() does not support the "global" option',
            hint="Use the regexp_matches function instead.",
        )
    found = compile_regex(pattern, options).search(text)
    return None if found is None else _groups(found)


@FAMILY.function("regexp_matches_no_flags")
def regexp_matches(text: str, pattern: str) -> list[Array]:
    """regexp_matches(text, pattern)."""
    return regexp_matches_options(text, pattern, "")


@FAMILY.function("regexp_matches")
def regexp_matches_options(text: str, pattern: str, options: str) -> list[Array]:
    """regexp_matches(text, pattern, flags): the first match, or with `g` every one."""
    compiled = compile_regex(pattern, options.replace("g", ""))
    if "g" in options:
        return [_groups(found) for found in compiled.finditer(text)]
    found = compiled.search(text)
    return [] if found is None else [_groups(found)]


@FAMILY.function("regexp_split_to_array_no_flags")
def regexp_split(text: str, pattern: str) -> Array:
    """regexp_split_to_array(text, pattern)."""
    return Array.of(_split(text, pattern, ""))


@FAMILY.function("regexp_split_to_array")
def regexp_split_options(text: str, pattern: str, options: str) -> Array:
    """regexp_split_to_array(text, pattern, flags)."""
    return Array.of(_split(text, pattern, options))


def _split(text: str, pattern: str, options: str = "") -> list[str]:
    out = []
    at = 0
    for found in compile_regex(pattern, options).finditer(text):
        if found.end() == found.start() and found.start() in {0, len(text)}:
            continue
        if found.end() == found.start() == at:
            continue
        out.append(text[at : found.start()])
        at = found.end()
    return [*out, text[at:]]


FAMILY.call(_split, "regexp_split_to_table_no_flags", "regexp_split_to_table")


@FAMILY.function("regexp_count_no_start", "regexp_count_no_flags", "regexp_count")
def regexp_count(text: str, pattern: str, start: int = 1, options: str = "") -> int:
    """regexp_count(text, pattern [, start [, flags]])."""
    if start < 1:
        raise SqlError(
            sqlstate.INVALID_PARAMETER_VALUE, f'invalid value for parameter "start": {start}'
        )
    compiled = compile_regex(pattern, options)
    if start > len(text) + 1:
        return 0
    return sum(1 for _ in compiled.finditer(text, start - 1))


@FAMILY.function("regexp_like_no_flags", "regexp_like")
def regexp_like(text: str, pattern: str, options: str = "") -> bool:
    """regexp_like(text, pattern [, flags])."""
    return compile_regex(pattern, options).search(text) is not None
