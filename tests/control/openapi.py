"""Writes docs/openapi.json anew: `python -m tests.control.openapi`."""

import asyncio
import json
import tempfile
from pathlib import Path

from tests.control.support import FakePeers, api_at

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def document() -> str:
    """The document as the application serves it, in a form that differs line by line."""

    async def read() -> str:
        with tempfile.TemporaryDirectory() as folder:
            async with api_at(Path(folder), FakePeers(), key=None) as client:
                served = (await client.get("/openapi.json")).json()
        return json.dumps(served, indent=1, sort_keys=True) + "\n"

    return asyncio.run(read())


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
