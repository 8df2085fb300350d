"""Fixtures that several of these modules need."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage import gauges
from tests.support.diskfaults import BadDisk
from tests.support.storagerig import Rig


@pytest.fixture(autouse=True)
def _gauges() -> None:
    gauges.begin()


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("diskfaults")


@pytest.fixture
def rig(tmp_path: Path, build_folder: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, BadDisk(build_folder, tmp_path / "data"))
    yield rig
    if rig.child.process.poll() is None:
        rig.child.end(signal.SIGKILL)
