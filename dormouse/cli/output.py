"""What commands print: tables for people, JSON for scripts."""

import json
from collections.abc import Sequence
from typing import Any


def print_json(document: Any) -> None:
    """One JSON document."""
    print(json.dumps(document, indent=2))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need, numbers to the right."""
    cells = [[("-" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [
        max(len(title), *(len(row[index]) for row in cells), 0)
        for index, title in enumerate(header)
    ]
    numeric = [
        bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        for index in range(len(header))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in [list(header), *cells]
    )


def fields(pairs: Sequence[tuple[str, object]]) -> str:
    """Name and value, a line each."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in pairs)


def counted(number: int, noun: str) -> str:
    """`1 pod`, `2 pods`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def plain(text: str) -> str:
    """Text from elsewhere, without what would move the cursor or colour the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
