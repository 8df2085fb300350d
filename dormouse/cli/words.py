"""Commands as people read them: one text is the line in a list and the sentence of a help page;
and as they run: what a command needs is imported when it does.
"""

import argparse
import importlib
from functools import partial
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands, name: str, text: str, **options: Any
) -> argparse.ArgumentParser:
    """A command with that text; `options` are argparse's, a longer `description` among them."""
    options.setdefault("description", f"{text[0].upper()}{text[1:]}.")
    return commands.add_parser(name, help=text, **options)


def late(module: str, function: str = "run") -> "partial[int]":
    """A function of `dormouse.cli.<module>` that runs a command."""
    return partial(_run, module, function)


def _run(module: str, function: str, options: argparse.Namespace) -> int:
    code: int = getattr(importlib.import_module(f"dormouse.cli.{module}"), function)(options)
    return code
