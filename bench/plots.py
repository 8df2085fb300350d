"""Pictures for the pages: one style, small files, the same bytes for the same data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

_SIZE = (8.0, 4.2)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dormouse",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextmanager
def picture(path: Path, *, rows: int = 1) -> Iterator[Any]:
    """The axes to draw on (a sequence of them, where there are several rows); written at the end of
    the block. Importing this module needs the extra `bench`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots(rows, figsize=_SIZE, sharex=rows > 1)
        yield axes
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
    print(f"drawn: {path}")
