"""Commands as people read them: one text is the line in a list and the sentence of a help page."""

import argparse
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands, name: str, text: str, **options: Any
) -> argparse.ArgumentParser:
    """A command with that text; `options` are argparse's, a longer `description` among them."""
    options.setdefault("description", f"{text[0].upper()}{text[1:]}.")
    return commands.add_parser(name, help=text, **options)
