"""The order of a run: what takes long goes first, so that no worker is alone with it at the end.
And its end: one that a worker's death has cut short is not one in which some tests failed."""

from pathlib import Path
from typing import Any

import pytest

_FIRST = ("e2e", "console", "cli", "sqlnode/two_pods", "control", "storage", "bench")
"""Folders with the longest files, the longest first."""
_WAS_CUT = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)  # stable: the tests of a file stay together, and in their order


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if error:
        node.config.stash[_WAS_CUT] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash.get(_WAS_CUT, False):
        session.exitstatus = pytest.ExitCode.INTERRUPTED


def _place(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parent
    among = [number for number, name in enumerate(_FIRST) if folder.is_relative_to(name)]
    return among[0] if among else len(_FIRST)
