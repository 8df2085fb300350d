"""The OpenAPI document: kept in the tree, and true of the application, which is fuzzed by it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from control.access import PUBLIC, TABLE
from control.api.document import Document
from tests.control.openapi import FILE, document
from tests.control.support import KEY, FakePeers, rig_at

_CONTRADICTABLE = {
    "GET /v1/usage": "the days have to follow each other",
    "GET /v1/tenants/{id}/usage": "likewise",
    "POST /v1/keys": "the scope asks for an organisation or a tenant, and a future end",
    "POST /v1/organisations": "there are no other time zones than those",
    "PATCH /v1/organisations/{id}": "likewise",
    "POST /v1/signup": "likewise",
    "POST /v1/webhooks": "the operator says where webhooks may go",
    "PATCH /v1/webhooks/{id}": "likewise",
}
"""What a schema allows and the application has to refuse, and why no schema can say it."""

_EXAMPLES = 12
"""Of every endpoint; the whole has to end within a minute."""


def test_the_document_in_the_tree_is_fresh() -> None:
    assert FILE.read_text(encoding="utf-8") == document(), "run `python -m tests.control.openapi`"


def test_it_is_written_once_for_all_who_ask_at_the_same_time() -> None:
    def write() -> dict[str, Any]:
        written.append(1)
        time.sleep(0.05)  # the others come meanwhile
        return {"paths": {}}

    written: list[int] = []
    shared = Document(write)
    with ThreadPoolExecutor(4) as pool:
        texts = set(pool.map(lambda _: shared.read(), range(4)))
    assert len(written) == 1
    assert {each.json for each in texts} == {b'{"paths":{}}'}


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The application on a port of this machine, in a thread with a loop of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    begun, end = threading.Event(), threading.Event()

    async def serve() -> None:
        async with rig_at(
            folder, FakePeers(), requests_per_address=1e6, signup_open=True, signups_per_hour=1e6
        ) as rig:
            config = uvicorn.Config(rig.app, lifespan="off", log_config=None, access_log=False)
            server = uvicorn.Server(config)
            serving = asyncio.ensure_future(server.serve(sockets=[listener]))  # noqa: TID251
            begun.set()
            await asyncio.to_thread(end.wait)
            server.should_exit = True
            await serving

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert begun.wait(30)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        end.set()
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApiSchema]:
    with _served(tmp_path_factory.mktemp("fuzz")) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.mark.parametrize("endpoint", sorted([*TABLE, *PUBLIC]))
def test_fuzzing_finds_nothing(schema: OpenApiSchema, endpoint: str) -> None:
    method, _, path = endpoint.partition(" ")
    operation = schema[path][method]

    # An idempotency key may be another request's; and see above.
    is_once = any(each.name == "idempotency-key" for each in operation.headers)
    is_contradictable = is_once or endpoint in _CONTRADICTABLE
    excluded: list[Any] = [positive_data_acceptance] if is_contradictable else []

    @seed(1)
    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def fuzz(case: "schemathesis.Case[Any]") -> None:
        headers = {} if endpoint in PUBLIC else {"Authorization": f"Bearer {KEY}"}
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    fuzz()
