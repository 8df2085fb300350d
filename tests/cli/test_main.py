"""The command line without a gateway: help, usage errors, what it says when nothing runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dormouse.cli.main import main
from dormouse.cli.output import table


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["up"],
        ["tenant"],
        *(
            ["tenant", action]
            for action in ("create", "list", "show", "set", "explain", "suspend", "delete")
        ),
        ["sql"],
        ["top"],
        ["status"],
        ["upgrade"],
        ["version"],
    ],
    ids=" ".join,
)
def test_every_command_explains_itself(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: dormouse" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["tenant"],
        ["tenant", "create"],
        ["up", "--sql-port", "65536"],
        ["up", "--api-port", "-1"],
        ["up", "--idle-timeout", "0"],
        ["up", "--idle-timeout", "nan"],
        ["up", "--warm-pods", "many"],
        ["top", "--interval", "0.1"],
        ["top", "--interval", "nan"],
        ["up", "--pod-cpu", "0"],
        ["up", "--pod-memory", "1M"],
        ["up", "--pod-memory", "512Q"],
        ["upgrade", "--timeout", "0"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: dormouse" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["status"], ["tenant", "list"], ["sql", "x"], ["top"]], ids=" ".join
)
def test_without_a_gateway_it_says_what_to_do(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--data", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"no gateway runs with the data folder {tmp_path}" in error
    assert "dormouse up" in error


def test_a_gateway_elsewhere_needs_a_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DORMOUSE_API_KEY", raising=False)
    monkeypatch.setenv("DORMOUSE_API", "http://127.0.0.1:9")
    assert main(["status"]) == 1
    assert "--api-key" in capsys.readouterr().err
    assert main(["status", "--api-key", "k"]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0
    version = json.loads(capsys.readouterr().out)["version"]
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"dormouse {version}\n"


def test_help_imports_no_role() -> None:
    script = (
        "import sys; from dormouse.cli.main import _parser; _parser();"
        "sys.exit(any(name in sys.modules for name in ('grpc', 'fastapi', 'uvloop', 'httpx')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_tables_align() -> None:
    rows = [(1, "a", None), (20, "bcd", 3)]
    assert table(("ID", "NAME", "PODS"), rows) == "ID  NAME  PODS\n 1  a        -\n20  bcd      3"
