"""Records what each client script sees on PostgreSQL 15: `python -m tests.clients.record URL`."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.clients import asyncpg_script, psycopg_script

FOLDER = Path(__file__).resolve().parent


def node_postgres(url: str) -> dict[str, Any]:
    """Run the node-postgres script; see `node_postgres.js`."""
    script = [str(FOLDER / "node_postgres.js"), url]
    done = subprocess.run(
        ["node", *script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def _as_json(run: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    def script(url: str) -> dict[str, Any]:
        seen: dict[str, Any] = json.loads(json.dumps(run(url)))
        return seen

    return script


SCRIPTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "psycopg": _as_json(psycopg_script.run),
    "asyncpg": _as_json(asyncpg_script.run),
    "node_postgres": node_postgres,
}


def expected(name: str) -> Any:
    """What the script saw on PostgreSQL 15."""
    return json.loads((FOLDER / f"{name}.expected.json").read_text(encoding="utf-8"))


def main(url: str) -> None:
    """Run the command."""
    for name, run in SCRIPTS.items():
        text = json.dumps(run(url), indent=1, ensure_ascii=False) + "\n"
        (FOLDER / f"{name}.expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
