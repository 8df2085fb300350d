"""The fonts of printed invoices: one that the operator gave, or those that every viewer has.

Without a font of the operator's nothing is embedded: Latin letters are printed in Helvetica, and
Japanese, Chinese and Korean in the fonts that PDF viewers bring or find for Adobe's character
collections. A letter that none of them has is printed as a question mark; a font of the operator's
(`invoice_font`) has whatever it has, and is embedded with the letters that are used.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

_OWN = "operator"
_LATIN, _BOLD = "Helvetica", "Helvetica-Bold"
_ASIAN = (
    ("HeiseiKakuGo-W5", "cp932"),
    ("HYGothic-Medium", "cp949"),
    ("STSong-Light", "gbk"),
    ("MSung-Light", "big5"),
)
"""Fonts and the letters they have, in the order in which they are tried."""
UNKNOWN = "?"


def _has(encoding: str, letter: str) -> bool:
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=4096)
def font_of(letter: str) -> str | None:
    """Which of the viewer's fonts has a letter; None: none, or it is no letter."""
    if not letter.isprintable() or ord(letter) > 0xFFFF:
        return None
    if _has("cp1252", letter):
        return _LATIN
    return next((font for font, encoding in _ASIAN if _has(encoding, letter)), None)


@dataclass(frozen=True, slots=True)
class Fonts:
    """Splits texts into runs of one font and measures them."""

    is_own: bool

    @classmethod
    def ready(cls, file: Path | None) -> "Fonts":
        """With the operator's font, or the viewer's. Raises OSError and reportlab's TTFError."""
        if file is not None:
            pdfmetrics.registerFont(TTFont(_OWN, str(file)))
            return cls(True)
        known = pdfmetrics.getRegisteredFontNames()
        for font, _ in _ASIAN:
            if font not in known:
                pdfmetrics.registerFont(UnicodeCIDFont(font))
        return cls(False)

    def runs(self, text: str, *, bold: bool = False) -> Iterator[tuple[str, str]]:
        """The text in pieces: (font, piece)."""
        if self.is_own:
            yield _OWN, "".join(each if each.isprintable() else UNKNOWN for each in text)
            return
        for font, letters in groupby(text, key=font_of):
            piece = "".join(letters)
            if font in (None, _LATIN):
                yield (_BOLD if bold else _LATIN), piece if font else UNKNOWN * len(piece)
            else:
                yield font, piece

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """In points."""
        measure: Callable[[str, str, float], float] = pdfmetrics.stringWidth
        return sum(measure(piece, font, size) for font, piece in self.runs(text, bold=bold))

    def fit(self, text: str, size: float, width: float, *, bold: bool = False) -> str:
        """As much of the text as has room, with dots where something is cut off."""
        if self.width(text, size, bold=bold) <= width:
            return text
        while text and self.width(f"{text}...", size, bold=bold) > width:
            text = text[:-1]
        return f"{text}..."
