"""Makes the Python stubs from the .proto files: `python -m proto.generate` (`--check` verifies)."""

import argparse
import os
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def generate(target: Path) -> list[Path]:
    """Write the stubs of every .proto file below `target` and return their paths."""
    from grpc_tools import protoc  # a tool of development only

    sources = sorted(str(path.relative_to(_ROOT)) for path in (_ROOT / "proto").glob("*.proto"))
    outputs = ("python", "grpc_python", "mypy", "mypy_grpc")
    # protoc looks for its mypy plugins on PATH; they stand beside this interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={_ROOT}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            *(f"--{kind}_out={target}" for kind in outputs),
            *sources,
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")
    return sorted((target / "proto").glob("*_pb2*"))


def stale() -> list[str]:
    """Names of stubs in the tree that differ from what the .proto files give."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = {path.name: path.read_text() for path in generate(Path(folder))}
    kept = {path.name: path.read_text() for path in (_ROOT / "proto").glob("*_pb2*.py*")}
    return sorted(name for name in fresh | kept if fresh.get(name) != kept.get(name))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m proto.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a stub is not fresh")
    if not parser.parse_args().check:
        generate(_ROOT)
    elif names := stale():
        sys.exit(f"stale stubs (run `make proto`): {', '.join(names)}")


if __name__ == "__main__":
    main()
