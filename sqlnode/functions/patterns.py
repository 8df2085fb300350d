"""LIKE, ILIKE, SIMILAR TO and the functions of regular expressions.

LIKE needs no search for another way: what stands between two `%` may as well be found where it
comes first, so every piece but the last is an atomic group, and a pattern takes time in proportion
to the text.
"""

import re
from functools import lru_cache

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.functions.family import Family
from sqlnode.functions.regexes import Match, compile_regex
from sqlnode.types.array import Array

FAMILY = Family()
_PATTERNS_MAX = 1024


@lru_cache(maxsize=_PATTERNS_MAX)
def _like(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    pieces = [""]
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "%":
            pieces.append("")
        elif character == "_":
            pieces[-1] += "."
        elif character != "\\":
            pieces[-1] += re.escape(character)
        elif at == len(pattern):
            raise SqlError(
                sqlstate.INVALID_ESCAPE_SEQUENCE, "LIKE pattern must not end with escape character"
            )
        else:
            pieces[-1] += re.escape(pattern[at])
            at += 1
    first, *middle = pieces
    if middle:
        last = middle.pop()
        first += "".join(f"(?>.*?{piece})" for piece in middle if piece) + ".*" + last
    return re.compile(first, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


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


def regex_matches(text: str, pattern: str) -> bool:
    """text ~ pattern."""
    return compile_regex(pattern).matches(text)


def regex_matches_any_case(text: str, pattern: str) -> bool:
    """text ~* pattern."""
    return compile_regex(pattern, "i").matches(text)


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
    part: str | None = found[1] if found.re.groups else found[0]
    return part


def _replacement(found: Match, template: str) -> str:
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


def _groups(found: Match) -> Array:
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
    return compile_regex(pattern, options).matches(text)
