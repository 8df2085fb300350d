"""Template patterns of to_char, to_timestamp and to_date (the manual's section 9.8).

A template is split once into fields and literal text:

    FMDay, DD "of" Month  →  Day(fill)  ", "  DD  " "  "of"  " "  Month
"""

import re
from dataclasses import dataclass
from functools import lru_cache

_KEYWORDS = (
    "A.D.", "A.M.", "AD", "AM", "B.C.", "BC", "CC", "DAY", "DDD", "DD", "DY",
    "D", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "HH24", "HH12", "HH", "IDDD",
    "ID", "IW", "IYYY", "IYY", "IY", "I", "J", "MI", "MM", "MONTH", "MON",
    "MS", "OF", "P.M.", "PM", "Q", "RM", "SSSSS", "SSSS", "SS", "TZH", "TZM",
    "TZ", "US", "WW", "W", "Y,YYY", "YYYY", "YYY", "YY", "Y",
)  # fmt: skip
_TOKEN = re.compile(
    r'"(?P<quoted>(?:[^"\\]|\\.)*)"?|(?P<prefix>(?:FM|FX|TM)+)?(?P<word>'
    + "|".join(re.escape(word) for word in sorted(_KEYWORDS, key=len, reverse=True))
    + r")(?P<suffix>TH|th|Th|tH|SP)?|(?P<only>FM|FX|TM)|\\(?P<escaped>.)|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_TEMPLATES_MAX = 256


@dataclass(frozen=True, slots=True)
class Field:
    """A pattern. `written` keeps its letter case; `fill` is False under FM."""

    name: str
    written: str
    fill: bool
    ordinal: str = ""


@lru_cache(maxsize=_TEMPLATES_MAX)
def split_template(template: str) -> tuple[Field | str, ...]:
    """Fields and literal texts, in order."""
    parts: list[Field | str] = []
    for found in _TOKEN.finditer(template):
        word = found["word"]
        if word is not None:
            prefix = (found["prefix"] or "").upper()
            suffix = found["suffix"] or ""
            ordinal = suffix if suffix.upper() == "TH" else ""
            parts.append(Field(word.upper(), word, "FM" not in prefix, ordinal))
        elif found["quoted"] is not None:
            parts.append(re.sub(r"\\(.)", r"\1", found["quoted"]))
        elif found["escaped"] is not None:
            parts.append(found["escaped"])
        elif found["other"] is not None:
            parts.append(found["other"])
    return tuple(parts)


def ordinal_suffix(number: int) -> str:
    """st, nd, rd or th."""
    if number % 100 in {11, 12, 13}:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
