"""Pages of text and lines, drawn when all are known, so that each can say which of how many it is.

Positions are in points from the top left corner of the page, as one reads.
"""

import io
from dataclasses import dataclass, field
from typing import Literal

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from control.invoices.pdffonts import Fonts

WIDTH, HEIGHT = (float(side) for side in A4)
Align = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class _Text:
    x: float
    y: float
    text: str
    size: float
    bold: bool
    grey: float


@dataclass(frozen=True, slots=True)
class _Rule:
    left: float
    right: float
    y: float
    width: float
    grey: float


@dataclass(slots=True)
class Sheet:
    """The pages of one document."""

    fonts: Fonts
    _pages: list[list[_Text | _Rule]] = field(default_factory=list)

    @property
    def pages(self) -> int:
        """How many there are."""
        return len(self._pages)

    def begin_page(self) -> None:
        """Everything that follows is on a new page."""
        self._pages.append([])

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 9,
        bold: bool = False,
        align: Align = "left",
        grey: float = 0.0,
        page: int = -1,
    ) -> None:
        """A line of text whose baseline is at `y`; `grey` 0 is black."""
        if align == "right":
            x -= self.fonts.width(text, size, bold=bold)
        self._pages[page].append(_Text(x, y, text, size, bold, grey))

    def rule(
        self, y: float, left: float, right: float, *, width: float = 0.5, grey: float = 0.6
    ) -> None:
        """A horizontal line."""
        self._pages[-1].append(_Rule(left, right, y, width, grey))

    def draw(self, *, title: str, author: str) -> bytes:
        """The PDF; the same bytes for the same pages."""
        file = io.BytesIO()
        canvas = Canvas(file, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=1)
        canvas.setTitle(title)
        canvas.setAuthor(author)
        canvas.setCreator("Dormouse")
        for page in self._pages:
            for each in page:
                self._draw(canvas, each)
            canvas.showPage()
        canvas.save()
        return file.getvalue()

    def _draw(self, canvas: Canvas, what: _Text | _Rule) -> None:
        if isinstance(what, _Rule):
            canvas.setStrokeGray(what.grey)
            canvas.setLineWidth(what.width)
            canvas.line(what.left, HEIGHT - what.y, what.right, HEIGHT - what.y)
            return
        line = canvas.beginText(what.x, HEIGHT - what.y)
        line.setFillGray(what.grey)
        for font, piece in self.fonts.runs(what.text, bold=what.bold):
            line.setFont(font, what.size)
            line.textOut(piece)
        canvas.drawText(line)
