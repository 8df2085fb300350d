"""Who answers somebody has short slices of a core, wherever it comes from."""

import psutil
import psycopg
import pytest

from bench.gateway import OwnGateway
from tests.support.scheduled import found

pytestmark = pytest.mark.e2e


def test_roles_and_pods_ask_for_short_slices(shared_gateway: OwnGateway) -> None:
    url = shared_gateway.create_tenant("prompt")["connection_url"]
    with psycopg.connect(url):
        answering = {name: int(role["pid"]) for name, role in shared_gateway.roles().items()}
        pods = psutil.Process(answering.pop("podhost")).children()
        answering |= {f"pod {pod.pid}": pod.pid for pod in pods}
        assert len(answering) > 4
        wanted = min(found().slice, 100_000)
        slices = {name: found(pid).slice for name, pid in answering.items()}
        assert slices == dict.fromkeys(answering, wanted)


def test_storage_answers_on_one_core_and_writes_on_the_others(shared_gateway: OwnGateway) -> None:
    storage = int(shared_gateway.roles()["storage"]["pid"])
    threads = [found(thread.id).cores for thread in psutil.Process(storage).threads()]
    cores, own = found().cores, found(storage).cores
    assert len(own) == 1
    assert {cores, cores - own or cores} <= set(threads)
