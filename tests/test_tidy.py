"""The style law, as far as a machine can hold it: sizes, leftovers, empty packages, titles."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"(^|[^A-Za-z0-9_.])/(work|home|root)/")


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def _sources() -> list[Path]:
    return [path for path in _tracked("*.py") if not GENERATED.search(path.name)]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _names(paths: Iterator[Path]) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def test_files_are_one_noun_long() -> None:
    long = (p for p in _sources() if len(p.read_text().splitlines()) > FILE_LINES_MAX)
    assert _names(long) == []


def test_functions_are_one_thought_long() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in _sources()
        for function in _functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_packages_are_empty() -> None:
    full = (path for path in _sources() if path.name == "__init__.py" and path.read_text().strip())
    assert _names(full) == []


@pytest.mark.parametrize("pattern", [LEFTOVER, MACHINE_PATH], ids=["leftovers", "machine paths"])
def test_text_is_clean(pattern: re.Pattern[str]) -> None:
    kinds = ("*.py", "*.md", "*.toml", "*.proto", "*.sh", "Makefile", ".ci/run")
    unclean = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _tracked(*kinds)
        if not GENERATED.search(path.name)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert unclean == []


def test_pages_have_one_title() -> None:
    def titles(path: Path) -> int:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        return len(re.findall(r"^# ", text, flags=re.MULTILINE))

    assert _names(path for path in _tracked("*.md") if titles(path) != 1) == []


def test_tests_mirror_the_tree() -> None:
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in _tracked("tests/**/*.py")}
    known = {"base", "cli", "bench", "support", "e2e", "clients", "console"}
    packages = {"pgwire", "storage", "sqlnode", "proxy", "autoscaler", "control", "proto"}
    stray = {name for name in folders if not name.endswith(".py")} - known - packages
    assert stray == set()
