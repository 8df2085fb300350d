"""The order of a run: what takes long goes first, so that no worker is alone with it at the end."""

from pathlib import Path

import pytest

_FIRST = ("e2e", "console", "cli", "sqlnode/two_pods", "control", "storage", "bench")
"""Folders with the longest files, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)  # stable: the tests of a file stay together, and in their order


def _place(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parent
    among = [number for number, name in enumerate(_FIRST) if folder.is_relative_to(name)]
    return among[0] if among else len(_FIRST)
