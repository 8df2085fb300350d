"""`python -m storage --config FILE`: runs the storage role."""

import sys

from dormouse.base.role import run
from storage.config import StorageSettings
from storage.server import serve

SWITCH_SECONDS = 0.0002
"""How long a busy event loop keeps a reading thread waiting: SQLite asks for the interpreter after
every row, and Python's 5 ms each time made a quiet tenant's scan of 20 rows take 100 ms."""

if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_SECONDS)
    run("storage", StorageSettings, serve)
