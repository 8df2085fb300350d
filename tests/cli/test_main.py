"""The command line without a gateway: help, usage errors, what it says when nothing runs."""

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dormouse.cli.main import _parser, main
from dormouse.cli.output import table


def _commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command and action, with the words that lead to it."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                yield from _commands(each, (*path, name))


_COMMANDS = dict(_commands(_parser()))


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_every_command_explains_itself(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: dormouse" in capsys.readouterr().out
    parser = _COMMANDS[command]
    assert (parser.description or "").rstrip().endswith((".", ")"))
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            assert action.help, f"{action.option_strings or action.dest} says nothing"


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_every_command_that_answers_answers_in_json(command: tuple[str, ...]) -> None:
    parser = _COMMANDS[command]
    is_group = any(isinstance(each, argparse._SubParsersAction) for each in parser._actions)
    flags = {flag for action in parser._actions for flag in action.option_strings}
    assert is_group or "--json" in flags or command in {("up",), ("sql",), ("logout",)}


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_every_command_is_there_when_it_runs(command: tuple[str, ...]) -> None:
    run = _COMMANDS[command].get_default("run")
    if isinstance(run, partial):
        module, function = run.args
        assert callable(getattr(importlib.import_module(f"dormouse.cli.{module}"), function))
    else:
        assert callable(run) or _COMMANDS[command]._subparsers is not None


def test_a_shell_is_told_what_could_come_next() -> None:
    def completed(line: str) -> list[str]:
        environment = {
            **os.environ,
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "_ARGCOMPLETE_STDOUT_FILENAME": "/dev/stdout",
        }
        command = [sys.executable, "-m", "dormouse.cli.main"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return [word.strip() for word in done.stdout.split("\n")]

    assert {"label", "urls", "list"} <= set(completed("dormouse tenant "))
    assert completed("dormouse role pass") == ["password"]
    assert {"running", "deleted"} <= set(completed("dormouse tenant list --state "))


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
