"""The benchmark of storage, in small: every figure is there, and noise is noise."""

import argparse
from pathlib import Path

import pytest
import uvloop

from bench import storage
from bench.kv import NOISES, noise, storage_process
from bench.kvstream import KvError
from proto import kv_pb2 as kv


def test_every_figure_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_TURNS", 2)
    report = storage.run(argparse.Namespace(each_for=0.1, quiet_for=0.1))
    assert report["wire"].keys() == report["bare"].keys()
    assert all(figure > 0 for figure in [*report["wire"].values(), *report["bare"].values()])
    beside, floors = [[f"{word} {each}" for each in NOISES] for word in ("beside", "floor of")]
    assert report["neighbours"]["fair"].keys() == {"alone", *beside, *floors}
    assert report["neighbours"]["as they come"].keys() == {"alone", *beside}
    printed = capsys.readouterr().out
    assert "point reads/s, 64 clients" in printed
    assert "as they come, beside scans" in printed


def test_a_refusal_is_no_figure(tmp_path: Path) -> None:
    async def body() -> None:
        with storage_process(tmp_path) as running:
            tenant = running.tenant(1)
            async with tenant.session() as client:
                with noise(running.tenant(2), "commits"):
                    await client.put({b"a": b"1"})
                    assert await client.scan(b"a", b"b") > 0
                    with pytest.raises(KvError):
                        await client.send(get=kv.Get(keys=b"no block"))

    uvloop.run(body())
