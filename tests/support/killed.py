"""A Python program that is ended by kill -9 amid its work."""

import os
import signal
import subprocess
import sys
from pathlib import Path


def lines_until_killed(program: str, *arguments: str, enough: int) -> list[str]:
    """All lines that it printed when it was killed: at least `enough`, or a ValueError."""
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with child:
        if child.stdout is None:
            raise TypeError("no pipe")
        lines = [child.stdout.readline() for _ in range(enough)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    if "" in lines:
        raise ValueError(f"the program ended by itself: {lines[:enough]}")
    return lines
