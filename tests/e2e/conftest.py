"""One gateway for all end-to-end tests that do not break it."""

from collections.abc import Iterator

import pytest

from bench.gateway import OwnGateway
from tests.support.gateway import gateway


@pytest.fixture(scope="package")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnGateway]:
    with gateway(tmp_path_factory.mktemp("shared")) as running:
        yield running
